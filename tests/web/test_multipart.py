"""Multipart bodies through requests, read and written (W-115..W-122, S-54, S-55)."""

import base64
import binascii
import gzip
import io
import tracemalloc
import zlib

import anyio
import pytest

from structweb import (
    BodyPartReader,
    MultipartReader,
    MultipartWriter,
    StringPayload,
    content_disposition_filename,
    parse_content_disposition,
)
from structweb._web.multipart import MAX_DEPTH, NotMultipartError
from structweb._web.response import Response
from structweb._web.streaming import StreamResponse
from structweb._wire.disposition import BadContentDispositionHeader, BadContentDispositionParam
from structweb._wire.multipart import MultipartError
from structweb._wire.part_coding import UnknownEncodingError
from tests.web.served import serving
from tests.web.talk import app_of, in_chunks, parse, talk

pytestmark = pytest.mark.anyio

FORM = "multipart/form-data; boundary=B"
MIXED = "multipart/mixed; boundary=B"


def head(content_type=MIXED, length=None, method="POST"):
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    field = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"{method} / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{field}{framing}\r\n\r\n".encode()


def sent(body, content_type=MIXED, *, chunk=0):
    """Return a request with a body, in chunks of `chunk` bytes if that is given."""
    if not chunk:
        return head(content_type, len(body)) + body
    pieces = [body[start : start + chunk] for start in range(0, len(body), chunk)]
    return head(content_type) + in_chunks(pieces)


def part(body, *fields, boundary="B"):
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"--{boundary}\r\n{lines}\r\n".encode() + body + b"\r\n"


async def read(look, body, content_type=MIXED, *, chunk=0, **options):
    """Return what `look` makes of the multipart reader of a request."""
    found = []

    async def handler(request):
        found.append(await look(await request.multipart()))
        return Response()

    reply = parse(await talk(app_of(handler, **options), sent(body, content_type, chunk=chunk)))
    assert reply.status == 200, reply
    return found[0]


async def refused(look, body, content_type=MIXED, **options):
    """Return the response to a request whose reader cannot give what `look` wants."""

    async def handler(request):
        await look(await request.multipart())
        return Response()

    return parse(await talk(app_of(handler, **options), sent(body, content_type)))


async def bodies(reader):
    return [await part.read() async for part in reader]


# -- the reader ----------------------------------------------------------------------------------------------------

FILES = (
    b"preamble\r\n"
    + part(b"one", 'Content-Disposition: form-data; name="a"; filename="x.txt"', "Content-Type: text/plain")
    + part(b"two\r\n", 'Content-Disposition: form-data; name="b"')
    + b"--B--\r\nepilogue"
)


@pytest.mark.parametrize("chunk", [0, 1, 7, 1000])
async def test_parts_come_one_by_one(chunk):
    async def look(reader):
        assert not reader.at_eof()
        first = await reader.next()
        assert isinstance(first, BodyPartReader)
        assert (first.name, first.filename, first.headers["content-type"]) == ("a", "x.txt", "text/plain")
        assert await first.read() == b"one"
        assert first.at_eof()
        assert await first.read() == b""
        second = await reader.next()
        assert (second.name, second.filename) == ("b", None)
        assert await second.text() == "two\r\n"
        assert await reader.next() is None
        assert reader.at_eof()
        assert await reader.next() is None
        return True

    assert await read(look, FILES, FORM, chunk=chunk)


async def test_unread_parts_are_skipped():
    async def look(reader):
        first = await reader.next()
        assert await first.read_chunk(1) == b"o"
        second = await reader.next()
        # The first one is over, and takes nothing of the second.
        assert first.at_eof()
        assert await first.read() == b""
        return await second.read()

    assert await read(look, FILES) == b"two\r\n"


async def test_release_and_fetch():
    async def look(reader):
        first = await reader.fetch_next_part()
        await first.release()
        assert first.at_eof()
        await reader.release()
        assert reader.at_eof()
        with pytest.raises(MultipartError, match="expected one more part"):
            await reader.fetch_next_part()
        return first.name

    assert await read(look, FILES) == "a"


async def test_the_body_can_be_read_before():
    async def handler(request):
        await request.read()
        return Response(body=b"|".join(await bodies(await request.multipart())))

    assert parse(await talk(handler, sent(FILES))).body == b"one|two\r\n"


