"""The answer to a probe for readiness."""

from structweb._web.request import Request
from structweb._web.response import Response


async def readiness(request: Request) -> Response:
    """Answer a probe for readiness: 200, or 503 once the server was told to stop.

    With `drain_delay`, a load balancer that asks has that many seconds to send its requests elsewhere.
    """
    if request.shutting_down:
        return Response(status=503, text="shutting down", headers={"Cache-Control": "no-store"})
    return Response(text="ready", headers={"Cache-Control": "no-store"})
