"""Forms: request.post() (S-49..S-53, W-112..W-116, W-199), and FormData (W-123)."""

import io
import tempfile
import tracemalloc

import anyio
import pytest
from multidict import MultiDict

from structweb import FormData, MultipartWriter
from structweb._web import uploads
from structweb._web.forms import FormError
from structweb._web.multipart import MultipartReader
from structweb._web.request import Request
from structweb._web.response import Response
from structweb._web.uploads import FileField
from structweb._wire.multipart import MultipartError
from tests.web.served import serving
from tests.web.talk import app_of, parse, talk
from tests.web.test_multipart import FORM, head, part, sent

pytestmark = pytest.mark.anyio

URLENCODED = "application/x-www-form-urlencoded"


async def form_of(body, content_type=URLENCODED, *, method="POST", look=None, chunk=0, **options):
    """Return the fields of a form as a list, or what `look` makes of them while the request lasts."""
    found = []

    async def handler(request):
        form = await request.post()
        assert await request.post() is form
        found.append(list(form.items()) if look is None else look(form))
        return Response()

    request = sent(body, content_type, chunk=chunk).replace(b"POST", method.encode(), 1)
    reply = parse(await talk(app_of(handler, **options), request), method)
    assert reply.status == 200, reply
    return found[0]


async def refused(body, content_type=URLENCODED, chunk=0, **options):
    """Return the response to a form that cannot be read."""

    async def handler(request):
        with pytest.raises(ValueError):
            await request.post()
        await request.post()

    async def direct(request):
        await request.post()

    reply = parse(await talk(app_of(direct, **options), sent(body, content_type, chunk=chunk)))
    assert 400 <= reply.status < 500
    assert parse(await talk(app_of(handler, **options), sent(body, content_type, chunk=chunk))).status == reply.status
    return reply


def field(name, body, *fields, filename=None):
    name = f'Content-Disposition: form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    return part(body, name, *fields)


# -- urlencoded ----------------------------------------------------------------------------------------------------


async def test_urlencoded():
    assert await form_of(b"login=me&password=&a=1&a=%ff") == [
        ("login", "me"), ("password", ""), ("a", "1"), ("a", "\ufffd"),
    ]  # fmt: skip
    assert await form_of(b"") == []
    assert await form_of(b"a=%E9\xe9\r\n", f"{URLENCODED}; charset=latin-1") == [("a", "éé")]
    assert await form_of(b"a=b+c", URLENCODED.upper(), chunk=1) == [("a", "b c")]


async def test_query_of_a_get_form():
    async def handler(request):
        return Response(text=f"{list(request.query.items())} {list((await request.post()).items())}")

    reply = parse(await talk(handler, b"GET /?a=1&b=&a=2 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    assert reply.body == b"[('a', '1'), ('b', ''), ('a', '2')] []"


@pytest.mark.parametrize(
    ("method", "parsed"), [("POST", True), ("PUT", True), ("PATCH", True), ("DELETE", True), ("TRACE", True), ("GET", False), ("OPTIONS", False)]
)  # fmt: skip
async def test_methods(method, parsed):
    assert await form_of(b"a=1", method=method) == ([("a", "1")] if parsed else [])


async def test_types():
    assert await form_of(b"a=1", None) == [("a", "1")]  # aiohttp returns nothing
    assert await form_of(b"a=1", "text/plain") == []
    assert await form_of(b'{"a": 1}', "application/json") == []
    assert await form_of(b"--B--", "multipart/mixed; boundary=B") == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=\xff", URLENCODED),
        (b"a=1", f"{URLENCODED}; charset=nowhere"),
        (b"a=1", f"{URLENCODED}; charset=zlib"),
        (b"a=1", f"{URLENCODED}; charset=idna"),
        (b"a", f"{URLENCODED}; charset=utf-16"),
    ],
)
async def test_urlencoded_forms_that_are_no_text(body, content_type):
    assert (await refused(body, content_type)).status == 400


# -- multipart -----------------------------------------------------------------------------------------------------


