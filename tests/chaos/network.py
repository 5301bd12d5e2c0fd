"""Interruptible connections to servers: `python -m tests.chaos.network PORT TARGET …`, a connection for each pair.

A target is a file that holds the server's port, so that new connections can be led to another server.

Stop this program (SIGSTOP) for a network on which nothing arrives and no side notices, because the kernels at both
ends go on. When it continues, what was sent meanwhile arrives.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tools.services import Service, free_port

BYTES = 65536


def ways(database: Service, broker: Service, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command of this program for both servers, and the environment of programs that connect through it.

    The targets are files in `folder`, named like the variables.
    """
    command, env = [sys.executable, "-m", "tests.chaos.network"], {}
    for variable, service in (("DATABASE_URL", database), ("VALKEY_URL", broker)):
        port, target = free_port(), urlsplit(service.url).port
        (folder / variable).write_text(str(target))
        command += [str(port), str(folder / variable)]
        env[variable] = service.url.replace(f":{target}/", f":{port}/")
    return command, env


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while received := await reader.read(BYTES):
            writer.write(received)
            await writer.drain()
    writer.close()


async def _lead(port: int, target: Path) -> asyncio.Server:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(target.read_text()))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_hand_on(reader, far_writer), _hand_on(far_reader, writer))

    return await asyncio.start_server(lead, "127.0.0.1", port)


async def main(words: list[str]) -> None:
    servers = [await _lead(int(port), Path(target)) for port, target in zip(words[::2], words[1::2], strict=True)]
    sys.stdout.write("leads\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
