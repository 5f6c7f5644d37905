"""What an error adds to itself for somebody whose code was written for asyncio and aiohttp.

On trio, the functions of asyncio find no loop, and their errors say only that.  A program that is half moved over gives
one side's objects to the other, and both call theirs Response.  The way out is a note on the error: it stands in the log,
in the traceback of a start-up that failed, and in the page of an error with ``debug=True``.
"""

from types import FunctionType, TracebackType
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

_OF_AIOHTTP: Final = "aiohttp's, not structweb's: let that module import web from structweb, too"
# Its client, whose errors are handlers' own, is in other modules.
_AIOHTTP_WEB: Final = "aiohttp.web"


def add_hint(error: BaseException) -> None:
    """Add a note to an error that comes from using asyncio on trio, or aiohttp.web; leave every other error as it is.

    To be called where it was raised, in the event loop: code of asyncio that strays into a thread says the same.
    """
    if _is_of_aiohttp(error) or _raised_in(error.__traceback__).startswith(_AIOHTTP_WEB):
        _note(error, f"This is {_OF_AIOHTTP}.")
    elif _is_about_asyncio(error) and not on_asyncio():
        _note(error, _ON_TRIO)


def whose(thing: object) -> str:
    """Return what to say behind the repr of a thing of the wrong type: nothing, unless it is one of aiohttp.web's."""
    return f" ({_OF_AIOHTTP})" if _is_of_aiohttp(thing) else ""


def whence(answer: object) -> str:
    """Return what to say behind the repr of an answer that is no response, if that is known to happen; else nothing."""
    if isinstance(answer, FunctionType):
        return " (did a middleware of aiohttp 2 make it? Now it is: async def middleware(request, handler))"
    return whose(answer)


def _is_of_aiohttp(thing: object) -> bool:
    return any(str(cls.__module__).startswith(_AIOHTTP_WEB) for cls in type(thing).__mro__)


def _note(error: BaseException, note: str) -> None:
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


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
    """Return the name of the module whose code raised an error, or asked something of structweb that did."""
    module = ""
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__"))
        if not name.startswith("structweb."):
            module = name
        traceback = traceback.tb_next
    return module
