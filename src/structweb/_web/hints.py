"""What an error adds to itself for somebody whose code was written for asyncio.

On trio, the functions of asyncio find no loop, and their errors say only that.  The way out is a note on the error: it
stands in the log, in the traceback of a start-up that failed, and in the page of an error with ``debug=True``.
"""

from types import TracebackType
from typing import Final

from structweb._server.native import on_asyncio

_ON_TRIO: Final = (
    "This ran on trio, where nothing of asyncio works: use anyio instead (anyio.sleep, anyio.create_task_group, "
    'anyio.Event, anyio.fail_after, ...), or run on backend="asyncio". '
    "The page 'Move from aiohttp' of structweb's documentation has what to write instead."
)
# What `asyncio.get_running_loop` says, in C; and what trio says of awaiting a future, or asyncio.sleep(0).
_NO_LOOP: Final = "no running event loop"
_NOT_FOR_TRIO: Final = "trio.run received unrecognized yield message"


def add_hint(error: BaseException) -> None:
    """Add a note to an error that comes from using asyncio on trio; leave every other error as it is.

    To be called where it was raised, in the event loop: code of asyncio that strays into a thread says the same.
    """
    if _is_about_asyncio(error) and _ON_TRIO not in getattr(error, "__notes__", ()) and not on_asyncio():
        error.add_note(_ON_TRIO)


def _is_about_asyncio(error: BaseException) -> bool:
    if isinstance(error, RuntimeError) and str(error) == _NO_LOOP:
        return True
    if isinstance(error, TypeError) and str(error).startswith(_NOT_FOR_TRIO):
        return True
    if not isinstance(error, AttributeError | RuntimeError):
        return False
    # Its classes say, without a loop: 'NoneType' object has no attribute 'create_future'.
    return _raised_in(error.__traceback__).partition(".")[0] == "asyncio"


def _raised_in(traceback: TracebackType | None) -> str:
    """Return the name of the module whose code raised an error."""
    module = ""
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        traceback = traceback.tb_next
    return module
