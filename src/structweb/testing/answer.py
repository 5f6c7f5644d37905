"""What a server of a test has answered: `ClientResponse`, as aiohttp's."""

import json
from collections.abc import AsyncIterator, Callable
from http.cookies import SimpleCookie
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from structweb._wire.events import HttpVersion
from structweb._wire.media_type import parse_media_type

if TYPE_CHECKING:
    import httpx


class ResponseContent:
    """The body of a response as a stream, decompressed, read from the connection as it is asked for.

    Once reading has failed, or was cancelled while it waited, the rest is lost: who asks for it gets httpx.ReadError.
    """

    def __init__(self, response: "httpx.Response") -> None:
        self._response = response
        self._pieces: AsyncIterator[bytes] | None = None
        self._buffer = bytearray()  # what is taken from its front costs nothing, unlike that of bytes
        self._searched = 0
        self._ended = False
        self._failure: BaseException | None = None

    async def _more(self) -> bool:
        if self._failure is not None:
            import httpx

            # httpx ends its iterator with the first error, and would tell nothing but the end from then on.
            raise httpx.ReadError(
                "the rest of the body is lost: reading has failed, or was cancelled"
            ) from self._failure
        if self._pieces is None:
            self._pieces = self._response.aiter_bytes()
        try:
            piece = await anext(self._pieces, None)
        except BaseException as exc:
            self._failure = exc
            raise
        if piece is None:
            self._ended = True
            return False
        self._buffer += piece
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        self._searched = 0
        return taken

    def at_eof(self) -> bool:
        """Tell whether everything has been read."""
        return self._ended and not self._buffer

    async def read(self, n: int = -1) -> bytes:
        """Return at most `n` bytes, all that are left if it is negative, b"" at the end."""
        if n < 0:
            while await self._more():
                pass
            return self._take(len(self._buffer))
        while n and not self._buffer and await self._more():
            pass
        return self._take(n)

    async def readany(self) -> bytes:
        """Return what has arrived, or wait for it; b"" at the end."""
        return await self.read(2**30)

    async def readexactly(self, n: int) -> bytes:
        """Return `n` bytes.  Raises `structweb.IncompleteReadError` when there are fewer."""
        from structweb._web.content import IncompleteReadError

        while len(self._buffer) < n and await self._more():
            pass
        if len(self._buffer) < n:
            raise IncompleteReadError(self._take(n), n)
        return self._take(n)

    async def readline(self) -> bytes:
        r"""Return the next line with its \n, or what is left."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)  # nothing is looked at twice
            if not await self._more():
                break
        return self._take(end + 1 or len(self._buffer))

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Yield pieces of at most `n` bytes."""
        while piece := await self.read(n):
            yield piece

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield what arrives, as it arrives."""
        while piece := await self.readany():
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield lines."""
        while line := await self.readline():
            yield line


class ClientResponse:
    """A response: status and headers are there, the body comes when it is asked for.

    Its attributes and methods are those of aiohttp's.  ``async with`` releases the connection; so does reading the
    body to its end, and closing the client.
    """

    def __init__(self, response: "httpx.Response") -> None:
        self._response = response
        self._body: bytes | None = None
        #: The status code.
        self.status: int = response.status_code
        #: The method of the request.
        self.method: str = response.request.method
        #: The fields, in the case in which they were sent.
        self.headers: CIMultiDictProxy[str] = CIMultiDictProxy(
            CIMultiDict([(name.decode("ascii"), _text(value)) for name, value in response.headers.raw])
        )
        #: The body as a stream.
        self.content: ResponseContent = ResponseContent(response)
        #: What the server has set in this response.
        self.cookies: SimpleCookie = SimpleCookie()
        for line in self.headers.getall("Set-Cookie", ()):
            self.cookies.load(line)

    def __repr__(self) -> str:
        return f"<ClientResponse({self.url}) [{self.status} {self.reason}]>"

    @property
    def reason(self) -> str:
        """The reason phrase."""
        phrase: bytes = self._response.extensions.get("reason_phrase", b"")
        return phrase.decode("latin-1")

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def version(self) -> HttpVersion:
        """The HTTP version of the response."""
        major, minor = self._response.http_version.removeprefix("HTTP/").split(".")
        return HttpVersion(int(major), int(minor))

    @property
    def url(self) -> URL:
        """The URL that answered, behind all redirects."""
        return URL(str(self._response.url), encoded=True)

    real_url = url

    @property
    def history(self) -> tuple["ClientResponse", ...]:
        """The redirects on the way, first to last."""
        return tuple(map(ClientResponse, self._response.history))

    @property
    def content_type(self) -> str:
        """The media type, ``application/octet-stream`` if there is none."""
        return parse_media_type(self.headers.get("Content-Type")).value

    @property
    def charset(self) -> str | None:
        """The charset of the content type, None if there is none."""
        return parse_media_type(self.headers.get("Content-Type")).parameters.get("charset")

    @property
    def content_length(self) -> int | None:
        """The Content-Length, None if there is none."""
        length = self.headers.get("Content-Length")
        return None if length is None else int(length)

    async def read(self) -> bytes:
        """Return the whole body; again and again, for it is kept."""
        if self._body is None:
            self._body = await self.content.read()
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Return the body decoded by `encoding`, else by its charset, else by UTF-8."""
        body = await self.read()
        return body.decode(encoding or self.charset or "utf-8", errors)

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] = json.loads,  # Any: JSON has values of many types
        content_type: str | None = "application/json",
    ) -> Any:  # the same
        """Return the body as JSON, None for an empty one.

        Raises ContentTypeError when the response does not say that it is JSON; `content_type` None takes all.
        """
        await self.read()
        if content_type and not _is_json(self.content_type, content_type):
            raise ContentTypeError(f"expected {content_type}, got {self.content_type} with status {self.status}")
        text = (await self.text(encoding)).strip()
        return loads(text) if text else None

    def raise_for_status(self) -> None:
        """Raise ClientResponseError if the status is 400 or more."""
        if not self.ok:
            raise ClientResponseError(self)

    async def release(self) -> None:
        """Let go of the connection; what is left of the body is dropped."""
        await self._response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.release()


class ClientResponseError(Exception):
    """A response with a status of 400 or more: `status`, `message` and `headers` are its own."""

    def __init__(self, response: ClientResponse) -> None:
        super().__init__(f"{response.status}, message={response.reason!r}, url={str(response.url)!r}")
        self.status: int = response.status
        self.message: str = response.reason
        self.headers: CIMultiDictProxy[str] = response.headers


class ContentTypeError(ValueError):
    """A body that does not say that it is JSON."""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _is_json(found: str, expected: str) -> bool:
    if expected == "application/json":
        return found == expected or (found.startswith("application/") and found.endswith("+json"))
    return expected in found
