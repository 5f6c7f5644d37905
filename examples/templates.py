"""Pages from templates: Jinja2, and Mako for those who prefer it."""

from pathlib import Path

import jinja2

import structweb.jinja2
import structweb.mako
from structweb import web

PAGES = Path(__file__).parent / "pages"


@structweb.jinja2.template("hello.jinja2")
def handler(request):
    return {"name": "Andrew", "surname": "Svetlov"}


@structweb.mako.template("hello.mako")
async def mako_handler(request):
    return {"name": request.match_info["name"]}


def init_func(argv):
    app = web.Application()
    structweb.jinja2.setup(app, loader=jinja2.FileSystemLoader(PAGES))
    structweb.mako.setup(app, directories=[str(PAGES)], default_filters=["h"])
    app[structweb.jinja2.static_root_key] = "/static"
    app.router.add_get("/", handler)
    app.router.add_get("/mako/{name}", mako_handler, name="mako")
    return app


if __name__ == "__main__":
    web.run_app(init_func([]))