async def test_nested_bodies():
    inner = part(b"a", boundary="I") + part(b"b", boundary="I") + b"--I--\r\nepilogue"
    body = part(inner, "Content-Type: multipart/alternative; boundary=I") + part(b"c") + b"--B--"

    async def look(reader):
        nested = await reader.next()
        assert isinstance(nested, MultipartReader)
        found = await bodies(nested)
        return [*found, await (await reader.next()).read()]

    async def skip(reader):
        nested = await reader.next()
        await (await nested.next()).read_chunk(1)
        return await (await reader.next()).read()

    assert await read(look, body, chunk=3) == [b"a", b"b", b"c"]
    assert await read(skip, body) == b"c"


async def test_a_nested_body_ends_with_its_part():
    body = part(part(b"a", boundary="I"), "Content-Type: multipart/mixed; boundary=I") + b"--B--"

    async def look(reader):
        return await bodies(await reader.next())

    reply = await refused(look, body)
    assert (reply.status, b"before its last boundary" in reply.body) == (400, True)


async def test_nesting_has_a_limit():
    body = b"x"
    for depth in range(100):
        kind = f"Content-Type: multipart/mixed; boundary=B{depth}"
        body = part(body, kind, boundary=f"B{depth + 1}") + f"--B{depth + 1}--".encode()
    depths = []

    async def descend(reader):
        depths.append(reader)
        await descend(await reader.next())

    reply = await refused(descend, body, "multipart/mixed; boundary=B100")
    assert (reply.status, len(depths)) == (400, MAX_DEPTH)


async def test_hooks():
    class Part(BodyPartReader):
        pass

    class Nested(MultipartReader):
        part_reader_cls = Part

    class Reader(MultipartReader):
        multipart_reader_cls = Nested

    body = (
        part(part(b"a", boundary="I") + b"--I--", "Content-Type: multipart/mixed; boundary=I") + part(b"b") + b"--B--"
    )
    found = []

    async def handler(request):
        async for item in Reader(request.headers, request.content):
            found.append(type(item))
            if isinstance(item, Nested):
                found.append(type(await item.next()))
        return Response()

    assert parse(await talk(handler, sent(body))).status == 200
    assert found == [Nested, Part, BodyPartReader]


@pytest.mark.parametrize(
    ("content_type", "error", "message"),
    [
        ("text/plain", AssertionError, "expected a multipart body"),
        (None, AssertionError, "expected a multipart body"),
        ("multipart/mixed", ValueError, "boundary missed"),
        ("multipart/mixed; boundary=", ValueError, "boundary is empty"),
        (f"multipart/mixed; boundary={'x' * 71}", ValueError, "too long"),
    ],
)
async def test_no_multipart(content_type, error, message):
    async def handler(request):
        with pytest.raises(error, match=message):
            await request.multipart()
        await request.multipart()

    reply = parse(await talk(handler, sent(FILES, content_type)))
    assert (reply.status, message in reply.body.decode()) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"junk", b"--C\r\n\r\n", b"--B", b"--B\r\n", b"--B\r\n\r\nabc", b"--B\r\n\r\nabc\r\n--B", b"--B\r\n\r\nabc\r\n--Bx",
        b"--B\r\nnocolon\r\n\r\n\r\n--B--", b"--B\r\nA: " + b"x" * 9000 + b"\r\n\r\n\r\n--B--",
        b"--B\r\n" + b"A: b\r\n" * 129 + b"\r\n\r\n--B--",
        b"--B\r\nContent-Length: +3\r\n\r\nabc\r\n--B--", b"--B\r\nContent-Length: 4\r\n\r\nabc\r\n--B--",
        b"--B\r\nContent-Length: 2\r\n\r\nabc\r\n--B--", b"--B\r\nContent-Length: \xd9\xa3\r\n\r\nabc\r\n--B--",
    ],
)  # fmt: skip
async def test_malformed_bodies_are_the_clients_fault(body):
    assert (await refused(bodies, body)).status == 400


async def test_a_handler_may_catch_the_error():
    async def handler(request):
        with pytest.raises(ValueError):
            await bodies(await request.multipart())
        return Response(status=422)

    assert parse(await talk(handler, sent(b"--B\r\n\r\nabc"))).status == 422


