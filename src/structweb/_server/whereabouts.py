"""Where a suspended coroutine waits, for reports: the line of the user's own code."""

import gc
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import AsyncGeneratorType, FrameType
from typing import Final

# What a reader of a report did not write: the interpreter's library, installed packages, structweb.
_PATHS: Final = sysconfig.get_paths()
_FOREIGN: Final = tuple(
    path.rstrip(os.sep) + os.sep
    for path in (
        _PATHS["stdlib"],
        _PATHS["platstdlib"],
        _PATHS["purelib"],
        _PATHS["platlib"],
        str(Path(__file__).parent.parent),
    )
)
# The ways from an awaitable to the frame that runs it, and to what it awaits in turn.
_KINDS: Final = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


def await_point(awaitable: object) -> str | None:
    """Return ``file:line in function`` of the innermost await of a suspended coroutine that is the user's own code.

    Where nothing is the user's (a handler of structweb itself), the innermost await at all; None for what does not
    wait, or does not tell (a Future).
    """
    innermost: FrameType | None = None
    mine: FrameType | None = None
    for frame in _frames(awaitable):
        innermost = frame
        if not frame.f_code.co_filename.startswith(_FOREIGN):
            mine = frame
    found = mine or innermost
    return None if found is None else f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_qualname}"


def _frames(awaitable: object) -> Iterator[FrameType]:
    """Yield the frames between an awaitable and what it waits for in the end, the outermost first."""
    while awaitable is not None:
        for frame_name, next_name in _KINDS:
            frame = getattr(awaitable, frame_name, None)
            if frame is not None:
                yield frame
                awaitable = getattr(awaitable, next_name) or _stepped_by(frame)
                break
        else:
            # The step of an asynchronous generator does not tell whose step it is, but the collector knows.
            awaitable = next((one for one in gc.get_referents(awaitable) if isinstance(one, AsyncGeneratorType)), None)


def _stepped_by(frame: FrameType) -> object:
    """Return the coroutine that one of our own generators steps by hand, which it calls ``stepped``."""
    return frame.f_locals.get("stepped") if frame.f_code.co_filename.startswith(_FOREIGN[-1]) else None
