"""How structweb and each peer is started: one process, on 127.0.0.1, without an access log."""

import sys
from collections.abc import Callable

Command = Callable[[int, str], list[str]]


def _structweb(*options: str, start: tuple[str, ...] = ("-m", "structweb")) -> Command:
    def command(port: int, app: str) -> list[str]:
        return [
            *[sys.executable, *start, "serve", "-H", "127.0.0.1", "-P", str(port), "--no-access-log"],
            *options,
            f"structweb_app:{app}_app",
        ]

    return command


def _aiohttp(loop: str) -> Command:
    return lambda port, app: [sys.executable, "aiohttp_app.py", str(port), app, loop]


def _uvicorn(http: str, websockets: str) -> Command:
    return lambda port, app: [
        *[sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"],
        *["--log-level", "error", "--loop", "asyncio", "--http", http, "--ws", websockets, f"starlette_app:{app}_app"],
    ]


def _hypercorn(module: str) -> Command:
    return lambda port, app: [
        *[sys.executable, "-m", "hypercorn", "-k", "trio", "-b", f"127.0.0.1:{port}", f"{module}:{app}_app"],
    ]


def _granian(port: int, app: str) -> list[str]:
    return [
        *[sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)],
        *["--workers", "1", "--loop", "asyncio", "--no-access-log", "--log-level", "error", f"starlette_app:{app}_app"],
    ]


#: Runs structweb without the C function of ``structweb[speed]``, which uvicorn's WebSockets bring along.
PURE = ("without_c_mask.py",)

#: The yardstick comes first: each ratio is its CPU to the server's, in the same round.
SERVERS: dict[str, Command] = {
    "aiohttp": _aiohttp("asyncio"),
    "structweb": _structweb("--backend", "asyncio"),
    "structweb uvloop": _structweb("--backend", "asyncio", "--uvloop"),
    "structweb trio": _structweb("--backend", "trio"),
    "structweb pure": _structweb("--backend", "asyncio", start=PURE),
    "structweb pure trio": _structweb("--backend", "trio", start=PURE),
    "aiohttp uvloop": _aiohttp("uvloop"),
    "uvicorn httptools": _uvicorn("httptools", "websockets-sansio"),
    "uvicorn h11": _uvicorn("h11", "wsproto"),
    "granian": _granian,
    "hypercorn trio": _hypercorn("starlette_app"),
    "quart-trio": _hypercorn("quart_app"),
}
YARDSTICK = "aiohttp"
#: Different from the row of the same name without "pure" in WebSockets only.
ONLY_WEBSOCKETS = {"structweb pure", "structweb pure trio"}
