"""What run_app does, by hand: a runner, its sites, and a shutdown that lets running requests finish."""

import anyio

from structweb import web


async def upload(request):
    data = await request.read()
    return web.Response(text=f"Took {len(data)} bytes")


async def connect_database(app):
    print("database: open")
    yield
    print("database: closed")


async def announce_end(app):
    print("on_shutdown: no new connections; running requests may finish")


async def save_state(app):
    print("on_cleanup: the last request is over")


def init_func(argv):
    app = web.Application()
    app.router.add_post("/upload", upload)
    app.cleanup_ctx.append(connect_database)
    app.on_shutdown.append(announce_end)
    app.on_cleanup.append(save_state)
    return app


async def main(*ports):
    async with web.AppRunner(init_func([]), handle_signals=True, shutdown_timeout=10) as runner:
        for port in ports:
            site = web.TCPSite(runner, "localhost", port)
            await site.start()
            print(f"Running on {site.name}")
        await anyio.sleep_forever()  # until SIGINT (Ctrl+C) or SIGTERM
    print("Stopped")


if __name__ == "__main__":
    anyio.run(main, 8080, 8081)