# -- a part --------------------------------------------------------------------------------------------------------


async def of_part(look, body, *fields, content_type=MIXED, chunk=0, **options):
    async def first(reader):
        return await look(await reader.next())

    return await read(first, part(body, *fields) + b"--B--", content_type, chunk=chunk, **options)


async def test_chunks():
    async def look(item):
        chunks = []
        while chunk := await item.read_chunk():
            assert len(chunk) <= 8192
            chunks.append(chunk)
        assert item.at_eof()
        with pytest.raises(ValueError, match="at least 1"):
            await item.read_chunk(0)
        return b"".join(chunks)

    data = bytes(range(256)) * 200
    assert await of_part(look, data) == data
    assert await of_part(look, data, chunk=1000) == data


async def test_lines():
    async def look(item):
        lines = []
        while line := await item.readline():
            lines.append(line)
        assert item.at_eof()
        return lines

    assert await of_part(look, b"a\r\n\nb\r\n--\r\nc") == [b"a\r\n", b"\n", b"b\r\n", b"--\r\n", b"c"]
    assert await of_part(look, b"a\r\nbc\r\n", chunk=1) == [b"a\r\n", b"bc\r\n"]

    async def mixed(item):
        return [await item.readline(), await item.read_chunk(2), await item.readline(), await item.read()]

    assert await of_part(mixed, b"a\nbcd\nefg\n") == [b"a\n", b"bc", b"d\n", b"efg\n"]


async def test_a_long_line_is_refused():
    async def look(item):
        with pytest.raises(ValueError, match="expected a separator"):
            await item.readline()
        return True

    assert await of_part(look, b"x" * 300_000)


async def test_iteration_gives_the_whole():
    async def look(item):
        return [data async for data in item]

    assert await of_part(look, b"abc") == [b"abc"]


async def test_text_json_form():
    assert await of_part(lambda item: item.text(), "é".encode()) == "é"
    assert await of_part(lambda item: item.text(), b"\xe9", "Content-Type: text/plain; charset=latin-1") == "é"
    assert await of_part(lambda item: item.text(encoding="latin-1"), b"\xe9") == "é"
    assert await of_part(lambda item: item.json(), b'{"a": 1}') == {"a": 1}
    assert await of_part(lambda item: item.json(), b"") is None
    assert await of_part(lambda item: item.form(), b"a=1&b=&a=%C3%A9\r\n") == [("a", "1"), ("b", ""), ("a", "é")]
    assert await of_part(lambda item: item.form(), b"") == []

    async def broken(item):
        with pytest.raises(ValueError, match="cannot be decoded with ascii"):
            await item.form(encoding="ascii")
        return True

    assert await of_part(broken, b"\xe9=1")


async def test_names():
    async def look(item):
        return item.name, item.filename, repr(item)

    field = 'Content-Disposition: form-data; name="a"; filename="C:/x;y.txt"'
    assert await of_part(look, b"", field) == ("a", "C:/x;y.txt", "<BodyPartReader name='a' filename='C:/x;y.txt'>")
    assert (await of_part(look, b""))[:2] == (None, None)
    assert (await of_part(look, b"", "Content-Disposition: ;;;"))[:2] == (None, None)


@pytest.mark.parametrize("size", [1, 5, 100, 8192])
async def test_base64(size):
    data = bytes(range(256)) * 4

    async def look(item):
        decoded = b""
        while chunk := await item.read_chunk(size):
            decoded += item.decode(chunk)
        return decoded

    field = "Content-Transfer-Encoding: BASE64"
    assert await of_part(look, base64.encodebytes(data), field, chunk=13) == data
    assert await of_part(lambda item: item.read(decode=True), base64.b64encode(data), field) == data
    assert await of_part(lambda item: item.read(), b"YWJj", field) == b"YWJj"
    if size == 5:
        assert await of_part(look, b"\r\n" * 40 + b"YWJj", field) == b"abc"


