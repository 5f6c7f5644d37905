"""The cookies that a test's client sends, with values of any text.

httpx writes them unquoted, where ``a;b`` is two, and in ASCII, in which not every text can be written.
"""

from collections.abc import Iterable, Mapping
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


def quoted(value: str) -> str:
    """Return a value as it stands in a Cookie field, in quotes where it needs them."""
    return SimpleCookie().value_encode(value)[1]


def cookie_field(session: "httpx.AsyncClient", url: str, cookies: Mapping[str, str]) -> str:
    """Return the value of the Cookie field for `url`: the cookies that the session keeps, and `cookies`; "" for none."""
    from urllib.request import Request  # takes 10 ms to import, of which httpx has taken most

    every = type(session.cookies)(session.cookies)
    for name, value in cookies.items():
        every.set(name, quoted(value))
    asking = Request(url)  # noqa: S310 - nothing is opened: this is what cookiejar writes the field to
    every.jar.add_cookie_header(asking)
    return asking.get_header("Cookie") or ""


def in_utf8(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return fields in UTF-8, as aiohttp's client sends them; httpx would refuse what is not ASCII."""
    return [(name.encode(), value.encode()) for name, value in fields]
