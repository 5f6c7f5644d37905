"""The loggers of structweb, by what they tell."""

import logging
from typing import Final

#: One line a request.
access_logger: Final = logging.getLogger("structweb.access")
#: Listeners, connections, lifetimes, shutdown.
server_logger: Final = logging.getLogger("structweb.server")
#: What the application does: unhandled errors, misuse.
web_logger: Final = logging.getLogger("structweb.web")
#: WebSocket conversations.
ws_logger: Final = logging.getLogger("structweb.websocket")
#: The inside of structweb, for its own developers.
internal_logger: Final = logging.getLogger("structweb.internal")
