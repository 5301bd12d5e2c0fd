"""Long work of the control interface, a part at a time, so that other calls are answered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable
from typing import TypeVar

from aiohttp import web

from wecom_sandbox.http.json_pieces import json_pieces

T = TypeVar("T")
# What is done before other calls have their turn.
ROWS_AT_ONCE, BYTES_AT_ONCE = 100, 256 * 1024


async def between_calls(steps: Generator[None, None, T]) -> T:
    """What `steps` return; ROWS_AT_ONCE of them at a time."""
    while True:
        try:
            for _ in range(ROWS_AT_ONCE):
                next(steps)
        except StopIteration as ended:
            result: T = ended.value
            return result
        await asyncio.sleep(0)


async def in_blocks(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The pieces in blocks of ROWS_AT_ONCE, or of BYTES_AT_ONCE where they are large; made as they are asked for."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if len(waiting) >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield b"".join(waiting)
            waiting, size = [], 0
            await asyncio.sleep(0)
    if waiting:
        yield b"".join(waiting)


async def large_answer(document: object) -> web.Response:
    """The document as JSON; rows of iterators in it are made between other calls."""
    body = b"".join([block async for block in in_blocks(json_pieces(document))])
    return web.Response(body=body, content_type="application/json", charset="utf-8")