async def test_multipart_fields():
    body = (
        field("login", b"me")
        + field("empty", b"")
        + field("text", "é".encode("latin-1"), "Content-Type: Text/plain; charset=latin-1")
        + field("raw", b"\xff", "Content-Type: application/octet-stream")
        + field("nofile", b"", filename="")
        + b"--B--\r\n"
    )
    fields = await form_of(body, FORM, chunk=5)
    assert fields == [
        ("login", "me"), ("empty", ""), ("text", "é"), ("raw", bytearray(b"\xff")), ("nofile", ""),
    ]  # fmt: skip
    assert type(fields[3][1]) is bytearray


async def test_a_file():
    body = field("mp3", b"abc", "Content-Type: audio/mpeg", "X: y", filename="../a b.mp3") + field("a", b"1") + b"--B--"

    def look(form):
        mp3 = form["mp3"]
        assert isinstance(mp3, FileField)
        assert (mp3.name, mp3.filename, mp3.content_type, mp3.headers["x"]) == ("mp3", "../a b.mp3", "audio/mpeg", "y")
        assert mp3.file.read() == b"abc"
        mp3.file.seek(1)
        assert mp3.file.read() == b"bc"
        return mp3.file, form["a"]

    file, text = await form_of(body, FORM, look=look)
    assert text == "1"
    assert file.closed  # with its request
    untyped = await form_of(field("f", b"", filename="x") + b"--B--", FORM, look=lambda form: form["f"].content_type)
    assert untyped == "application/octet-stream"


async def test_encoded_parts():
    body = (
        field("a", b"YWJj", "Content-Transfer-Encoding: base64")
        + field("b", b"YWJj", "Content-Transfer-Encoding: base64", filename="x")
        + field("c", b"abc", "Content-Encoding: gzip")
        + b"--B--"
    )
    assert await form_of(body, FORM, look=lambda form: (form["a"], form["b"].file.read(), form["c"])) == (
        "abc", b"abc", "abc",
    )  # fmt: skip


async def test_the_charset_field_is_for_the_others():
    body = field("_charset_", b"latin-1") + field("a", b"\xe9") + b"--B--"
    assert await form_of(body, FORM) == [("a", "é")]
    reply = await refused(field("_charset_", b"nowhere") + field("a", b"\xe9") + b"--B--", FORM)
    assert reply.status == 400


GOOD = field("a", b"1", filename="f")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (GOOD + b"--B--", "multipart/form-data"),
        (GOOD + b"--B--", "multipart/form-data; boundary=X"),
        (GOOD + b"--B--", f"multipart/form-data; boundary={'B' * 71}"),
        (GOOD + part(b"2") + b"--B--", FORM),
        (GOOD + part(b"2", "Content-Disposition: form-data") + b"--B--", FORM),
        (GOOD + part(b"2", "Content-Disposition: ???") + b"--B--", FORM),
        (GOOD + field("n", b"--X--", "Content-Type: multipart/mixed; boundary=X") + b"--B--", FORM),
        (GOOD + field("n", b"--X--", "Content-Type: multipart/mixed") + b"--B--", FORM),
        (GOOD[:-5], FORM),
        (GOOD + b"--B", FORM),
        (GOOD + b"--Bx\r\n", FORM),
        (GOOD + field("b", b"\xff") + b"--B--", FORM),
        (GOOD + field("b", b"", "Content-Type: text/plain; charset=nowhere") + b"--B--", FORM),
        (GOOD + field("b", b"YQ", "Content-Transfer-Encoding: base64") + b"--B--", FORM),
        (GOOD + field("b", b"YQ", "Content-Transfer-Encoding: x") + b"--B--", FORM),
        (b"", FORM),
    ],
)  # fmt: skip
async def test_malformed_forms_are_the_clients_fault(body, content_type):
    """Of which aiohttp answers most with 500."""
    assert (await refused(body, content_type)).status == 400


