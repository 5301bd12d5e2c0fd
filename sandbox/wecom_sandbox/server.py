"""The web server: one aiohttp application for the API, the pages and the control interface."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from wecom_sandbox import control, serving
from wecom_sandbox.api import pipeline
from wecom_sandbox.api.call import Request
from wecom_sandbox.bi import pages as bi_pages
from wecom_sandbox.callbacks.courier import COURIER, Courier
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import hosts
from wecom_sandbox.http.authority import Authority
from wecom_sandbox.http.envelope import Reply, failure
from wecom_sandbox.limits.faults import Fault
from wecom_sandbox.pages import chats, console, login, oauth, phone
from wecom_sandbox.state.keys import AUTHORITY, WORLD
from wecom_sandbox.state.world import CallRecord, World

# The largest upload is a file of 20 MB in a multipart body.
BODY_MOST_BYTES = 32 * 1024 * 1024
# Connections that the system takes while the loop is at something else. Of more than that Linux resets some.
BACKLOG = 4096
STATIC = Path(__file__).resolve().parent / "static"
# Of the sandbox itself, and what browsers ask every site for; all other paths are WeCom's.
_OWN = ("/sandbox", "/phone", "/console", "/guandata", "/favicon.ico")
_NO_SUCH_CALL = (
    "404: the WeCom sandbox has no {method} {path}. "
    "GET /sandbox/api/missing counts what was asked for and is not there.\n"
)


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the sandbox listens and by which names it is called. Port 0: a free one; `tls_port` None: without TLS."""

    host: str
    port: int
    tls_port: int | None = None
    authority: Authority | None = None
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports in use."""

    plain: int
    tls: int | None


def make_app(world: World, reach: Reach) -> web.Application:
    app = web.Application(middlewares=[hosts.guard(reach.allowed), _missing], client_max_size=BODY_MOST_BYTES)
    app[WORLD] = world
    app[AUTHORITY] = reach.authority
    app[COURIER] = Courier(world)
    world.in_slices = _between_calls
    app.cleanup_ctx.append(_courier_at_work)
    app.router.add_route("*", "/cgi-bin/{tail:.*}", answer_api)
    app.router.add_static("/sandbox/static/", STATIC)
    app.router.add_get("/", _to_phone)
    oauth.add_routes(app)
    login.add_routes(app)
    phone.add_routes(app)
    chats.add_routes(app)
    console.add_routes(app)
    bi_pages.add_routes(app)
    control.add_routes(app)
    return app


@contextlib.asynccontextmanager
async def serving_on(world: World, reach: Reach) -> AsyncIterator[Ports]:
    """Listen while the block runs. Raises OSError, and ValueError for an address of others that nobody allowed."""
    if not hosts.is_loopback(reach.host) and not reach.allowed:
        raise ValueError(
            f"{reach.host} is not a loopback address; --allow-host NAME says under which name it is called"
        )
    runner = web.AppRunner(make_app(world, reach), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, reach.host, reach.port, backlog=BACKLOG, reuse_address=True).start()
        if reach.tls_port is not None and reach.authority is not None:
            context = reach.authority.server_context()
            site = web.TCPSite(
                runner, reach.host, reach.tls_port, ssl_context=context, backlog=BACKLOG, reuse_address=True
            )
            await site.start()
        plain, *tls = [int(address[1]) for address in runner.addresses]
        yield Ports(plain, tls[0] if tls else None)
    finally:
        await runner.cleanup()


async def _courier_at_work(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[COURIER].run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _between_calls(work: Generator[None, None, None]) -> None:
    """A slice of it now, each other one after the calls that wait."""
    with contextlib.suppress(StopIteration):
        next(work)
        asyncio.get_running_loop().call_soon(_between_calls, work)


@web.middleware
async def _missing(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A path of WeCom's hosts to which nothing leads is counted, as a call of the API is that is not there."""
    if isinstance(request.match_info.http_exception, web.HTTPNotFound) and not request.path.startswith(_OWN):
        return _no_such_call(request, request.app[WORLD])
    return await handler(request)


async def _to_phone(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/phone")


async def answer_api(request: web.Request) -> web.StreamResponse:
    """One call of WeCom's API, with the fault that is switched on for it, if any."""
    world = request.app[WORLD]
    started = time.perf_counter()
    name = pipeline.endpoint_name(request.path)
    if name is None:
        return _no_such_call(request, world)
    api_request = Request(
        request.method,
        request.path,
        request.query,
        b"",
        world.settings.caller_ip or request.remote or "",
        request.headers.get("Content-Type", ""),
        f"{request.scheme}://{request.host}",
        request.headers.get("Range", ""),
    )
    who = pipeline.caller(world, api_request)
    # A POST /sandbox/api/reset in the middle of a call starts other limits.
    limits = world.limits
    try:
        # Before the body is read: calls that are still on their way in are parallel, too.
        limits.enter(who.corpid, name)
    except ApiError as error:
        reply = failure(error.code, error.text, ip=api_request.ip, now=world.now())
        _record(world, api_request, who, reply, None, started)
        return serving.response(reply)
    try:
        api_request.body = await request.read()
        return await _carry_out(request, name, api_request, who, started)
    finally:
        limits.leave(who.corpid, name)


def _no_such_call(request: web.Request, world: World) -> web.Response:
    world.missing.note(request.method, request.path)
    text = _NO_SUCH_CALL.format(method=request.method, path=request.path[:200])
    return web.Response(text=text, status=404, headers={"Server": "nginx"})


async def _carry_out(
    request: web.Request, name: str, api_request: Request, who: pipeline.Caller, started: float
) -> web.StreamResponse:
    """A call that was let in: only such a one uses up a fault."""
    world = request.app[WORLD]
    fault = world.faults.claim(name, corpid=who.corpid, agentid=who.agentid)
    if world.settings.latency_seconds:
        await asyncio.sleep(world.settings.latency_seconds)
    if fault is None:
        reply = pipeline.answer(world, name, api_request)
        _record(world, api_request, who, reply, None, started)
        return serving.response(reply)
    reply = serving.reply_despite(world, name, api_request, fault)
    _record(world, api_request, who, reply, fault, started)
    return await serving.spoil(request, reply, fault)


def _record(
    world: World, api_request: Request, who: pipeline.Caller, reply: Reply, fault: Fault | None, started: float
) -> None:
    world.log_call(
        CallRecord(
            at=world.now(),
            method=api_request.method,
            path=api_request.path,
            errcode=reply.errcode,
            ip=api_request.ip,
            corpid=who.corpid,
            agentid=who.agentid,
            fault=fault.kind if fault else "",
            milliseconds=round((time.perf_counter() - started) * 1000, 3),
        )
    )
