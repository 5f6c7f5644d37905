"""When somebody was here last, in an encrypted cookie."""

import base64
import time

from cryptography import fernet

from structweb import web
from structweb.sessions import get_session, setup
from structweb.sessions.cookie_storage import EncryptedCookieStorage


async def handler(request):
    session = await get_session(request)
    last_visit = session["last_visit"] if "last_visit" in session else None
    session["last_visit"] = time.time()
    text = f"Last visited: {last_visit}"
    return web.Response(text=text)


def init_func(argv):
    app = web.Application()
    # secret_key must be 32 url-safe base64-encoded bytes
    fernet_key = fernet.Fernet.generate_key()
    secret_key = base64.urlsafe_b64decode(fernet_key)
    setup(app, EncryptedCookieStorage(secret_key))
    app.router.add_get("/", handler)
    return app


if __name__ == "__main__":
    web.run_app(init_func([]))
