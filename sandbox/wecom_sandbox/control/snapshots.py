"""Control of the whole state with its messages, while calls go on: taken and restored line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from aiohttp import web

from wecom_sandbox.control import schemas
from wecom_sandbox.control.routes import LINES, route
from wecom_sandbox.control.steps import ROWS_AT_ONCE, between_calls, in_blocks
from wecom_sandbox.state import snapshot
from wecom_sandbox.state.world import World

# The longest line is the first, with the people of all companies; a file of 20 MB is the next.
LINE_MOST_BYTES = 256 * 1024 * 1024
MOST_BYTES = 4 * 1024 * 1024 * 1024


@route("GET", "snapshot", answer=schemas.TEXT, media_type=LINES)
async def get_snapshot(request: web.Request, world: World, document: object) -> object:
    """Companies, BI and settings, then each message, file, group, token, code and job in a line of its own."""
    stream = web.StreamResponse(headers={"Content-Type": LINES})
    await stream.prepare(request)
    async for block in in_blocks(snapshot.pieces_of(world)):
        await stream.write(block)
    await stream.write_eof()
    return stream


@route("PUT", "snapshot", body=schemas.TEXT, media_type=LINES)
async def put_snapshot(request: web.Request, world: World, document: object) -> object:
    """Replace everything by a snapshot, all or nothing."""
    fresh, number = World(), 0
    async for line in lines(request.content.iter_any()):
        number += 1
        await between_calls(snapshot.restore_in_steps(fresh, number, line))
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    if not number:
        raise ValueError("the body is empty")
    world.adopt(fresh)
    return {"companies": len(world.companies), "messages": len(world.mail.messages)}


async def lines(
    chunks: AsyncIterable[bytes], *, line_most: int = LINE_MOST_BYTES, most: int = MOST_BYTES
) -> AsyncIterator[bytes]:
    """The lines of a body. Raises ValueError for one of more than `line_most` bytes, and for more than `most`."""
    pieces: list[bytes] = []
    begun = total = 0
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            yield b"".join((*pieces, end))
            pieces.clear()
            begun = 0
        pieces.append(rest)
        begun, total = begun + len(rest), total + len(chunk)
        if begun > line_most or total > most:
            raise ValueError(f"a snapshot has at most {most} bytes, and a line of it {line_most}")
    if last := b"".join(pieces):
        yield last
