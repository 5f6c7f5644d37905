"""Work that a client's leaving must not cut: an atomic handler, a shield, and a job behind the response."""

import anyio

from structweb import web
from structweb.jobs import atomic, setup, shield, spawn


async def save_to_redis(order):
    await anyio.sleep(0.05)  # a real one asks Redis
    print(f"redis: {order}")


async def write_to_postgres(order):
    await anyio.sleep(0.05)  # a real one asks PostgreSQL
    print(f"postgres: {order}")


async def send_mail(order):
    await anyio.sleep(0.05)
    print(f"mail: {order}")


@atomic
async def create(request):
    order = await request.text()
    await save_to_redis(order)
    await write_to_postgres(order)
    await spawn(request, send_mail, order, name=f"mail for {order}")
    return web.Response(status=201, text=f"took {order}")


async def save(order):
    await save_to_redis(order)
    await write_to_postgres(order)


async def replace(request):
    order = await request.text()
    await shield(request, save, order)
    await anyio.sleep(60)  # a slow query, which stops when the client leaves
    return web.Response(text="never so long")


def init_func(argv):
    app = web.Application()
    app.add_routes([web.post("/orders", create), web.put("/orders", replace)])
    setup(app, limit=50, wait_timeout=30)
    return app


if __name__ == "__main__":
    web.run_app(init_func([]))