async def test_quoted_printable():
    async def look(item):
        decoded = b""
        while chunk := await item.read_chunk(5):
            async for piece in item.decode_iter(chunk):
                decoded += piece
        return decoded

    field = "Content-Transfer-Encoding: quoted-printable"
    assert await of_part(look, b"a=C3=A9=\r\nb=3D", field, chunk=2) == "aéb=".encode()


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compression(encoding, compress):
    data = b"0123456789" * 5000

    async def stream(item):
        decoded = b""
        while chunk := await item.read_chunk(20):
            async for piece in item.decode_iter(chunk):
                assert len(piece) <= 2**16
                decoded += piece
        return decoded

    field = f"Content-Encoding: {encoding}"
    assert await of_part(stream, compress(data), field) == data
    assert await of_part(lambda item: item.read(decode=True), compress(data), field) == data
    assert await of_part(lambda item: item.read(), compress(data), field) == compress(data)
    # RFC 7578: not in forms.
    assert await of_part(lambda item: item.read(decode=True), b"abc", field, content_type=FORM) == b"abc"
    assert await of_part(lambda item: item.read(decode=True), b"abc", "Content-Encoding: identity") == b"abc"


@pytest.mark.parametrize(
    ("fields", "body", "error"),
    [
        (["Content-Encoding: br"], b"abc", UnknownEncodingError),
        (["Content-Transfer-Encoding: x"], b"abc", RuntimeError),
        (["Content-Encoding: gzip"], b"abc", ValueError),
        (["Content-Encoding: gzip"], gzip.compress(b"abc", mtime=0)[:-3], ValueError),
        (["Content-Transfer-Encoding: base64"], b"YQ", ValueError),
    ],
)
async def test_what_cannot_be_decoded(fields, body, error):
    async def look(reader):
        item = await reader.next()
        data = await item.read()
        with pytest.raises(error):
            item.decode(data)
        return item.decode(data)

    assert (await refused(look, part(body, *fields) + b"--B--")).status == 400


async def test_a_part_that_is_too_large():
    async def look(reader):
        return await (await reader.next()).read(decode=True)

    large = part(b"x" * 3000) + b"--B--"
    assert (await refused(look, large, client_max_size=2999)).status == 413
    assert await read(look, large, client_max_size=3000) == b"x" * 3000
    assert await read(look, large, client_max_size=0) == b"x" * 3000
    bomb = part(gzip.compress(bytes(10**7)), "Content-Encoding: gzip") + b"--B--"
    assert (await refused(look, bomb, client_max_size=20_000)).status == 413


async def test_content_length_of_a_part():
    assert await of_part(lambda item: item.read(), b"abc", "Content-Length: 3") == b"abc"
    # RFC 7578: it says nothing in forms.
    assert await of_part(lambda item: item.read(), b"abc", "Content-Length: 1", content_type=FORM) == b"abc"


def charset_form(value):
    return (
        part(value, 'Content-Disposition: form-data; name="_charset_"')
        + part(b"\xe9", 'Content-Disposition: form-data; name="a"')
        + part("é".encode(), 'Content-Disposition: form-data; name="b"', "Content-Type: text/plain; charset=utf-8")
        + b"--B--"
    )


async def test_the_charset_field():
    async def look(reader):
        return [(part.name, part.get_charset("x"), await part.text()) async for part in reader]

    assert await read(look, charset_form(b"iso-8859-1"), FORM, chunk=1) == [
        ("a", "iso-8859-1", "é"),
        ("b", "utf-8", "é"),
    ]
    for charset in (b"x" * 32, b""):
        reply = await refused(look, charset_form(charset), FORM)
        assert (reply.status, b"_charset_" in reply.body) == (400, True)


async def test_a_large_upload_keeps_memory_flat():
    """64 MiB through read_chunk, and through skipped parts."""
    piece = bytes(range(256)) * 256
    count = 512
    sizes = []

    async def handler(request):
        reader = await request.multipart()
        first = await reader.next()
        size = 0
        while chunk := await first.read_chunk(2**16):
            size += len(chunk)
        last = await reader.next()
        last = await reader.next()
        sizes.extend([size, await last.read()])
        return Response()

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        length = sum(map(len, (part(b""), part(b""), part(b"end"), b"--B--"))) + 2 * count * len(piece)
        await connection.stream.send(head(MIXED, length))
        tracemalloc.start()
        try:
            for _ in range(2):
                await connection.stream.send(b"--B\r\n\r\n")
                for _ in range(count):
                    await connection.stream.send(piece)
                await connection.stream.send(b"\r\n")
            await connection.stream.send(part(b"end") + b"--B--")
            assert (await connection.answer()).status == 200
            assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
        finally:
            tracemalloc.stop()
    assert sizes == [count * len(piece), b"end"]


