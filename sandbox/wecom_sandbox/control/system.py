"""Control of the whole sandbox: state, settings, clock, logs, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable
from typing import Any, TypeVar

from aiohttp import web

from wecom_sandbox.control.routes import LINES, make_page_json, read_flag, read_object, read_page, read_path_id, route
from wecom_sandbox.http.bodies import encode_in_pieces
from wecom_sandbox.limits.limits import FAULT_KINDS, Fault
from wecom_sandbox.state import administration, snapshot
from wecom_sandbox.state import bi as bi_state
from wecom_sandbox.state.events import DeliveryRecord
from wecom_sandbox.state.world import AUTHORITY, CallRecord, World, make_ip_warnings

T = TypeVar("T")
# Most rows and bytes that are processed before other calls are answered.
ROWS_AT_ONCE, BYTES_AT_ONCE = 100, 256 * 1024


async def run_between_calls(steps: Generator[None, None, T]) -> T:
    """Do the steps, ROWS_AT_ONCE at a time, with other calls in between. Return their result."""
    while True:
        try:
            for _ in range(ROWS_AT_ONCE):
                next(steps)
        except StopIteration as ended:
            result: T = ended.value
            return result
        await asyncio.sleep(0)


async def join_into_blocks(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces in blocks of ROWS_AT_ONCE, or of BYTES_AT_ONCE if they are large. A block is made on demand."""
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


async def make_large_response(document: object) -> web.Response:
    """Return the document as JSON. Other calls are answered while the rows of its iterators are made."""
    body = b"".join([block async for block in join_into_blocks(encode_in_pieces(document))])
    return web.Response(body=body, content_type="application/json", charset="utf-8")


@route("GET", "health")
async def get_health(request: web.Request, world: World, document: object) -> object:
    """Return that this is a sandbox, and the number of its companies."""
    return {"sandbox": True, "companies": len(world.companies)}


@route("GET", "ca")
async def get_authority(request: web.Request, world: World, document: object) -> object:
    """Return the certificate authority of the TLS port, which programs are told to trust."""
    authority = request.app[AUTHORITY]
    if authority is None:
        raise KeyError("certificate authority: start with --tls-port")
    return {"certificate": authority.pem, "spki_sha256": authority.spki_sha256, "hosts": list(authority.names)}


@route("GET", "state")
async def get_state(request: web.Request, world: World, document: object) -> object:
    """Return everything as a seed, in the form that PUT state takes."""
    return await make_large_response(administration.dump_seed(world, rows=iter))


@route("PUT", "state")
async def put_state(request: web.Request, world: World, document: object) -> object:
    """Replace everything by a seed. `warnings`: where the sandbox is laxer than WeCom."""
    fresh = World()
    await run_between_calls(administration.load_seed_in_steps(fresh, document))
    world.reset()
    world.adopt(fresh)
    return {"companies": len(world.companies), "warnings": make_ip_warnings(world)}


@route("POST", "reset")
async def reset(request: web.Request, world: World, document: object) -> object:
    """Forget what happened; with {"companies": true} the companies and settings as well."""
    if read_flag(read_object(document, "companies"), "companies"):
        world.reset()
    else:
        world.forget()
    return {}


@route("GET", "settings")
async def get_settings(request: web.Request, world: World, document: object) -> object:
    """Return all settings."""
    return world.settings.as_json()


@route("PATCH", "settings")
async def patch_settings(request: web.Request, world: World, document: Any) -> object:
    """Change the given settings."""
    world.settings.change(read_object(document, *world.settings.as_json()))
    return world.settings.as_json()


@route("GET", "bi")
async def get_bi(request: web.Request, world: World, document: object) -> object:
    """Return the stand-in BI with everything in it."""
    return bi_state.make_bi_json(world.bi)


@route("PUT", "bi")
async def put_bi(request: web.Request, world: World, document: object) -> object:
    """Replace the stand-in BI with everything in it."""
    world.bi = bi_state.read_bi(document)
    return bi_state.make_bi_json(world.bi)


@route("GET", "clock")
async def get_clock(request: web.Request, world: World, document: object) -> object:
    """Return the sandbox's time in unix seconds."""
    return {"now": world.now()}


@route("POST", "clock/advance")
async def advance_clock(request: web.Request, world: World, document: Any) -> object:
    """Move the clock forward."""
    seconds = read_object(document, "seconds").get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError("seconds must be a number")
    world.clock.advance(seconds)
    return {"now": world.now()}


