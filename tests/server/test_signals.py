"""Signals of a real process: the first is polite, the second is not, the third is the system's."""

import signal
import subprocess
import sys
import threading

import anyio
import pytest

from structweb._server.signals import open_signals

PROGRAM = """
import sys, anyio
from structweb._server.signals import open_signals

def say(word):
    print(word, flush=True)

async def main():
    async with anyio.create_task_group() as group:
        await group.start(open_signals, lambda: say("graceful"), lambda: say("at once"))
        say("ready")
        await anyio.sleep_forever()

anyio.run(main, backend=sys.argv[1], backend_options={"use_uvloop": True} if sys.argv[2:] else {})
"""

BACKENDS = [["asyncio"], ["asyncio", "uvloop"], ["trio"]]


@pytest.fixture(params=BACKENDS, ids="-".join)
def program(request):
    """A process that has taken the signals over."""
    if "uvloop" in request.param:
        pytest.importorskip("uvloop")
    command = [sys.executable, "-c", PROGRAM, *request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
def test_first_graceful_then_at_once_then_the_default(program, numbers):
    program.send_signal(numbers[0])
    assert program.stdout.readline() == "graceful\n"
    program.send_signal(numbers[1])
    assert program.stdout.readline() == "at once\n"
    # The callback runs a moment before the signals are given back, so one may be lost in between.
    while program.poll() is None:
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    assert program.returncode == -signal.SIGTERM
    assert program.stdout.read() == ""


@pytest.mark.anyio
async def test_cancelling_gives_the_signals_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with anyio.create_task_group() as group:
        await group.start(open_signals, list, list)
        assert signal.getsignal(signal.SIGTERM) != before[1]
        group.cancel_scope.cancel()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_outside_the_main_thread_signals_are_left_alone(backend, caplog):
    caplog.set_level("DEBUG", "structweb.server")
    before = signal.getsignal(signal.SIGTERM)
    during = []

    async def main():
        async with anyio.create_task_group() as group:
            await group.start(open_signals, list, list)
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=lambda: anyio.run(main, backend=backend))
    thread.start()
    thread.join()
    assert during == [before]
    assert "only the main thread" in caplog.text


@pytest.mark.anyio
async def test_a_loop_without_signals_is_no_error(monkeypatch, caplog):
    """As on Windows, where asyncio's loops cannot receive them."""
    caplog.set_level("DEBUG", "structweb.server")

    def unable(*numbers):
        raise NotImplementedError

    monkeypatch.setattr(anyio, "open_signal_receiver", unable)
    with anyio.fail_after(1):
        await open_signals(list, list)
    assert "cannot receive" in caplog.text