# -- Content-Disposition -------------------------------------------------------------------------------------------


def test_parse_content_disposition():
    parsed = parse_content_disposition("Attachment; filename*0=a; filename*1=b")
    assert parsed == ("attachment", {"filename*0": "a", "filename*1": "b"})
    assert content_disposition_filename(parsed[1]) == "ab"
    assert content_disposition_filename({"name": "x"}, "name") == "x"
    assert parse_content_disposition(None) == (None, {})
    with pytest.warns(BadContentDispositionHeader):
        assert parse_content_disposition("a b") == (None, {})
    with pytest.warns(BadContentDispositionParam):
        assert parse_content_disposition("a; b*=c") == ("a", {})


# -- the writer ----------------------------------------------------------------------------------------------------


async def written(fill, *args, **options):
    """Return the body of a response that is a MultipartWriter, and its head."""

    async def handler(request):
        with MultipartWriter(*args, **options) as writer:
            await fill(writer) if hasattr(fill, "__await__") else fill(writer)
        return Response(body=writer)

    return parse(await talk(handler, b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))


async def test_a_writer_as_a_body():
    def fill(writer):
        assert len(writer) == 0
        assert writer
        assert isinstance(writer.append("text"), StringPayload)
        writer.append(b"bytes", {"X": "é"})
        writer.append_json({"a": 1})
        writer.append_form([("a", "1"), ("b", "é")])
        writer.append_form({"c": ["1", "2"]})
        assert len(writer) == len(list(writer)) == 5
        assert (writer.boundary, writer.consumed) == ("B", False)

    reply = await written(fill, boundary="B")
    assert reply.get("Content-Type") == "multipart/mixed; boundary=B"
    assert reply.get("Content-Length") == str(len(reply.body))
    assert reply.body == (
        b"--B\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n\r\ntext\r\n"
        b"--B\r\nContent-Type: application/octet-stream\r\nX: \xc3\xa9\r\nContent-Length: 5\r\n\r\nbytes\r\n"
        b'--B\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}\r\n'
        b"--B\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\na=1&b=%C3%A9\r\n"
        b"--B\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nc=1&c=2\r\n"
        b"--B--\r\n"
    )


async def test_what_a_writer_writes_a_reader_reads():
    async def numbers():
        for number in range(3):
            yield b"%d" % number

    def fill(writer):
        writer.append("a" * 10_000, {"Content-Encoding": "gzip"})
        writer.append(b"b" * 1000, {"Content-Encoding": "deflate", "Content-Transfer-Encoding": "base64"})
        writer.append("é=\n" * 100, {"Content-Transfer-Encoding": "quoted-printable"})
        writer.append(b"d", {"Content-Encoding": "identity", "Content-Transfer-Encoding": "binary"})
        nested = MultipartWriter("alternative")
        nested.append("inside")
        writer.append(nested, {"X": "y"})
        writer.append(numbers())
        assert writer.size is None

    reply = await written(fill)
    assert reply.get("Content-Length") is None

    async def look(reader):
        found = []
        async for item in reader:
            if isinstance(item, MultipartReader):
                found.append([await part.text() async for part in item])
            else:
                found.append(await item.read(decode=True))
        return found

    assert await read(look, reply.body, reply.get("Content-Type"), chunk=100) == [
        b"a" * 10_000, b"b" * 1000, ("é=\n" * 100).encode(), b"d", ["inside"], b"012",
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"a\r\nb\nc", b"a\nb\r\nc\rd", b"\n\r\n\r\r\n", bytes(range(256)) + b"\r\n \t"])
async def test_what_is_quoted_printable_comes_out_as_it_went_in(data):
    """With line ends of several kinds, too: Python makes them all alike."""
    writer = MultipartWriter(boundary="-")
    writer.append(data, {"Content-Transfer-Encoding": "quoted-printable"})
    encoded = (await writer.as_bytes()).partition(b"\r\n\r\n")[2].removesuffix(b"\r\n-----\r\n")
    assert binascii.a2b_qp(encoded) == data