@route("GET", "calls")
async def get_calls(request: web.Request, world: World, document: object) -> object:
    """Return the calls, oldest first, page by page. ?endpoint=message/send selects one endpoint."""
    wanted = request.query.get("endpoint", "")
    page = read_page(request, world.calls, lambda record: not wanted or record.path == f"/cgi-bin/{wanted}")
    return await make_large_response(make_page_json("calls", page, CallRecord.as_json))


@route("DELETE", "calls")
async def delete_calls(request: web.Request, world: World, document: object) -> object:
    """Forget the calls."""
    world.calls.clear()
    return {}


@route("GET", "missing")
async def get_missing(request: web.Request, world: World, document: object) -> object:
    """Return the paths that were asked for but do not exist, the most frequent first."""
    return {"missing": world.missing.as_json()}


@route("GET", "faults")
async def get_faults(request: web.Request, world: World, document: object) -> object:
    """Return the active faults, and the existing kinds."""
    return {"faults": [fault.as_json() for fault in world.faults.active], "kinds": FAULT_KINDS}


@route("POST", "faults")
async def post_fault(request: web.Request, world: World, document: Any) -> object:
    """Switch a fault on."""
    fault = Fault.from_json(document)
    world.faults.add(fault)
    return fault.as_json()


@route("DELETE", "faults")
async def delete_faults(request: web.Request, world: World, document: object) -> object:
    """Switch all faults off."""
    return {"removed": world.faults.clear()}


@route("DELETE", "faults/{id}")
async def delete_fault(request: web.Request, world: World, document: object) -> object:
    """Switch one fault off."""
    if not world.faults.clear(read_path_id(request, "id")):
        raise KeyError(request.match_info["id"])
    return {"removed": 1}


@route("GET", "callbacks")
async def get_callbacks(request: web.Request, world: World, document: object) -> object:
    """Return the tries to deliver events, oldest first, page by page, and the events that wait or run."""
    outbox = world.outbox
    records = make_page_json("callbacks", read_page(request, outbox.log), DeliveryRecord.as_json)
    return await make_large_response({**records, "waiting": outbox.waiting, "under_way": outbox.under_way})


@route("DELETE", "callbacks")
async def delete_callbacks(request: web.Request, world: World, document: object) -> object:
    """Forget the tries."""
    world.outbox.log.clear()
    return {}


# The longest line is the first, with the people of all companies; next is a file of 20 MB.
LINE_BYTES_AT_MOST = 256 * 1024 * 1024
SNAPSHOT_BYTES_AT_MOST = 4 * 1024 * 1024 * 1024


@route("GET", "snapshot", media_type=LINES)
async def get_snapshot(request: web.Request, world: World, document: object) -> object:
    """Return companies, BI and settings, then each message, file, group, token and code on its own line."""
    stream = web.StreamResponse(headers={"Content-Type": LINES})
    await stream.prepare(request)
    async for block in join_into_blocks(snapshot.encode_snapshot(world)):
        await stream.write(block)
    await stream.write_eof()
    return stream


@route("PUT", "snapshot", media_type=LINES)
async def put_snapshot(request: web.Request, world: World, document: object) -> object:
    """Replace everything by a snapshot, all or nothing."""
    fresh, number = World(), 0
    async for line in split_lines(request.content.iter_any()):
        number += 1
        await run_between_calls(snapshot.restore_line_in_steps(fresh, number, line))
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    if not number:
        raise ValueError("the body is empty")
    world.adopt(fresh)
    return {"companies": len(world.companies), "messages": len(world.mail.messages)}


async def split_lines(
    chunks: AsyncIterable[bytes], *, line_most: int = LINE_BYTES_AT_MOST, most: int = SNAPSHOT_BYTES_AT_MOST
) -> AsyncIterator[bytes]:
    """Yield the lines of a body. Raise ValueError for a line above `line_most` bytes, or above `most` in all."""
    pieces: list[bytes] = []
    line_bytes = total_bytes = 0
    async for chunk in chunks:
        *line_ends, rest = chunk.split(b"\n")
        for line_end in line_ends:
            yield b"".join((*pieces, line_end))
            pieces.clear()
            line_bytes = 0
        pieces.append(rest)
        line_bytes, total_bytes = line_bytes + len(rest), total_bytes + len(chunk)
        if line_bytes > line_most or total_bytes > most:
            raise ValueError(f"a snapshot has at most {most} bytes, and a line of it {line_most}")
    if last := b"".join(pieces):
        yield last
