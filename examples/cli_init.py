"""An application made from the command line's arguments.

``structweb serve -H localhost -P 8080 examples.cli_init:init_func --name you`` keeps what it knows (``-H``, ``-P``)
and hands the rest to ``init_func``.
"""

import argparse

from structweb import web

name_key = web.AppKey("name", str)


def index_handler(request):
    return web.Response(text=f"Hello, {request.app[name_key]}")


def init_func(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="world")
    app = web.Application()
    app[name_key] = parser.parse_args(argv).name
    app.router.add_get("/", index_handler)
    return app