async def test_bytes_of_a_writer():
    writer = MultipartWriter(boundary="a b")
    writer.append("é")
    assert writer.content_type == 'multipart/mixed; boundary="a b"'
    assert await writer.as_bytes() == await writer.as_bytes()
    assert len(await writer.as_bytes()) == writer.size
    assert writer.decode().endswith("\r\n\r\né")
    file = io.BufferedReader(io.BytesIO(b"abc"))
    writer.append(file)
    await writer.close()
    assert file.closed
    assert writer.consumed


@pytest.mark.parametrize("boundary", ["é", "a\r\nb", "", "x" * 71])
async def test_bad_boundaries(boundary):
    with pytest.raises(ValueError, match="boundary"):
        MultipartWriter(boundary=boundary)


async def test_bad_parts():
    writer = MultipartWriter()
    with pytest.raises(TypeError, match="no payload type"):
        writer.append(object())
    with pytest.raises(RuntimeError, match="unknown content encoding: br"):
        writer.append("", {"Content-Encoding": "br"})
    with pytest.raises(RuntimeError, match="unknown content transfer encoding: x"):
        writer.append("", {"Content-Transfer-Encoding": "x"})
    with pytest.raises(AssertionError, match="parts of a form must not have Content-Encoding"):
        MultipartWriter("form-data").append("", {"Content-Encoding": "gzip"})
    writer.append("", {"X": "a\r\nb"})
    with pytest.raises(ValueError, match="control characters"):
        await writer.as_bytes()


async def test_frames_that_replace_each_other():
    """Motion JPEG: a writer for each frame, and no last boundary before the end."""

    async def handler(request):
        response = StreamResponse(headers={"Content-Type": "multipart/x-mixed-replace; boundary=B"})
        await response.prepare(request)
        for frame in (b"1", b"2"):
            writer = MultipartWriter("image/jpeg", boundary="B")
            writer.append(frame, {"Content-Type": "image/jpeg"})
            await writer.write(response, close_boundary=False)
        return response

    reply = parse(await talk(handler, b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    frame = b"--B\r\nContent-Type: image/jpeg\r\nContent-Length: 1\r\n\r\n%b\r\n"
    assert reply.body == frame % b"1" + frame % b"2"


async def test_a_received_part_is_sent_on():
    async def handler(request):
        reader = await request.multipart()
        writer = MultipartWriter(boundary="O")
        payload = writer.append(await reader.next())
        assert payload.size is None
        with pytest.raises(TypeError):
            await payload.as_bytes()
        with pytest.raises(TypeError):
            payload.decode()
        return Response(body=writer)

    body = part(b"abc", 'Content-Disposition: form-data; name="a"; filename="b"') + b"--B--"
    reply = parse(await talk(handler, sent(body, FORM)))
    assert reply.body.endswith(b'Content-Disposition: attachment; name="a"; filename="b"\r\n\r\nabc\r\n--O--\r\n')


async def test_every_part_is_closed_when_sending_is_cancelled():
    closed = []

    async def endless(name):
        try:
            while True:
                yield b"x" * 1000
                await anyio.sleep(1)
        finally:
            closed.append(name)

    async def handler(request):
        writer = MultipartWriter()
        writer.append(endless("a"))
        second = endless("b")
        await anext(second)
        writer.append(second)
        return Response(body=writer)

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await connection.stream.receive_until(b"xxx")
        connection.stream.close()
        await anyio.sleep(10)
    assert sorted(closed) == ["a", "b"]


async def test_every_part_is_closed_though_closing_one_is_cancelled():
    """Generators that await something in their clean-up are cancelled there again: the file behind them has to be closed."""
    file = io.BufferedReader(io.BytesIO())

    async def endless():
        while True:
            yield b"x"
            await anyio.sleep(1)

    async def with_clean_up():
        try:
            yield b"y"
        finally:
            await anyio.sleep(1)

    async def handler(request):
        writer = MultipartWriter()
        writer.append(endless())
        for waiting in (with_clean_up(), with_clean_up()):
            await anext(waiting)
            writer.append(waiting)
        writer.append(file)
        return Response(body=writer)

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await connection.stream.receive_until(b"\r\n1\r\nx")
        connection.stream.close()
        await anyio.sleep(10)
    assert file.closed


def test_not_multipart_is_both():
    assert issubclass(NotMultipartError, MultipartError)
