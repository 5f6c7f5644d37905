"""The limits of a WebSocket are checked when they are set."""

import pytest

from structweb._wire.websocket_limits import WebSocketLimits


def test_defaults():
    limits = WebSocketLimits()
    assert limits.message == 4 * 1024 * 1024  # aiohttp's
    assert limits.frame is None
    assert limits.fragments == 131_072


def test_none_is_no_limit():
    WebSocketLimits(message=None, frame=None, fragments=None)


@pytest.mark.parametrize("name", ["message", "frame", "fragments"])
def test_nothing_at_all_is_no_limit(name):
    with pytest.raises(ValueError, match=rf"WebSocketLimits.{name} must be at least 1, or None for no limit, got 0"):
        WebSocketLimits(**{name: 0})
