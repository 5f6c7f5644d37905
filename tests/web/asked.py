"""A request as routers see one: a method, a target, fields.  For tests that need no server."""

from dataclasses import dataclass, field

from multidict import CIMultiDict
from yarl import URL

from structweb._wire.events import HttpVersion, HttpVersion11


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    method: str
    target: str
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    version: HttpVersion = HttpVersion11

    @property
    def rel_url(self) -> URL:
        """The target, untouched."""
        path, _, query = self.target.partition("?")
        return URL.build(path=path, query_string=query, encoded=True)


async def answer(router, method, target, **headers):
    """Return (status, what the handler returned, its values) as a router answers; both of its ways have to agree."""
    asked = Asked(method, target, CIMultiDict(headers))
    found = await router.resolve(asked)
    if (at_once := router.match(method, target.partition("?")[0])) is not None:
        assert (at_once.route, dict(at_once), at_once.apps) == (found.route, dict(found), found.apps)
    if found.http_exception is not None:
        return found.http_exception.status, dict(found.http_exception.headers).get("Allow"), found
    return 200, await found.handler(asked), found
