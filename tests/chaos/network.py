"""A way to a server that can be interrupted: `python -m tests.chaos.network PORT TARGET_PORT …`, each pair one way.

Whoever stops this program (SIGSTOP) has a network on which nothing arrives and nobody hears that: the kernels at both
ends go on. When it continues, what was sent meanwhile arrives.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from urllib.parse import urlsplit

from tools.services import Service, free_port

BYTES = 65536


def ways(database: Service, broker: Service) -> tuple[list[str], dict[str, str]]:
    """The command of such a program to both, and the environment of programs that go through it."""
    command, env = [sys.executable, "-m", "tests.chaos.network"], {}
    for variable, service in (("DATABASE_URL", database), ("VALKEY_URL", broker)):
        port, target = free_port(), urlsplit(service.url).port
        command += [str(port), str(target)]
        env[variable] = service.url.replace(f":{target}/", f":{port}/")
    return command, env


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while received := await reader.read(BYTES):
            writer.write(received)
            await writer.drain()
    writer.close()


async def _lead(port: int, target: int) -> asyncio.Server:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_hand_on(reader, far_writer), _hand_on(far_reader, writer))

    return await asyncio.start_server(lead, "127.0.0.1", port)


async def main(ports: list[int]) -> None:
    servers = [await _lead(port, target) for port, target in zip(ports[::2], ports[1::2], strict=True)]
    sys.stdout.write("leads\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main([int(word) for word in sys.argv[1:]]))
