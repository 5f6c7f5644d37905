"""Files that go out in parts: what is written between two of them."""

import tempfile
from pathlib import Path

import anyio
import pytest

from tests.server.links import open_link

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

SIZE = 1_000_000


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_what_is_written_behind_a_part_of_a_file_goes_out_or_says_that_it_waits(
    kind: str, tmp_path: Path
) -> None:
    """A sender that was cancelled between two parts may be followed by somebody who only writes."""
    with tempfile.TemporaryFile() as file:
        file.write(bytes(SIZE))
        file.flush()
        async with open_link(kind, tmp_path) as link:
            sent = await link.transport.sendfile(file.fileno(), 0, SIZE, piece=65536)
            assert sent < SIZE
            link.transport.write(b"behind it")
            if link.transport.congested:
                link.tasks.start_soon(link.transport.drain)
            came = b""
            with anyio.fail_after(5):
                while len(came) < sent + 9:
                    came += await link.peer.receive()
            assert came == bytes(sent) + b"behind it"
