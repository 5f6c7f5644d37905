"""Static folders: what is inside of them, what is not, index pages, URLs, and their place among the routes."""

import os
from pathlib import Path

import pytest

from structweb import web
from structweb._web.representation import KnownFiles, open_file
from tests.web.asked import Asked
from tests.web.served import serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with something in it, and a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "files-too").mkdir()
    (tmp_path / "files-too" / "secret.txt").write_text("secret")
    place = tmp_path / "files"
    (place / "below").mkdir(parents=True)
    (place / "a.txt").write_text("a")
    (place / "below" / "b.txt").write_text("b")
    (place / "ä &%<.txt").write_text("odd")
    return place


def app_of(folder: Path, prefix: str = "/s", **options: object) -> web.Application:
    app = web.Application()
    app.router.add_static(prefix, folder, **options)
    return app


async def test_files_are_served_to_get_and_head(folder):
    app = app_of(folder)
    async with serving(app) as served:
        for path, body in (
            ("/s/a.txt", b"a"),
            ("/s/below/b.txt", b"b"),
            ("/s/below/../a.txt", b"a"),
            ("/s/%61.txt?query", b"a"),
            ("/s/%C3%A4%20%26%25%3C.txt", b"odd"),
            ("/s/below%2Fb.txt", b"b"),
        ):
            for _ in range(2):
                found = await served.ask(path)
                assert (path, found.status, found.body) == (path, 200, body)
            head = await served.ask(path, method="HEAD")
            assert (head.status, head.headers["content-length"]) == (200, str(len(body)))
        refused = await served.ask("/s/a.txt", method="POST")
        assert (refused.status, refused.headers["allow"]) == (405, "get,head")


