"""Why handlers are cancelled: one word for each, in logs and reports, and for handlers that ask."""

from enum import StrEnum


class CancelReason(StrEnum):
    """Why a handler, or a task of its request, was cancelled; equal to its text."""

    #: The client left before it had its answer.
    CLIENT_GONE = "client gone"
    #: The handler's time was up: `handler_timeout`, or what the client said in the `deadline_header`.
    DEADLINE = "deadline"
    #: The server shut down, and could not wait any longer.
    SHUTDOWN = "shutdown"
    #: A task of the request failed, or the handler did beside which it ran.
    SIBLING_ERROR = "sibling error"
    #: A limit of the server: the connection lasted too long in what it did.
    LIMIT = "limit"
