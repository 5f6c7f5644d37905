"""Keeping what belongs to a request beyond the end of its exchange, for work that outlives the connection."""

from collections.abc import Callable

from structweb._web.request import BaseRequest


def keep(request: BaseRequest) -> Callable[[], None]:
    """Keep what a handler needs of its request, also when the exchange ends before it; call what is returned to let go.

    That is the files that the request brought, and that `request.app` is the handler's application.
    """
    uploads = request._shared_uploads()
    uploads.keep()
    return uploads.let_go