OUTSIDE = [
    "/s/../secret.txt",
    "/s/..%2fsecret.txt",
    "/s/%2e%2e/secret.txt",
    "/s/%2e%2e%2fsecret.txt",
    "/s/%252e%252e/secret.txt",
    "/s/below/../../secret.txt",
    "/s/below/..%2f..%2fsecret.txt",
    "/s/..%2ffiles-too/secret.txt",
    "/s/../files-too/secret.txt",
    "/s/..\\secret.txt",
    "/s/..%5csecret.txt",
    "/s//etc/passwd",
    "/s/%2fetc/passwd",
    "/s/%2Fetc%2Fpasswd",
    "/s//server/share",
    "/s/%5c%5cserver%5cshare",
    "/s/C:%5cboot.ini",
    "/s/file:%2f%2f%2fetc%2fpasswd",
    "/s/a.txt%00",
    "/s/%00",
    "/s/a.txt%00.png",
    "/s/%ff%fe",
    "/s/%c0%ae%c0%ae/secret.txt",
    "/s/....//secret.txt",
    "/s/~/secret.txt",
    "/s/a.txt/",
    "/s/a.txt/.",
    "/s/a.txt/below",
    "/s/missing",
    "/s/" + "x" * 300,
    "/s/" + "x/" * 2500,
    "/sa.txt",
    "/s../secret.txt",
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("options", [{}, {"follow_symlinks": True, "show_index": True}], ids=["strict", "lax"])
async def test_nothing_outside(folder, path, options):
    async with serving(app_of(folder, **options)) as served:
        for method in ("GET", "HEAD"):
            found = await served.ask(path, method=method)
            assert found.status == 404
            assert b"root:" not in found.body
            assert b"secret" not in found.body


async def test_links(folder, tmp_path):
    (folder / "inside").symlink_to("a.txt")
    (folder / "outside").symlink_to(tmp_path / "secret.txt")
    (folder / "beside").symlink_to(tmp_path / "files-too")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    expected = {"inside": (200, 200), "outside": (404, 200), "beside/secret.txt": (404, 200)}
    expected |= {"loop": (404, 404), "dangling": (404, 404)}
    async with serving(app_of(folder)) as strict, serving(app_of(folder, follow_symlinks=True)) as lax:
        for name, (refused, followed) in expected.items():
            for _ in range(2):
                assert (name, (await strict.ask(f"/s/{name}")).status) == (name, refused)
                assert (name, (await lax.ask(f"/s/{name}")).status) == (name, followed)


async def test_a_file_that_becomes_a_link_or_changes_is_seen_at_once(folder, tmp_path):
    """Small files are kept in memory: never longer than they are what the name leads to."""
    file = folder / "a.txt"
    (folder / "current").symlink_to("below")
    (folder / "other").mkdir()
    (folder / "other" / "b.txt").write_text("other")
    for path in (file, folder / "below" / "b.txt"):
        os.utime(path, (1, 1))
    async with serving(app_of(folder)) as served:
        assert (await served.ask("/s/a.txt")).body == b"a"
        file.write_text("b")
        assert (await served.ask("/s/a.txt")).body == b"b"
        (folder / "a.txt.gz").write_bytes(b"z")
        assert (await served.ask("/s/a.txt", "Accept-Encoding: gzip")).body == b"z"
        (folder / "a.txt.gz").unlink()
        assert (await served.ask("/s/a.txt", "Accept-Encoding: gzip")).body == b"b"
        assert (await served.ask("/s/current/b.txt")).body == b"b"
        (folder / "current").unlink()
        (folder / "current").symlink_to("other")
        assert (await served.ask("/s/current/b.txt")).body == b"other"
        file.unlink()
        file.symlink_to(tmp_path / "secret.txt")
        assert (await served.ask("/s/a.txt")).status == 404
        file.unlink()
        assert (await served.ask("/s/a.txt")).status == 404
        file.mkdir()
        assert (await served.ask("/s/a.txt")).status == 403


async def test_folders(folder):
    os.mkfifo(folder / "fifo")
    async with serving(app_of(folder)) as served:
        for path in ("/s", "/s/", "/s/below", "/s/below/", "/s/fifo"):
            assert (path, (await served.ask(path)).status) == (path, 403)


async def test_index_pages(folder):
    async with serving(app_of(folder, "/my s", show_index=True)) as served:
        for path in ("/my%20s", "/my%20s/"):
            found = await served.ask(path)
            assert (found.status, found.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "<title>Index of /</title>" in found.text
            assert [line for line in found.text.splitlines() if line.startswith("<li>")] == [
                '<li><a href="/my%20s/a.txt">a.txt</a></li>',
                '<li><a href="/my%20s/below/">below/</a></li>',
                '<li><a href="/my%20s/%C3%A4%20&amp;%25%3C.txt">ä &amp;%&lt;.txt</a></li>',
            ]
        found = await served.ask("/my%20s/below/")
        assert '<li><a href="/my%20s/below/b.txt">b.txt</a></li>' in found.text
        assert "<h1>Index of /below</h1>" in found.text
        assert (await served.ask("/my%20s/below", method="HEAD")).status == 200


async def test_urls(folder):
    app = app_of(folder, name="files")
    resource = app.router["files"]
    assert isinstance(resource, web.StaticResource)
    assert str(resource.url_for(filename="a.txt")) == "/s/a.txt"
    assert str(resource.url_for(filename=Path("/below/b.txt"))) == "/s/below/b.txt"
    assert str(resource.url_for(filename="ä %.txt")) == "/s/%C3%A4%20%25.txt"
    version = "?v=ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs%3D"
    for _ in range(2):
        assert str(resource.url_for(filename="a.txt", append_version=True)) == "/s/a.txt" + version
    for name in ("missing", "below", "../secret.txt", "nul\0"):
        assert "?" not in str(resource.url_for(filename=name, append_version=True))
    versioned = web.UrlDispatcher().add_static("/s", folder, append_version=True)
    assert str(versioned.url_for(filename="a.txt")) == "/s/a.txt" + version
    assert str(versioned.url_for(filename="a.txt", append_version=False)) == "/s/a.txt"
    (folder / "a.txt").write_text("other")
    assert str(versioned.url_for(filename="a.txt")) != "/s/a.txt" + version


async def test_what_a_resource_tells(folder):
    resource = web.UrlDispatcher().add_static("/s/", folder, name="files")
    assert resource.get_info()["prefix"] == resource.canonical == "/s"
    assert resource.get_info()["directory"] == str(folder)
    assert {route.method for route in resource} == {"GET", "HEAD"}
    assert len(resource) == 2
    assert repr(resource) == f"<StaticResource 'files' /s -> {str(folder)!r}>"
    assert not resource.raw_match("/s")


async def test_bad_folders(folder):
    router = web.UrlDispatcher()
    with pytest.raises(ValueError, match="a static folder must exist"):
        router.add_static("/s", folder / "missing")
    with pytest.raises(ValueError, match="a static folder must be a folder"):
        router.add_static("/s", folder / "a.txt")
    with pytest.raises(AssertionError, match="prefix must start with '/'"):
        router.add_static("s", folder)


async def test_options(folder):
    app = app_of(folder)
    (resource,) = app.router.resources()
    assert isinstance(resource, web.StaticResource)

    async def options(request: web.Request) -> web.Response:
        return web.Response(headers={"X-Options": request.match_info["filename"]})

    resource.set_options_route(options)
    with pytest.raises(RuntimeError, match="was set already"):
        resource.set_options_route(options)
    async with serving(app) as served:
        assert (await served.ask("/s/a.txt", method="OPTIONS")).headers["x-options"] == "a.txt"
        assert (await served.ask("/s/a.txt", method="PUT")).headers["allow"] == "get,head,options"


async def test_route_definitions(folder):
    definition = web.static("/s", folder, name="files")
    assert repr(definition) == f"<StaticDef /s -> {folder}, name='files'>"
    table = web.RouteTableDef()
    table.static("/t", folder)
    app = web.Application()
    assert {route.method for route in app.add_routes([definition, *table])} == {"GET", "HEAD"}
    assert isinstance(table[0], web.StaticDef)
    async with serving(app) as served:
        assert (await served.ask("/s/a.txt")).body == (await served.ask("/t/a.txt")).body == b"a"


async def test_a_static_folder_among_other_routes(folder):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="handler")

    app = web.Application()
    app.router.add_static("/s", folder)
    app.router.add_get("/s/fixed", handler)
    app.router.add_post("/{tail:.*}", handler)
    sub = web.Application()
    sub.router.add_static("/", folder)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        assert (await served.ask("/s/fixed")).text == "handler"
        assert (await served.ask("/s/a.txt", method="POST")).text == "handler"
        assert (await served.ask("/s/a.txt")).text == "a"
        assert (await served.ask("/sub/a.txt")).text == "a"
        assert (await served.ask("/sub/below/b.txt")).text == "b"
        assert (await served.ask("/sub/missing")).status == 404


async def test_both_ways_of_the_router_agree(folder):
    router = web.UrlDispatcher()
    router.add_static("/s", folder)

    for target in ("/s/a.txt", "/s/%C3%A4", "/s/below/b.txt?q"):
        found = await router.resolve(Asked("GET", target))
        at_once = router.match("GET", target.partition("?")[0])
        assert at_once is not None
        assert (at_once.route, dict(at_once)) == (found.route, dict(found))


async def test_middlewares_see_what_is_missing(folder):
    seen = []

    @web.middleware
    async def watch(request, handler):
        try:
            return await handler(request)
        except web.HTTPException as exc:
            seen.append(exc.status)
            raise

    app = web.Application(middlewares=[watch])
    app.router.add_static("/s", folder)
    async with serving(app) as served:
        assert (await served.ask("/s/missing")).text == "404: Not Found"
        assert (await served.ask("/s/below")).text == "403: Forbidden"
    assert seen == [404, 403]


# -- what is kept --------------------------------------------------------------------------------------------------


def test_known_files_are_bounded(tmp_path):
    kept = KnownFiles(10 * 2048, settled=-1e9)
    for number in range(30):
        path = tmp_path / str(number)
        path.write_bytes(b"x" * 1024)
        kept.put(number, open_file(str(path), ""))
    assert len(kept) == 10
    assert kept.get(19) is None
    assert kept.get(29).content == b"x" * 1024


def test_known_files_are_forgotten_by_use_and_by_change(tmp_path):
    kept = KnownFiles(3 * 2048, settled=-1e9)
    for name in "abc":
        (tmp_path / name).write_bytes(b"x" * 1024)
        kept.put(name, open_file(str(tmp_path / name), ""))
    assert kept.get("a") is not None
    (tmp_path / "d").write_bytes(b"x" * 1024)
    kept.put("d", open_file(str(tmp_path / "d"), ""))
    assert kept.get("b") is None
    assert kept.get("a") is not None
    (tmp_path / "a").write_bytes(b"y" * 1025)
    assert kept.get("a") is None
    assert len(kept) == 2


def test_what_changed_just_now_is_not_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    kept = KnownFiles(settled=3600)
    kept.put("a", open_file(str(tmp_path / "a"), ""))
    assert len(kept) == 0
