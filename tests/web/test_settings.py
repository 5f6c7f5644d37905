"""Keyword arguments about connections: aiohttp's names and defaults, checked, into frozen values."""

import logging
from typing import Any

import pytest

from structweb._server.access_log import AbstractAccessLogger, AccessLogger, LoggedRequest, LoggedResponse
from structweb._server.config import SERVER_SOFTWARE
from structweb._web.settings import ServerOptions, settings_from


def test_defaults_are_those_of_a_runner():
    settings = settings_from({}, "AppRunner()")
    config = settings.connections
    assert config.timeouts.keepalive == 3630.0
    assert config.timeouts.linger == 10.0
    assert config.timeouts.min_rate == 240.0
    assert settings_from({"min_rate": None}, "").connections.timeouts.min_rate is None
    assert (config.limits.request_line, config.limits.field, config.limits.fields) == (8190, 8190, 128)
    assert (config.disconnect, config.half_close, config.express, config.tcp_keepalive) == (
        "cancel", "gone", True, True,
    )  # fmt: skip
    assert config.server_header == SERVER_SOFTWARE
    assert (settings.debug, settings.auto_decompress) == (False, True)
    assert isinstance(settings.access_logger, AccessLogger)
    assert settings.access_logger.logger is logging.getLogger("structweb.access")


def test_every_option_reaches_its_place():
    settings = settings_from(
        {
            "keepalive_timeout": 1,
            "body_timeout": 2,
            "send_timeout": None,
            "min_rate": 9,
            "lingering_time": 3,
            "tls_handshake_timeout": 4,
            "max_line_size": 5,
            "max_field_size": 6,
            "max_headers": 7,
            "read_bufsize": 8,
            "tcp_keepalive": False,
            "server_header": None,
            "disconnect": "finish",
            "half_close": "serve",
            "express": False,
            "auto_decompress": False,
            "debug": True,
            "logger": logging.getLogger("mine"),
        },
        "AppRunner()",
    )
    config = settings.connections
    timeouts, limits = config.timeouts, config.limits
    assert (timeouts.keepalive, timeouts.body, timeouts.send, timeouts.linger) == (1, 2, None, 3)
    assert (timeouts.tls_handshake, timeouts.min_rate) == (4, 9)
    assert (limits.request_line, limits.field, limits.fields, limits.read_ahead) == (5, 6, 7, 8)
    assert (config.tcp_keepalive, config.server_header, config.express) == (False, None, False)
    assert (config.disconnect, config.half_close) == ("finish", "serve")
    assert (settings.auto_decompress, settings.debug, settings.logger.name) == (False, True, "mine")


@pytest.mark.parametrize(
    ("options", "disconnect"),
    [
        ({"handler_cancellation": True}, "cancel"),
        ({"handler_cancellation": False}, "finish"),
        ({"handler_cancellation": False, "disconnect": "finish"}, "finish"),
        ({"disconnect": "finish"}, "finish"),
    ],
)
def test_handler_cancellation_is_the_other_name_of_disconnect(options: ServerOptions, disconnect: str):
    assert settings_from(options, "AppRunner()").connections.disconnect == disconnect


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keepalive": 5}, TypeError, r"AppRunner\(\) got unexpected keyword argument keepalive"),
        ({"b": 1, "a": 1}, TypeError, r"unexpected keyword arguments a, b"),
        ({"loop": object()}, TypeError, r"loop .*backend='asyncio' or 'trio'"),
        ({"keepalive_timeout": "75"}, TypeError, r"keepalive_timeout must be a number of seconds or None, got '75'"),
        ({"lingering_time": None}, TypeError, r"lingering_time must be a number of seconds, got None"),
        ({"min_rate": 0}, ValueError, r"min_rate must be more than 0, or None, got 0"),
        ({"min_rate": "1k"}, TypeError, r"min_rate must be a number or None, got '1k'"),
        ({"send_timeout": True}, TypeError, r"send_timeout must be a number"),
        ({"body_timeout": -1}, ValueError, r"body_timeout must not be negative, got -1"),
        ({"body_timeout": float("nan")}, ValueError, r"body_timeout must not be negative, got nan"),
        ({"max_headers": 1.5}, TypeError, r"max_headers must be an int, got 1\.5"),
        ({"max_line_size": 0}, ValueError, r"max_line_size must be at least 1, got 0"),
        ({"disconnect": "ignore"}, ValueError, r"disconnect must be 'cancel' or 'finish', got 'ignore'"),
        ({"half_close": 1}, ValueError, r"half_close must be 'gone' or 'serve', got 1"),
        ({"handler_cancellation": True, "disconnect": "finish"}, ValueError, r"means disconnect='cancel'"),
        ({"access_log_class": object}, TypeError, r"access_log_class must be a subclass of AbstractAccessLogger"),
        ({"access_log_class": AccessLogger(logging.getLogger())}, TypeError, r"access_log_class must be a subclass"),
        ({"access_log": True}, TypeError, r"AppRunner\(\): access_log must be a logging.Logger, got True"),
        ({"access_log_format": 3}, TypeError, r"access_log_format must be a str, got 3"),
        ({"logger": None}, TypeError, r"logger must be a logging.Logger, got None"),
    ],
)
def test_what_is_wrong_is_named(options: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        settings_from(options, "AppRunner()")


def test_any_logger_will_do():
    adapter: Any = logging.LoggerAdapter(logging.getLogger("own"), {"name": "x"})
    assert settings_from({"logger": adapter, "access_log": adapter}, "AppRunner()").logger is adapter


def test_false_is_no_access_log_as_in_aiohttp():
    off: Any = {"access_log": False}
    assert settings_from(off, "AppRunner()").access_logger is None


def test_access_log_can_be_off_or_somebody_elses():
    class Mine(AbstractAccessLogger):
        def log(self, request: LoggedRequest, response: LoggedResponse, time: float) -> None:
            """Log nothing."""

    assert settings_from({"access_log": None}, "AppRunner()").access_logger is None
    mine = settings_from({"access_log_class": Mine, "access_log_format": "%s"}, "AppRunner()").access_logger
    assert isinstance(mine, Mine)
    assert mine.log_format == "%s"
