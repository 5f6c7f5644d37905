"""The lines that every response carries."""

import pytest

from structweb._server import stamp
from structweb._server.config import ServerConfig


def test_a_clock_that_is_set_back_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date of an hour ahead must not be sent for an hour."""
    monkeypatch.setattr(stamp, "time", lambda: 1_000_003_600.5)
    assert stamp.stamp(None) == b"Date: Sun, 09 Sep 2001 02:46:40 GMT\r\n"
    monkeypatch.setattr(stamp, "time", lambda: 1_000_000_000.5)
    assert stamp.stamp(None) == b"Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n"


@pytest.mark.parametrize("name", ["a\r\nX: y", "a\0", "a\n", "schön"])
def test_a_server_header_that_cannot_be_sent_is_refused_at_once(name: str) -> None:
    """Not at each response."""
    with pytest.raises(ValueError, match="server_header"):
        ServerConfig(server_header=name)
