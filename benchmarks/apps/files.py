"""The files that the applications of the benchmarks serve."""

import os
import tempfile
import time
from pathlib import Path

#: What is streamed, again and again.
PIECE = bytes(65536)


def folder() -> Path:
    """Return the folder, made if need be; its files are an hour old."""
    place = Path(tempfile.gettempdir()) / "structweb-benchmark-files"
    place.mkdir(exist_ok=True)
    hour_ago = time.time() - 3600
    for name, size in (("small.bin", 10 * 1024), ("large.bin", 10 * 1024 * 1024)):
        file = place / name
        if not file.exists():
            draft = place / f"{name}.{os.getpid()}"
            draft.write_bytes(b"0123456789abcdef" * (size // 16))
            os.utime(draft, (hour_ago, hour_ago))
            draft.replace(file)
    return place
