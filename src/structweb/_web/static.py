"""Folders of files, served below a prefix: `StaticResource`."""

import hashlib
import os
import stat
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, ClassVar, Final, Unpack

from anyio import to_thread
from yarl import URL

from structweb._web.errors import HTTPForbidden, HTTPNotFound
from structweb._web.files import ACCEPT_ENCODING, CHUNK_SIZE, FileResponse
from structweb._web.matching import UrlMappingMatchInfo
from structweb._web.policy import PolicyOptions
from structweb._web.representation import KnownFiles, Representation, error_status, look_at, open_file
from structweb._web.resources import Resolution
from structweb._web.response import Response
from structweb._web.routes import AbstractRoute, AnyHandler, ExpectHandler, Info, ResourceRoute
from structweb._web.streaming import StreamResponse
from structweb._web.subapps import PrefixResource
from structweb._wire.accept import takes_coding
from structweb._wire.urlpath import decode_path, decode_value, quote_path

if TYPE_CHECKING:
    from structweb._web.request import Request

_PAGE: Final = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
<ul>
{items}
</ul>
</body>
</html>
"""


class StaticOptions(PolicyOptions, total=False):
    """What may be said of a folder besides its prefix and path."""

    #: The name of the resource.
    name: str | None
    #: What answers an Expect field; by default ``100 Continue`` is sent.
    expect_handler: ExpectHandler | None
    #: Bytes of a file in memory at a time, where the kernel cannot send it by itself.
    chunk_size: int
    #: Whether a folder is answered with a page of its files, not with 403.
    show_index: bool
    #: Whether links may lead out of the folder.
    follow_symlinks: bool
    #: Whether `StaticResource.url_for` adds a hash of the content.
    append_version: bool


class StaticResource(PrefixResource):
    """The files of a folder, for GET and HEAD; nothing outside of it, wherever dots, slashes and links point.

    Raises ValueError if there is no such folder.
    """

    #: The query variable that a hash of the content is in.
    VERSION_KEY: ClassVar[str] = "v"

    def __init__(
        self,
        prefix: str,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        expect_handler: ExpectHandler | None = None,
        chunk_size: int = CHUNK_SIZE,
        show_index: bool = False,
        follow_symlinks: bool = False,
        append_version: bool = False,
        **options: Unpack[PolicyOptions],
    ) -> None:
        super().__init__(prefix, name=name)
        self._safe_prefix = decode_path(self._prefix)
        try:
            folder = os.path.realpath(os.path.expanduser(os.fsdecode(directory)), strict=True)  # noqa: PTH111 -- as below
        except OSError as exc:
            raise ValueError(f"a static folder must exist, got {directory!r} for {prefix!r}: {exc}") from exc
        if not os.path.isdir(folder):  # noqa: PTH112 -- Path would take a second object for each step
            raise ValueError(f"a static folder must be a folder, got {directory!r} for {prefix!r}")
        self._directory = folder
        self._chunk_size = chunk_size
        self._show_index = show_index
        self._follow_symlinks = follow_symlinks
        self._append_version = append_version
        self._expect_handler = expect_handler
        self._options = options
        self._files = KnownFiles()
        self._versions: dict[str, tuple[tuple[int, ...], str]] = {}
        self._routes = {
            method: ResourceRoute(method, self._handle, self, expect_handler=expect_handler, **options)
            for method in ("GET", "HEAD")
        }

    def __repr__(self) -> str:
        name = "" if self.name is None else f"{self.name!r} "
        return f"<StaticResource {name}{self._prefix} -> {self._directory!r}>"

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[AbstractRoute]:
        return iter(self._routes.values())

    def add_prefix(self, prefix: str) -> None:
        """Put another prefix before this one."""
        super().add_prefix(prefix)
        self._safe_prefix = decode_path(self._prefix)

    def get_info(self) -> Info:
        """Return the ``directory``, the ``prefix``, and the ``routes`` by method."""
        return {"directory": self._directory, "prefix": self._prefix, "routes": self._routes}

    def set_options_route(self, handler: AnyHandler) -> None:
        """Add a handler for OPTIONS.  Raises RuntimeError if there is one already."""
        if "OPTIONS" in self._routes:
            raise RuntimeError(f"the OPTIONS route of {self!r} was set already")
        self._routes["OPTIONS"] = ResourceRoute(
            "OPTIONS", handler, self, expect_handler=self._expect_handler, **self._options
        )

    # -- URLs ------------------------------------------------------------------------------------------------------

    def url_for(  # type: ignore[override] # the one part has a name
        self, *, filename: str | os.PathLike[str], append_version: bool | None = None
    ) -> URL:
        """Build the URL of a file; with its version, a hash of its content, if that is asked for here or for all.

        A file that is missing, or not one to be served, has no version.  The hash is worked out once for each content.
        """
        name = os.fsdecode(filename).lstrip("/")
        url = URL.build(path=f"{self._prefix}/{quote_path(name)}", encoded=True)
        wanted = self._append_version if append_version is None else append_version
        version = self._version(name) if wanted else None
        return url if version is None else url.with_query({self.VERSION_KEY: version})

    def _version(self, filename: str) -> str | None:
        try:
            path = self._locate(filename)
            status = os.stat(path)  # noqa: PTH116 -- a plain str does
            if not stat.S_ISREG(status.st_mode):
                return None
            seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known = self._versions.get(path)
            if known is None or known[0] != seen:
                with open(path, "rb") as file:  # noqa: PTH123 -- the same
                    digest = hashlib.file_digest(file, "sha256").digest()
                known = self._versions[path] = seen, urlsafe_b64encode(digest).decode()
        except (OSError, ValueError, HTTPNotFound):
            return None
        return known[1]

    # -- requests --------------------------------------------------------------------------------------------------

    def match(self, method: str, path: str) -> UrlMappingMatchInfo | None:
        """Return the match info for a path in its safe spelling; None for what `resolve` has to look at closely."""
        prefix = self._safe_prefix
        route = self._routes.get(method)
        if route is None or not path.startswith(f"{prefix}/") or "/." in path or "//" in path:
            return None
        return UrlMappingMatchInfo((("filename", decode_value(path[len(prefix) + 1 :])),), route)

    async def resolve(self, request: "Request") -> Resolution:
        """Return the match info for a path that is below the prefix, also when its dots have been followed."""
        path, prefix = decode_path(request.rel_url.raw_path), self._safe_prefix
        real = os.path.normpath(path)  # noqa: ASYNC240 -- of the URL: no file is looked at
        if path != prefix and not path.startswith(f"{prefix}/"):
            return None, set()
        if real != prefix and not real.startswith(f"{prefix}/"):
            return None, set()
        route = self._routes.get(request.method)
        if route is None:
            return None, set(self._routes)
        filename = decode_value(path[len(prefix) + 1 :])
        return UrlMappingMatchInfo((("filename", filename),), route), set(self._routes)

    async def _handle(self, request: "Request") -> StreamResponse:
        filename = request.match_info["filename"]
        fields = request.headers
        accepted = ", ".join(fields.getall(ACCEPT_ENCODING)) if ACCEPT_ENCODING in fields else ""
        key = (filename, takes_coding(accepted, "br"), takes_coding(accepted, "gzip"))
        found = self._files.get(key)
        warm = found is not None
        if found is None:
            answer = await to_thread.run_sync(self._find, filename, accepted)
            if isinstance(answer, Response):
                return answer
            found = answer
            self._files.put(key, found)
        response = FileResponse(found.path, self._chunk_size)
        if found.content is not None or request.method == "HEAD":
            response._found = found
        response._warm = warm
        response._follow = False
        return response

    def _find(self, filename: str, accepted: str) -> Representation | Response:
        """Return what is known of a file, all of it if it is small, or a page of a folder.  Blocks: for worker threads."""
        try:
            # First of all: the links on the way may change, too.
            way = os.path.join(self._directory, filename)  # noqa: PTH118 -- Path would drop a last slash
            look = way, True, look_at(way, follow=True)
            path = self._locate(filename)
            status = os.stat(path)  # noqa: PTH116 -- a plain str does
            if stat.S_ISDIR(status.st_mode) and self._show_index:
                return Response(text=self._page(path, filename), content_type="text/html")
            if not stat.S_ISREG(status.st_mode):
                raise HTTPForbidden
            if filename.endswith(("/", "/.")):
                raise HTTPNotFound
            found = open_file(path, accepted, follow=False, head_only=True)
            found.looks += () if way == path else (look,)
            return found
        except (OSError, ValueError) as exc:
            match error_status(exc):
                case 403:
                    raise HTTPForbidden from exc
                case 404:
                    raise HTTPNotFound from exc
                case _:
                    raise

    def _locate(self, filename: str) -> str:
        """Return the path of a file without any links.  Raises HTTPNotFound for what is not in the folder."""
        folder = self._directory
        # An absolute name would replace the folder; two slashes may be a share in the network.
        if os.path.isabs(filename) or "\0" in filename:  # noqa: PTH117 -- a plain str does
            raise HTTPNotFound
        path = os.path.join(folder, filename)  # noqa: PTH118 -- Path would drop a last slash
        if self._follow_symlinks:
            # The URL must not lead out, links may.
            path = os.path.normpath(path)
            self._check_inside(path)
            return os.path.realpath(path, strict=True)
        # Strictly: in front of a loop of links, the rest of the way would be left as it is, links included.
        path = os.path.realpath(path, strict=True)
        self._check_inside(path)
        return path

    def _check_inside(self, path: str) -> None:
        folder = self._directory
        if path != folder and not path.startswith(folder if folder == os.sep else folder + os.sep):
            raise HTTPNotFound

    def _page(self, folder: str, filename: str) -> str:
        """Return a page with links to the files of a folder, which the URL calls `filename`."""
        below = _printable(os.path.normpath(filename))
        title = "Index of /" if below == "." else f"Index of /{below}"
        base = self._prefix if below == "." else f"{self._prefix}/{quote_path(below)}"
        with os.scandir(folder) as entries:
            names = sorted(_printable(entry.name) + "/" * entry.is_dir() for entry in entries)
        items = [f'<li><a href="{escape(f"{base}/{quote_path(name)}")}">{escape(name)}</a></li>' for name in names]
        return _PAGE.format(title=escape(title), items="\n".join(items))


def _printable(name: str) -> str:
    """Return a file name as text: bytes that are no UTF-8 cannot be in a page."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
