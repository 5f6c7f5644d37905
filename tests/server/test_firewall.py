"""What leaves a connection: records for failures, and a way through for what concerns the program."""

import anyio
import pytest

from structweb._server.firewall import contain, unwrapped

pytestmark = pytest.mark.anyio

WHERE = "peer ('192.0.2.1', 50000)"


def raised(error: BaseException) -> BaseException:
    """Return `error` with a traceback, as one that was caught."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - any will do
        return caught


def test_the_one_exception_inside_groups():
    error = ValueError("inside")
    assert unwrapped(error) is error
    assert unwrapped(BaseExceptionGroup("", [ExceptionGroup("", [error])])) is error
    several = ExceptionGroup("", [error, error])
    assert unwrapped(ExceptionGroup("", [several])) is several


def test_a_failure_becomes_one_record(caplog):
    """It tells who was connected, and shows the exception itself rather than groups around it."""
    error = raised(ExceptionGroup("", [ExceptionGroup("", [raised(ValueError("broken"))])]))
    assert contain(error, WHERE) is None
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("structweb.server", "ERROR")
    assert WHERE in record.getMessage()
    assert "ValueError('broken')" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_several_failures_are_one_record(caplog):
    error = raised(ExceptionGroup("two", [raised(ValueError("a")), raised(KeyError("b"))]))
    assert contain(error, WHERE) is None
    (record,) = caplog.records
    assert isinstance(record.exc_info[1], ExceptionGroup)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_concerns_the_program_passes(caplog, kind):
    error = kind()
    assert contain(raised(BaseExceptionGroup("", [raised(error)])), WHERE) is error
    assert not caplog.records


class Foreign(BaseException):
    """As asyncio's CancelledError is on trio."""


async def test_what_is_no_exception_and_no_cancellation_is_a_failure(caplog):
    """X-03: only KeyboardInterrupt and SystemExit may take the server down."""
    assert contain(raised(Foreign()), WHERE) is None
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert isinstance(record.exc_info[1], Foreign)


async def test_a_mixture_is_sorted(caplog):
    """A nursery may raise everything at once: failures are logged, cancellations dropped, the rest passes."""
    interrupt = KeyboardInterrupt()
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            error = BaseExceptionGroup("", [exc, ValueError("broken"), BaseExceptionGroup("", [interrupt])])
            assert contain(error, WHERE) is interrupt
    (record,) = caplog.records
    assert isinstance(record.exc_info[1], ValueError)


async def test_a_cancellation_ends_here_without_a_record(caplog):
    caplog.set_level("DEBUG")
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            fatal = contain(exc, WHERE)
    assert fatal is None
    assert not [record for record in caplog.records if record.name.startswith("structweb")]


async def test_a_stray_cancellation_is_a_debug_record(caplog):
    """One that no scope asked for: on asyncio, anybody can raise CancelledError."""
    caplog.set_level("DEBUG")
    stray: BaseException | None = None
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            stray = exc
    assert stray is not None
    assert contain(stray, WHERE) is None
    (record,) = [record for record in caplog.records if record.name == "structweb.server"]
    assert record.levelname == "DEBUG"
    assert WHERE in record.getMessage()
