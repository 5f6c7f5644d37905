"""Forms to send: `FormData`, for clients and tests."""

import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from multidict import MultiDict, MultiDictProxy

from structweb._web.headers import CONTENT_LENGTH, CONTENT_TYPE
from structweb._web.multipart_writer import MultipartWriter
from structweb._web.payload import BytesPayload, Payload, get_payload

_BREAK: Final = re.compile(r"[\r\n\x00]")


def _checked(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, got {value!r}")
    if _BREAK.search(value):
        raise ValueError(f"{what} must not have line breaks, got {value!r}")
    return value


def _file_name(file: io.IOBase, default: str) -> str:
    name = getattr(file, "name", None)  # a descriptor has a number, and some temporary files "<fdopen>"
    return Path(name).name if isinstance(name, str) and name and name[0] != "<" and name[-1] != ">" else default


class FormData:
    """The fields of a form, and its encoding: call it for the payload to send.

    It is an urlencoded form unless one of its fields is a file, has a content type or a file name, or
    `default_to_multipart` asks for multipart/form-data.  `fields` are what `add_fields` takes, or a mapping.
    """

    def __init__(
        self,
        fields: Any = (),  # Any: see add_fields
        quote_fields: bool = True,
        charset: str | None = None,
        *,
        default_to_multipart: bool = False,
    ) -> None:
        self._fields: list[tuple[dict[str, str], dict[str, str], Any]] = []  # Any: values of many types
        self._is_multipart = default_to_multipart
        self._quote_fields = quote_fields
        self._charset = charset
        if isinstance(fields, Mapping) and not isinstance(fields, MultiDict | MultiDictProxy):
            fields = list(fields.items())
        elif not isinstance(fields, list | tuple):
            fields = (fields,)
        self.add_fields(*fields)

    @property
    def is_multipart(self) -> bool:
        """Whether it is sent as multipart/form-data."""
        return self._is_multipart

    def add_field(
        self,
        name: str,
        value: Any,  # Any: text, bytes, a file, or what has a payload type
        *,
        content_type: str | None = None,
        filename: str | None = None,
        content_transfer_encoding: str | None = None,
    ) -> None:
        """Add a field; a file if it has a file name.

        Raises ValueError for line breaks in the name, the file name or the content type.
        """
        parameters = {"name": _checked("name", name)}
        headers: dict[str, str] = {}
        is_file = isinstance(value, io.IOBase)
        if filename is None:
            if is_file:
                filename = _file_name(value, name)
            elif isinstance(value, bytes | bytearray | memoryview):
                filename = name  # as aiohttp has it: bytes are a file
        if filename is not None:
            parameters["filename"] = _checked("filename", filename)
        if content_type is not None:
            headers[CONTENT_TYPE] = _checked("content_type", content_type)
        if content_transfer_encoding is not None:
            message = "content_transfer_encoding is ignored: RFC 7578 has no use for it in forms"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        if is_file or filename is not None or headers or content_transfer_encoding is not None:
            self._is_multipart = True
        self._fields.append((parameters, headers, value))

    def add_fields(self, *fields: Any) -> None:  # Any: see below
        """Add files, pairs of name and value, and multidicts of those.  Raises TypeError for anything else."""
        for field in fields:
            if isinstance(field, io.IOBase):
                self.add_field(_file_name(field, "unknown"), field)
            elif isinstance(field, MultiDict | MultiDictProxy):
                self.add_fields(*field.items())
            elif isinstance(field, list | tuple) and len(field) == 2:
                self.add_field(*field)
            else:
                raise TypeError(
                    f"expected files, multidicts and (name, value) pairs, got {field!r}: add_field() takes everything else"
                )

    def __call__(self) -> Payload:
        """Return what is to be sent: a `MultipartWriter`, or the urlencoded form."""
        return self._multipart() if self._is_multipart else self._urlencoded()

    def _urlencoded(self) -> BytesPayload:
        charset = self._charset or "utf-8"
        pairs = [(parameters["name"], value) for parameters, _, value in self._fields]
        content_type = "application/x-www-form-urlencoded"
        if charset != "utf-8":
            content_type += f"; charset={charset}"
        return BytesPayload(urlencode(pairs, doseq=True, encoding=charset).encode(), content_type=content_type)

    def _multipart(self) -> MultipartWriter:
        writer = MultipartWriter("form-data")
        for parameters, headers, value in self._fields:
            content_type = headers.get(CONTENT_TYPE)
            try:
                if content_type is None:
                    part = get_payload(value, headers=headers, encoding=self._charset)
                else:
                    part = get_payload(value, headers=headers, encoding=self._charset, content_type=content_type)
            except LookupError as exc:
                raise TypeError(f"cannot send field {parameters['name']!r}: {exc}") from exc
            part.set_content_disposition("form-data", self._quote_fields, **parameters)
            part.headers.popall(CONTENT_LENGTH, None)
            writer.append_payload(part)
        return writer