async def test_forms_of_a_body_that_was_read_and_of_a_copy():
    async def handler(request):
        await request.read()
        return Response(text=(await request.post())["a"].file.read().decode())

    assert parse(await talk(handler, sent(GOOD + b"--B--", FORM))).body == b"1"

    files = []

    async def copying(request):
        files.append((await request.clone().post())["a"].file)
        assert not files[0].closed
        copy = request.clone()
        assert copy.post is not None
        return Response(text=files[0].read().decode())

    assert parse(await talk(copying, sent(GOOD + b"--B--", FORM))).body == b"1"
    assert files[0].closed


async def test_a_copy_has_the_form_that_was_read():
    async def handler(request):
        form = await request.post()
        assert await request.clone().post() is form
        return Response()

    assert parse(await talk(handler, sent(GOOD + b"--B--", FORM))).status == 200


# -- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [0, 10])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=" + b"x" * 98, URLENCODED),
        (field("a", b"x" * 44) + b"--B--", FORM),
        (field("a", b"x" * 23, filename="file.txt") + b"--B--", FORM),
        (b"x" * 91 + b"\r\n--B--\r\n", FORM),
        (b"--B--\r\n" + b"x" * 93, FORM),
    ],
)
async def test_the_whole_body_counts(body, content_type, chunk):
    """Headers of parts, preamble and epilogue too."""
    assert len(body) == 100
    await form_of(body, content_type, chunk=chunk, client_max_size=100)
    await form_of(body, content_type, chunk=chunk, client_max_size=0)
    reply = await refused(body, content_type, chunk=chunk, client_max_size=99)
    assert (reply.status, reply.body) == (413, b"Maximum request body size 99 exceeded.")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=1&" * 5, URLENCODED),
        (b"".join(field("a", b"1") for _ in range(5)) + b"--B--", FORM),
        (b"".join(field("a", b"1", filename="f") for _ in range(5)) + b"--B--", FORM),
    ],
)
async def test_fields_are_counted(body, content_type):
    assert len(await form_of(body, content_type, client_max_fields=5)) == 5
    assert len(await form_of(body, content_type, client_max_fields=0)) == 5
    reply = await refused(body, content_type, client_max_fields=4)
    assert (reply.status, reply.body) == (413, b"Maximum number of form fields 4 exceeded.")


