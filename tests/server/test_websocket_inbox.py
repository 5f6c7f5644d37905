"""The queue of messages that were read ahead: in order, and it knows when it is full."""

import pytest

from structweb._server.websocket_inbox import Failed, Inbox
from structweb._wire.websocket_events import Binary, Close, Text


def test_messages_come_out_as_they_went_in():
    inbox = Inbox(1000)
    sent = [Text("a"), Binary(b"b"), Close(1000), Failed(TimeoutError())]
    for message in sent:
        inbox.put(message)
    assert [inbox.take() for _ in sent] == sent


@pytest.mark.parametrize("message", [Binary(bytes(300)), Text("x" * 300)])
def test_it_is_full_by_bytes(message):
    inbox = Inbox(600)
    inbox.put(message)
    assert not inbox.full
    inbox.put(message)
    assert inbox.full
    inbox.put(message)  # whoever fills it has to look
    inbox.take()
    assert inbox.full
    inbox.take()
    assert not inbox.full


def test_messages_without_payload_fill_it_too():
    """Else a flood of those would have no bound."""
    inbox = Inbox(64 * 1024)
    count = 0
    while not inbox.full:
        inbox.put(Text(""))
        count += 1
    assert count == 512


def test_cleared_it_has_room():
    inbox = Inbox(0)
    assert not inbox.full  # it takes one message, whatever its bound
    inbox.put(Binary(b"x"))
    assert inbox.full
    inbox.clear()
    assert (inbox.full, list(inbox.messages)) == (False, [])
