"""The pages of examples/templates.py, over real sockets."""

import httpx
import pytest

from tests.examples.program import Program

pytest.importorskip("jinja2")
pytest.importorskip("mako")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_pages(backend):
    """S-42, S-43, S-44: a plain function under the decorator, unchanged but for imports."""
    with Program(
        "-m", "structweb", "serve", "-P", "0", "--backend", backend, "examples.templates:init_func"
    ) as program:
        with httpx.Client(base_url=f"http://127.0.0.1:{program.port()}", trust_env=False) as client:
            page = client.get("/")
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "<h1>Hello, Andrew Svetlov</h1>" in page.text
            assert 'href="/static/hello.css"' in page.text
            assert 'href="/mako/Ann"' in page.text
            assert "<h1>Hello, &lt;Ann&gt;</h1>" in client.get("/mako/<Ann>").text
        program.interrupt()
        assert program.ended() == 0
