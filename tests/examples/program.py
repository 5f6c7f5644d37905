"""A program in a process of its own, as a user runs it: it says where it listens, and Ctrl+C ends it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
PATIENCE = 20  # seconds before a program that does not end is killed
#: The options of the command line for each backend.
BACKEND_OPTIONS = {"asyncio": [], "uvloop": ["--uvloop"], "trio": ["--backend", "trio"]}


class Program:
    """``python ARGUMENTS`` in the root of the repository; warnings are errors."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", *arguments],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        #: Everything it has printed and logged so far.
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for(self, words: str) -> str:
        """Return the next line that has `words` in it; fail with everything that was said when there is none."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line
            if words in line:
                return line.rstrip("\n")
        raise AssertionError(f"the program ended without saying {words!r}:\n{self.said}")

    def port(self) -> int:
        """Wait until it listens, and return the port."""
        banner = self.wait_for("Running on ")
        found = re.search(r"http://[\w.]+:(\d+)", banner)
        assert found is not None, banner
        return int(found[1])

    def interrupt(self) -> None:
        """Press Ctrl+C."""
        self._process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        """Wait for its end, and return the exit code."""
        self.said += self._process.communicate(timeout=PATIENCE)[0]
        return self._process.returncode
