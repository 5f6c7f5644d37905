"""``python -m structweb.web`` takes what ``python -m aiohttp.web`` takes."""

from structweb.cli import serve_main

serve_main()
