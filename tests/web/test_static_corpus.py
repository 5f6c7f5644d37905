"""Every way out of a static folder that slashes, dots, escapes and links allow: none leads out, and nothing stays open."""

import os
from itertools import product
from pathlib import Path

import anyio
import pytest

from structweb import web
from tests.web.served import serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

SECRET = b"nobody may read this"
STEPS = ["..", "%2e%2e", "", "%2F", "..%5c..", "%00", "below", "loop", "ring"]
ENDS = ["secret.txt", "out/secret.txt", "link.txt", "a.txt", ""]
#: Seconds for all of them: hundreds of answers, a millisecond or so for each.
ENOUGH = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder beside a secret, with links to it, to what holds it, and to themselves."""
    (tmp_path / "secret.txt").write_bytes(SECRET)
    place = tmp_path / "files"
    (place / "below").mkdir(parents=True)
    for inside in (place, place / "below"):
        (inside / "a.txt").write_text("a")
        (inside / "out").symlink_to(tmp_path)
        (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
        (inside / "loop").symlink_to("loop")
        (inside / "ring").symlink_to("../below/ring")
        (inside / "back").symlink_to("..")
    return place


def held(folder: Path) -> list[str]:
    """Return what is open at `folder` or below."""
    found = []
    for link in Path("/dev/fd").iterdir():
        try:
            found.append(os.readlink(link))  # noqa: PTH115 - what is no file has a name that is no path
        except OSError:
            continue
    return [name for name in found if name.startswith(str(folder))]


def corpus(most: int) -> list[str]:
    ways = [steps for count in range(most + 1) for steps in product(STEPS, repeat=count)]
    return ["/s/" + "/".join((*steps, end)) for steps in ways for end in ENDS]


async def test_no_way_leads_out(folder, tmp_path):
    app = web.Application()
    app.router.add_static("/s", folder, show_index=True)
    seen = set()
    async with serving(app) as served:
        connection = served.connect()
        with anyio.fail_after(ENOUGH):
            for path in corpus(2):
                answer = await connection.ask(path)
                seen.add(answer.status)
                assert (path, SECRET in answer.body) == (path, False)
                assert (path, b"root:" in answer.body) == (path, False)
                assert (path, answer.status in (200, 403, 404)) == (path, True)
                if answer.status == 200 and answer.body != b"a":
                    assert (path, b"secret" in answer.body) == (path, False)  # a page of the folder itself
    assert seen >= {200, 404}
    assert held(tmp_path) == []


async def test_links_may_lead_out_but_the_url_may_not(folder, tmp_path):
    """With ``follow_symlinks`` the secret is to be had by a link, and by nothing else."""
    app = web.Application()
    app.router.add_static("/s", folder, follow_symlinks=True)
    async with serving(app) as served:
        connection = served.connect()
        with anyio.fail_after(ENOUGH):
            for path in corpus(1):
                answer = await connection.ask(path)
                if SECRET in answer.body:
                    assert (path, "out" in path or "link.txt" in path) == (path, True)
                assert (path, answer.status in (200, 403, 404)) == (path, True)
    assert held(tmp_path) == []


async def test_long_names_and_long_ways(folder, tmp_path):
    """Names longer than file systems have them, and deep ways through links that lead back."""
    app = web.Application()
    app.router.add_static("/s", folder)
    async with serving(app) as served:
        connection = served.connect()
        with anyio.fail_after(ENOUGH):
            for name, status in (
                ("n" * 300, 404),
                ("n" * 5000, 404),
                ("below/" * 900, 404),
                ("below/back/" * 400, 403),  # the folder itself, by a long way
                ("back/" * 900 + "a.txt", 404),
                ("%2F" * 2000, 404),
            ):
                assert (name[:20], (await connection.ask(f"/s/{name}")).status) == (name[:20], status)
        assert (await connection.ask("/s/a.txt")).body == b"a"
    assert held(tmp_path) == []
