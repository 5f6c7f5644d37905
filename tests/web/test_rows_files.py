"""What rows of static files and FileResponse say beyond test_static and test_files."""

import inspect
import os
import re
import tempfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from structweb import web
from structweb._web.files import FileResponse
from tests.web.served import serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

MTIME = 1767225600


def made(path: Path, content: str) -> Path:
    path.write_text(content)
    os.utime(path, (MTIME, MTIME))
    return path


def app_of(folder: Path, **options: object) -> web.Application:
    app = web.Application()
    app.router.add_static("/s", folder, **options)
    return app


async def test_a_file_of_a_folder_has_type_length_validators_and_ranges(tmp_path):
    """S-38."""
    made(tmp_path / "a.html", "0123456789")
    async with serving(app_of(tmp_path)) as served:
        whole = await served.ask("/s/a.html")
        assert (whole.headers["content-type"], whole.headers["content-length"]) == ("text/html", "10")
        etag, modified = whole.headers["etag"], whole.headers["last-modified"]
        assert modified == "thu, 01 jan 2026 00:00:00 gmt"
        for condition in (f"If-None-Match: {etag}", f"If-Modified-Since: {modified}"):
            assert (await served.ask("/s/a.html", condition)).status == 304
        part = await served.ask("/s/a.html", "Range: bytes=2-4")
        assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
        assert (await served.ask("/s/a.html", "Range: bytes=10-")).status == 416


async def test_the_links_of_an_index_page_lead_to_the_files(tmp_path):
    """S-39, W-103: whatever their names are."""
    names = [
        "a b.txt",
        "<&\"'>.txt",
        "100%.txt",
        "%41.txt",
        "?q#f.txt",
        "ü.txt",
        "a+b.txt",
        ";c:d.txt",
        "http:",
        "javascript:alert(1)",
    ]
    for name in names:
        made(tmp_path / name, name)
    (tmp_path / "fol der").mkdir()
    made(tmp_path / "fol der" / "in.txt", "in")
    async with serving(app_of(tmp_path, show_index=True)) as served:
        page = (await served.ask("/s/")).text
        found = re.findall(r'<li><a href="([^"]*)">(.*?)</a></li>', page)
        links = {unescape(text): unescape(href) for href, text in found}
        assert links.keys() == {*names, "fol der/"}
        assert list(links) == sorted(links)
        for name in names:
            assert links[name].startswith("/s/")
            assert (await served.ask(links[name])).text == name
        below = (await served.ask(links["fol der/"])).text
        (href,) = re.findall(r'href="([^"]*)"', below)
        assert (await served.ask(unescape(href))).text == "in"


async def test_an_expect_handler_of_a_folder(tmp_path):
    """W-100."""
    made(tmp_path / "a.txt", "a")

    async def expect(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=417, text="not here") if request.method != "HEAD" else None

    async with serving(app_of(tmp_path, expect_handler=expect)) as served:
        answer = await served.ask("/s/a.txt", "Expect: 100-continue")
        assert (answer.status, answer.text) == (417, "not here")
        assert (await served.ask("/s/a.txt", "Expect: 100-continue", method="HEAD")).status == 200
        assert (await served.ask("/s/a.txt")).text == "a"


@pytest.fixture
def nobody() -> Iterator[Path]:
    """Be somebody who may not read everything; lend a folder that anybody can enter."""
    own = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        if own == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(own)


@pytest.mark.parametrize("show_index", [True, False])
async def test_what_may_not_be_read_in_a_folder_is_403(nobody, *, show_index: bool):
    """W-102."""
    made(nobody / "file.txt", "x").chmod(0)
    (nobody / "closed").mkdir()
    made(nobody / "closed" / "in.txt", "x")
    (nobody / "closed").chmod(0)
    async with serving(app_of(nobody, show_index=show_index)) as served:
        for path in ("/s/file.txt", "/s/closed/", "/s/closed"):
            assert (path, (await served.ask(path)).status) == (path, 403)
        assert (await served.ask("/s/closed/in.txt")).status in (403, 404)  # it cannot even be known to be there
    (nobody / "closed").chmod(0o700)


async def test_a_status_of_ones_own_stays_unless_a_range_is_sent(tmp_path):
    """W-106."""
    path = made(tmp_path / "a.txt", "0123456789")
    app = web.Application()
    app.router.add_get("/", lambda request: web.FileResponse(path, status=201))
    async with serving(app) as served:
        assert (await served.ask("/")).status == 201
        part = await served.ask("/", "Range: bytes=0-1")
        assert (part.status, part.body) == (206, b"01")
        assert (await served.ask("/", "Range: bytes=10-")).status == 416
        assert (await served.ask("/", "Range: nonsense")).status == 201


async def test_on_response_prepare_sees_files(tmp_path):
    """W-012: with the headers that are going to be sent, and its failure is a 500."""
    made(tmp_path / "a.txt", "0123456789")
    seen = []

    async def receiver(request: web.Request, response: web.StreamResponse) -> None:
        seen.append((type(response), response.status, response.headers["Content-Type"], "ETag" in response.headers))
        if "fail" in request.query:
            raise LookupError(request.path)
        response.headers["X-Seen"] = "yes"

    app = app_of(tmp_path)
    app.on_response_prepare.append(receiver)
    async with serving(app) as served:
        answer = await served.ask("/s/a.txt")
        assert (answer.headers["x-seen"], answer.text) == ("yes", "0123456789")
        assert (await served.ask("/s/a.txt", "Range: bytes=0-1")).headers["x-seen"] == "yes"
        assert seen == [(FileResponse, 200, "text/plain", True), (FileResponse, 206, "text/plain", True)]
        assert (await served.ask("/s/a.txt?fail")).status == 500


def test_defaults_are_those_of_today(tmp_path):
    """W-201: pieces of 256 KiB, no links out of the folder, no versions."""
    (tmp_path / "a.txt").write_text("a")
    resource = web.UrlDispatcher().add_static("/s", tmp_path)
    assert str(resource.url_for(filename="a.txt")) == "/s/a.txt"
    for kind in (web.FileResponse, web.StaticResource):
        assert inspect.signature(kind).parameters["chunk_size"].default == 256 * 1024
