"""A web server with aiohttp.web's API on structured concurrency, for asyncio and trio."""

from structweb._server.version import __version__

__all__ = ["__version__"]
