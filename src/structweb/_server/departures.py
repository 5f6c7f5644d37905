"""What sending to a peer that has left raises."""


class ClientConnectionResetError(ConnectionResetError):
    """The peer is gone: what was to be sent to it has nowhere to go."""