class OpenFiles:
    """The files that forms opened, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[tempfile.SpooledTemporaryFile[bytes]] = []
        monkeypatch.setattr(uploads, "SpooledTemporaryFile", self)

    def __call__(self, size: int) -> "tempfile.SpooledTemporaryFile[bytes]":
        file: tempfile.SpooledTemporaryFile[bytes] = tempfile.SpooledTemporaryFile(size)  # noqa: SIM115 - whoever asked closes it
        self.files.append(file)
        return file

    def closed(self) -> list[bool]:
        return [file.closed for file in self.files]


@pytest.fixture
def open_files(monkeypatch: pytest.MonkeyPatch) -> OpenFiles:
    return OpenFiles(monkeypatch)


@pytest.mark.parametrize(
    "rest",
    [
        field("c", b"x" * 500, filename="g"),
        field("c", b"x" * 500),
        b"--Bx",
        b"--B\r\n\r\n",
        field("c", b"YQ", "Content-Transfer-Encoding: base64", filename="g"),
    ],
)
async def test_a_refused_form_leaves_no_file_open(open_files, rest):
    async def handler(request):
        with pytest.raises(ValueError):
            await request.post()
        assert all(open_files.closed())
        return Response()

    app = app_of(handler, client_max_size=400)
    assert parse(await talk(app, sent(GOOD + GOOD + rest, FORM, chunk=50))).status == 200
    assert len(open_files.files) in (2, 3)


async def test_a_cancelled_form_leaves_no_file_open(open_files):
    """The client leaves in the middle of a file, and while a handler works on a form."""

    async def handler(request):
        await request.post()
        await anyio.sleep(1000)

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(head(FORM, 10_000) + GOOD + GOOD[:-3])
        await anyio.sleep(1)
        assert open_files.closed() == [False, False]
        connection.stream.close()
        await anyio.sleep(1)
        assert open_files.closed() == [True, True]
        connection = served.connect()
        await connection.stream.send(sent(GOOD + b"--B--", FORM))
        await anyio.sleep(1)
        assert open_files.closed() == [True, True, False]
        connection.stream.close()
        await anyio.sleep(1)
        assert open_files.closed() == [True, True, True]


async def test_a_form_whose_reading_was_cancelled_is_not_taken_for_a_smaller_one():
    """What was read of it is gone: whoever asks again must not get the rest of the fields as if they were all."""
    errors = []

    async def handler(request):
        with anyio.move_on_after(1) as scope:
            await request.post()
        assert scope.cancelled_caught
        for _ in range(2):
            with pytest.raises(RuntimeError) as caught:
                await request.post()
            errors.append(str(caught.value))
        return Response()

    body = field("a", b"1") + field("b", b"2")
    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(head(FORM, len(body) + 5) + body[:-10])
        await anyio.sleep(2)
        await connection.stream.send(body[-10:] + b"--B--")
        await anyio.sleep(1)
    assert errors == ["the form cannot be read: an earlier post() was cancelled half-way, or is under way"] * 2


async def test_an_urlencoded_form_whose_reading_was_cancelled_is_read_again():
    forms = []

    async def handler(request):
        with anyio.move_on_after(1):
            await request.post()
        forms.append(list((await request.post()).items()))
        return Response()

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(head(URLENCODED, 7) + b"a=1")
        await anyio.sleep(2)
        await connection.stream.send(b"&b=2")
        await anyio.sleep(1)
    assert forms == [[("a", "1"), ("b", "2")]]


@pytest.mark.real_backends
async def test_a_large_file_goes_to_disk():
    body = field("f", bytes(3 * 2**20), filename="f") + b"--B--"
    found = []

    async def handler(request):
        form = await request.post()
        file = form["f"].file
        found.append((file.fileno() > 0, len(file.read()), file))
        return Response()

    async with serving(app_of(handler, client_max_size=2**23)) as served:
        connection = served.connect()
        async with anyio.create_task_group() as group:
            group.start_soon(connection.stream.send, sent(body, FORM))
            assert (await connection.answer()).status == 200
    on_disk, size, file = found[0]
    assert (on_disk, size, file.closed) == (True, 3 * 2**20, True)


@pytest.mark.real_backends
async def test_many_bytes_of_files_keep_memory_flat():
    """32 MiB in one form: one MiB of each file is in memory."""
    piece = bytes(2**16)
    count = 512

    async def handler(request):
        form = await request.post()
        return Response(text=str(form["f"].file.seek(0, io.SEEK_END)))

    async with serving(app_of(handler, client_max_size=0)) as served:
        connection = served.connect()
        await connection.stream.send(head(FORM, len(field("f", b"", filename="f")) + count * len(piece) + 5))
        tracemalloc.start()
        try:
            await connection.stream.send(field("f", b"", filename="f")[:-2])
            for _ in range(count):
                await connection.stream.send(piece)
            await connection.stream.send(b"\r\n--B--")
            assert (await connection.answer()).body == str(count * len(piece)).encode()
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        finally:
            tracemalloc.stop()


BOMBS = {
    "empty parts": b"--B\r\n\r\n\r\n" * 100_000,
    "named parts": field("a", b"") * 20_000,
    "files": field("a", b"", filename="f") * 15_000,
    "header": b"--B\r\nA: " + b"x" * 1_000_000,
    "headers": b"--B\r\n" + b"A: b\r\n" * 150_000,
    "folded": b"--B\r\nA: b\r\n" + b" x\r\n" * 200_000,
    "no boundary": b"\r\n--" * 250_000,
    "almost the boundary": b"--B\r\n\r\n" + b"\r\n--b" * 200_000,
    "disposition": b'--B\r\nContent-Disposition: form-data; name="' + b'\\"' * 4000 + b"\r\n\r\n\r\n--B--",
    "parameters": b"--B\r\nContent-Disposition: form-data" + b"; a*0=b" * 1000 + b"\r\n\r\n\r\n--B--",
    "nested": b"".join(
        b"--%b\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (b"B" if n == 0 else b"%d" % n, n + 1)
        for n in range(10_000)
    ),
    "base64": field("a", b"=" * 900_000, "Content-Transfer-Encoding: base64", filename="f") + b"--Bx",
    "charset": field("_charset_", b"x" * 900_000),
    "charsets": field("_charset_", b"x") * 15_000,
    "punycode": field("a", b"a" * 900_000, "Content-Type: text/plain; charset=punycode") + b"--B--",
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_bombs(bomb):
    """A megabyte of malice: 4xx, bounded memory, and nothing left open (the leak guard looks)."""

    async def handler(request):
        await request.post()
        return Response(status=204)

    tracemalloc.start()
    try:
        reply = parse(await talk(handler, sent(BOMBS[bomb], FORM)))
        assert reply.status in ((204,) if bomb == "disposition" else (400, 413))
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()


# -- FormData ------------------------------------------------------------------------------------------------------


async def body_of(form):
    payload = form()
    return payload.content_type, await payload.as_bytes()


async def test_form_data_urlencoded():
    form = FormData({"a": "1", "b": "é"})
    form.add_field("c", "")
    form.add_fields(("d", "2"), MultiDict([("e", "3"), ("e", "4")]))
    assert not form.is_multipart
    assert await body_of(form) == (URLENCODED, b"a=1&b=%C3%A9&c=&d=2&e=3&e=4")
    assert await body_of(FormData([("a", "é")], charset="latin-1")) == (f"{URLENCODED}; charset=latin-1", b"a=%E9")
    assert await body_of(FormData()) == (URLENCODED, b"")


async def test_form_data_is_read_by_post():
    form = FormData(default_to_multipart=True)
    assert form.is_multipart
    form.add_field("a", "é")
    form.add_field("b", b"bytes", filename="ü b.txt", content_type="text/x")
    form.add_field("c", "json", content_type="application/json")
    form.add_fields(io.BytesIO(b"file"))
    payload = form()
    assert isinstance(payload, MultipartWriter)

    def look(form):
        b, unknown = form["b"], form["unknown"]
        return (
            form["a"],
            (b.filename, b.content_type, b.file.read()),
            form["c"],
            (unknown.filename, unknown.file.read()),
        )

    assert await form_of(await payload.as_bytes(), payload.content_type, look=look) == (
        "é", ("%C3%BC%20b.txt", "text/x", b"bytes"), bytearray(b"json"), ("unknown", b"file"),
    )  # fmt: skip
    plain = FormData(quote_fields=False)
    plain.add_field("b", b"x", filename='ü".txt')
    payload = plain()
    read = await form_of(await payload.as_bytes(), payload.content_type, look=lambda form: form["b"].filename)
    assert read == 'ü".txt'


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "a\r\nb", "value": ""}, ValueError),
        ({"name": "a", "value": "", "filename": "a\nb"}, ValueError),
        ({"name": "a", "value": "", "content_type": "a\rb"}, ValueError),
        ({"name": "a", "value": "", "filename": 1}, TypeError),
        ({"name": "a", "value": "", "content_type": 1}, TypeError),
    ],
)
async def test_form_data_refuses(arguments, error):
    with pytest.raises(error):
        FormData().add_field(**arguments)


async def test_form_data_of_unknown_things():
    with pytest.raises(TypeError, match="expected files, multidicts"):
        FormData(["a"])
    form = FormData(default_to_multipart=True)
    form.add_field("a", object())
    with pytest.raises(TypeError, match="cannot send field 'a'"):
        form()
    with pytest.warns(DeprecationWarning, match="content_transfer_encoding"):
        form.add_field("a", "", content_transfer_encoding="base64")


def test_errors_are_value_errors():
    assert issubclass(FormError, ValueError)
    assert issubclass(MultipartError, ValueError)
    assert {"POST", "PUT", "PATCH", "DELETE", "TRACE"} == Request.POST_METHODS
    assert MultipartReader.multipart_reader_cls is None
