"""The session example, and the text that it comes from, over real sockets."""

import base64
import re

import pytest

fernet = pytest.importorskip("cryptography.fernet")

from examples import session_visits  # noqa: E402 - behind the look for the extra
from structweb import web  # noqa: E402
from structweb.sessions import get_session, setup  # noqa: E402
from structweb.sessions.cookie_storage import EncryptedCookieStorage  # noqa: E402
from tests.examples.client import serving  # noqa: E402

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


async def test_the_example_remembers():
    """S-46, S-47: a forged cookie is none, a visit is remembered."""
    async with serving(session_visits.init_func([])) as client:
        answer = await client.ask("GET", "/", [("Cookie", "AIOHTTP_SESSION=forged")])
        assert (answer.status, answer.text) == (200, "Last visited: None")
        cookie = answer.get("set-cookie").split(";")[0]
        answer = await client.ask("GET", "/", [("Cookie", cookie)])
        assert re.fullmatch(r"Last visited: \d+\.\d+", answer.text)


# As the guide has it, but for imports and quotes.


async def handler(request):
    session = await get_session(request)
    last_visit = session["last_visit"] if "last_visit" in session else None  # noqa: SIM401 - the same
    text = "Last visited: {}".format(last_visit)  # noqa: UP032 - the guide's own
    return web.Response(text=text)


def make_app():
    app = web.Application()
    # secret_key must be 32 url-safe base64-encoded bytes
    fernet_key = fernet.Fernet.generate_key()
    secret_key = base64.urlsafe_b64decode(fernet_key)
    setup(app, EncryptedCookieStorage(secret_key))
    app.router.add_route("GET", "/", handler)
    return app


async def test_the_guides_application_answers():
    """S-48."""
    async with serving(make_app()) as client:
        answer = await client.ask("GET", "/")
        assert (answer.status, answer.text) == (200, "Last visited: None")
        assert answer.get("set-cookie") is None
