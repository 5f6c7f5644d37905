"""The bodies of a test's requests: what `TestClient` makes of `data` and `json`."""

import json as json_module
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from multidict import CIMultiDict

from structweb._web.formdata import FormData
from structweb._web.payload import AsyncIterablePayload, JsonPayload, Payload, get_payload


async def request_body(
    data: Any,  # Any: what has a payload
    json: Any,  # Any: JSON has values of many types
    fields: CIMultiDict[str],
    *,
    compress: str | bool | None,
) -> bytes | AsyncIterable[bytes] | None:
    """Return the body to send, and add to `fields` what says of what kind it is."""
    if json is not None:
        payload: Payload = JsonPayload(json, dumps=json_module.dumps)
    elif data is None:
        return None
    else:
        if isinstance(data, Mapping | list | tuple):
            data = FormData(data)
        payload = data() if isinstance(data, FormData) else get_payload(data)
    for name, value in payload.headers.items():
        if name.lower() != "content-length":
            fields.setdefault(name, value)
    if isinstance(payload, AsyncIterablePayload) and not isinstance(data, Payload) and not compress:
        pieces: AsyncIterable[bytes] = data
        return pieces
    body = await payload.as_bytes()
    if compress:
        coding = "deflate" if compress is True else compress
        if coding not in ("gzip", "deflate"):
            raise ValueError(f"compress must be 'gzip', 'deflate' or a bool, got {compress!r}")
        fields["Content-Encoding"] = coding
        packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
        body = packer.compress(body) + packer.flush()
    return body


async def pieces_of(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body as one piece: httpx sends what it cannot measure in chunks."""
    yield body


@asynccontextmanager
async def ended(pieces: object) -> AsyncIterator[None]:
    """End an async generator behind the block, if that is what `pieces` is.

    Whoever is cancelled while it sends leaves it suspended, of which trio warns when it is collected.
    """
    try:
        yield
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
