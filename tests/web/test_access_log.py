"""The access log's formats, atoms and escapes; what lands in it from a running server is in test_serve."""

import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from structweb._server.access_log import AbstractAccessLogger, AccessLogger, LoggedRequest, LoggedResponse, escape
from structweb._wire.events import HttpVersion, HttpVersion11


@dataclass(frozen=True)
class Asked:
    """A request, as the log sees one."""

    method: str = "GET"
    raw_path: str = "/path?q=1"
    version: HttpVersion = HttpVersion11
    remote: str | None = "127.0.0.1"
    headers: Mapping[str, str] = field(default_factory=CIMultiDict)


@dataclass(frozen=True)
class Answered:
    """A response, as the log sees one."""

    status: int = 200
    body_length: int = 42
    headers: Mapping[str, str] = field(default_factory=CIMultiDict)


def logged(
    caplog: pytest.LogCaptureFixture,
    log_format: str,
    request: LoggedRequest | None = None,
    response: LoggedResponse | None = None,
    time: float = 0.25,
) -> logging.LogRecord:
    caplog.set_level(logging.INFO, logger="structweb.access")
    logger = AccessLogger(logging.getLogger("structweb.access"), log_format)
    logger.log(request or Asked(), response or Answered(), time)
    return caplog.records[-1]


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        ("%a", "127.0.0.1"),
        ("%P", "<PID>"),
        ("%r", "GET /path?q=1 HTTP/1.1"),
        ("%s %b", "200 42"),
        ("%T %Tf %D", "0 0.250000 250000"),
        ("%%", "%"),
        ("%%P 100%% %%", "%P 100% %"),
        ("no atom at all", "no atom at all"),
        ("%x 100% {Host}i %{Host}x %{}i %", "%x 100% {Host}i %{Host}x %{}i %"),
        ("%{Host}i|%{host}i|%{X-None}i", "example.org|example.org|-"),
        ("%{Content-Type}o|%{X-None}o", "text/plain|-"),
        ("%{STRUCTWEB_NONE}e", "-"),
        ("", ""),
    ],
)
def test_atoms(caplog: pytest.LogCaptureFixture, log_format: str, line: str):
    request = Asked(headers=CIMultiDict(Host="example.org"))
    response = Answered(headers=CIMultiDict({"Content-Type": "text/plain"}))
    assert logged(caplog, log_format, request, response).getMessage() == line.replace("PID", str(os.getpid()))


def test_environment_atom(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STRUCTWEB_TEST", "blue")
    assert logged(caplog, "%{STRUCTWEB_TEST}e").getMessage() == "blue"


def test_unknown_peer_is_a_dash(caplog: pytest.LogCaptureFixture):
    assert logged(caplog, "%a", Asked(remote=None)).getMessage() == "-"


def test_default_format(caplog: pytest.LogCaptureFixture):
    request = Asked(headers=CIMultiDict({"Referer": "http://there/", "User-Agent": "curl/8"}))
    record = logged(caplog, AccessLogger.LOG_FORMAT, request)
    assert record.levelno == logging.INFO
    assert re.fullmatch(
        r'127\.0\.0\.1 \[.+\] "GET /path\?q=1 HTTP/1\.1" 200 42 "http://there/" "curl/8"', record.getMessage()
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no tzset")
@pytest.mark.parametrize(
    ("zone", "offset", "hours"), [("UTC0", 0, 1), ("IST-5:30", 330, 2), ("NST3:30", -210, 3), ("CST-8", 480, 30)]
)
def test_time_is_the_start_of_the_request_in_local_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, zone: str, offset: int, hours: int
):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        line = logged(caplog, "%t", time=hours * 3600.0).getMessage()
    finally:
        monkeypatch.undo()
        time.tzset()
    started = datetime.strptime(line, "[%d/%b/%Y:%H:%M:%S %z]")
    assert started.utcoffset() == timedelta(minutes=offset)
    assert abs(datetime.now(UTC) - timedelta(hours=hours) - started) < timedelta(seconds=3)


def test_extra_has_the_values_by_name(caplog: pytest.LogCaptureFixture):
    request = Asked(headers=CIMultiDict({"Referer": "r", "User-Agent": "ua"}))
    record = logged(caplog, '%a %r %s %b %D "%{Referer}i" "%{User-Agent}i" %{Server}o %{NONE_SUCH}e', request)
    assert vars(record) | {
        "remote_address": "127.0.0.1",
        "first_request_line": "GET /path?q=1 HTTP/1.1",
        "response_status": 200,
        "response_size": 42,
        "request_time_micro": "250000",
        "request_header": {"Referer": "r", "User-Agent": "ua"},
        "response_header": {"Server": "-"},
        "environment": {"NONE_SUCH": "-"},
    } == vars(record)


def test_a_peer_cannot_write_a_line_of_its_own(caplog: pytest.LogCaptureFixture):
    """Control characters, line separators, quotes, and bytes that are no UTF-8 come out as escapes."""
    forged = 'x" 200 1\r\n10.0.0.1 - "GET /admin\x1b[2J\x7f\x85\u2028\udcff\\'
    request = Asked(headers=CIMultiDict({"User-Agent": forged}))
    line = logged(caplog, '"%{User-Agent}i"', request).getMessage()
    assert line == r'"x\" 200 1\r\n10.0.0.1 - \"GET /admin\x1b[2J\x7f\x85\u2028\xff\\"'


@given(st.text(st.characters(), max_size=40))
def test_escaped_values_are_one_printable_line_and_unambiguous(value: str):
    escaped = escape(value)
    assert escaped.isprintable()
    assert '"' not in re.sub(r'\\["\\]', "", escaped)
    surrogates = {ord(character) for character in value if 0xDC80 <= ord(character) < 0xDD00}
    if not surrogates:
        assert escaped.replace('\\"', '"').encode("latin-1", "backslashreplace").decode("unicode_escape") == value


def test_a_failure_to_log_is_logged_and_no_more(caplog: pytest.LogCaptureFixture):
    class Broken(Asked):
        @property
        def headers(self) -> Mapping[str, str]:  # type: ignore[override]  # fails on purpose
            raise ValueError("no headers today")

    request = Broken.__new__(Broken)
    record = logged(caplog, "%{Host}i", request)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "no headers today"
    assert "%{Host}i" in record.getMessage()


@pytest.mark.parametrize(("level", "enabled"), [(logging.DEBUG, True), (logging.INFO, True), (logging.WARNING, False)])
def test_enabled_follows_the_level(caplog: pytest.LogCaptureFixture, level: int, enabled: bool):
    caplog.set_level(level, logger="structweb.access")
    assert AccessLogger(logging.getLogger("structweb.access")).enabled is enabled


def test_own_access_logger():
    class Mine(AbstractAccessLogger):
        def log(self, request: LoggedRequest, response: LoggedResponse, time: float) -> None:
            self.logger.info("%s", response.status)

    logger = logging.getLogger("mine")
    mine = Mine(logger, "format")
    assert (mine.logger, mine.log_format, mine.enabled) == (logger, "format", True)
    with pytest.raises(TypeError):
        AbstractAccessLogger(logger, "format")  # type: ignore[abstract]  # is what it tests
