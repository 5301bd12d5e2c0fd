"""The web server: one aiohttp application for the API, the pages and the control interface."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from wecom_sandbox import control
from wecom_sandbox.api import call
from wecom_sandbox.api.call import WARNING, Request
from wecom_sandbox.bi import pages as bi_pages
from wecom_sandbox.callbacks.courier import COURIER, Courier
from wecom_sandbox.errors import TEXTS, ApiError
from wecom_sandbox.http import hosts
from wecom_sandbox.http.envelope import Reply, make_failure
from wecom_sandbox.http.hosts import Authority
from wecom_sandbox.limits.limits import Fault
from wecom_sandbox.pages import chats, console, phone, sign_in
from wecom_sandbox.state.world import AUTHORITY, WORLD, CallRecord, World

_HEADERS = {"Server": "nginx", "X-W-No": "7"}
_ERROR_PAGE = "<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_HANG_SECONDS, _SLOW_SECONDS, _DRIP_SECONDS = 600.0, 5.0, 1.0


def make_response(reply: Reply) -> web.Response:
    return web.Response(body=reply.body, status=reply.status, headers=_make_headers(reply))


def _make_headers(reply: Reply) -> dict[str, str]:
    """Return the reply's headers. Control characters are replaced, since some headers contain texts of callers."""
    headers = {**_HEADERS, **reply.headers, "Content-Type": reply.content_type}
    return {name: _CONTROL_CHARACTERS.sub(" ", value) for name, value in headers.items()}


def answer_with_fault(world: World, name: str, api_request: Request, fault: Fault) -> Reply:
    """Return the API's answer if the fault lets the call be carried out, else the fault's error, by default -1."""
    if fault.kind == "token_revoked":
        _revoke_token(world, api_request, fault.code)
        return call.answer(world, name, api_request)
    if fault.kind == "wrong_json_warning":
        reply = call.answer(world, name, api_request)
        reply.body = reply.body.replace(b'"errmsg":"ok"', b'"errmsg":"ok. ' + WARNING.encode() + b'"', 1)
        return reply
    code = fault.errcode
    if code is None and fault.carries_out:
        return call.answer(world, name, api_request)
    code = -1 if code is None else code
    return make_failure(code, TEXTS.get(code, "invalid request"), ip=api_request.ip, now=world.now())


async def send_with_fault(request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse:
    """Send the reply, damaged, delayed or replaced according to the fault."""
    if fault.kind in ("close_before", "close_after"):
        return _close_connection(request)
    if fault.kind == "hang":
        await _sleep_while_connected(request, fault.seconds or _HANG_SECONDS)
        return _close_connection(request)
    if fault.kind in ("http_500", "html"):
        return _make_error_page(fault.kind)
    if fault.kind == "broken_json":
        reply.body = reply.body[: max(1, len(reply.body) // 2)]
    elif fault.kind == "slow":
        await _sleep_while_connected(request, fault.seconds or _SLOW_SECONDS)
    elif fault.kind == "drip":
        return await _send_slowly(request, reply, fault.seconds or _DRIP_SECONDS)
    return make_response(reply)


def _revoke_token(world: World, api_request: Request, code: int) -> None:
    value = api_request.query.get("access_token", "")
    token = world.tokens.get(value)
    if token is None:
        return
    if code == 42001:
        token.expires_at = world.now()
    else:
        del world.tokens[value]


def _close_connection(request: web.Request) -> web.Response:
    """Cut the connection. The returned response is not sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=204)


def _make_error_page(kind: str) -> web.Response:
    status, title = (500, "500 Internal Server Error") if kind == "http_500" else (200, "Welcome to nginx!")
    return web.Response(text=_ERROR_PAGE.format(title=title), status=status, content_type="text/html", headers=_HEADERS)


async def _sleep_while_connected(request: web.Request, seconds: float) -> None:
    """Wait until `seconds` have passed or the caller closes the connection."""
    deadline = asyncio.get_running_loop().time() + seconds
    while request.transport is not None and not request.transport.is_closing():
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return
        await asyncio.sleep(min(left, 0.1))


async def _send_slowly(request: web.Request, reply: Reply, seconds: float) -> web.StreamResponse:
    stream = web.StreamResponse(headers=_make_headers(reply))
    stream.content_length = len(reply.body)
    await stream.prepare(request)
    for index in range(len(reply.body)):
        await stream.write(reply.body[index : index + 1])
        await _sleep_while_connected(request, seconds)
    return stream


# The largest upload is a file of 20 MB in a multipart body.
BODY_MOST_BYTES = 32 * 1024 * 1024
# Most connections that wait while the event loop is busy. Linux resets some of the further ones.
BACKLOG = 4096
STATIC = Path(__file__).resolve().parent / "static"
# Paths of the sandbox itself, and one that browsers request from every site. All others are WeCom's.
_OWN_PATHS = ("/sandbox", "/phone", "/console", "/guandata", "/favicon.ico")
_NO_SUCH_CALL = (
    "404: the WeCom sandbox has no {method} {path}. GET /sandbox/api/missing counts requests for missing paths.\n"
)


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Addresses to listen on, and host names to accept. Port 0: a free one. `tls_port` None: no TLS."""

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


def make_app(world: World, options: ListenOptions) -> web.Application:
    app = web.Application(
        middlewares=[hosts.make_host_guard(options.allowed), _count_missing_path], client_max_size=BODY_MOST_BYTES
    )
    app[WORLD] = world
    app[AUTHORITY] = options.authority
    app[COURIER] = Courier(world)
    app.cleanup_ctx.append(_run_courier)
    app.router.add_route("*", "/cgi-bin/{tail:.*}", answer_api)
    app.router.add_static("/sandbox/static/", STATIC)
    app.router.add_get("/", _redirect_to_phone)
    sign_in.add_oauth_routes(app)
    sign_in.add_login_routes(app)
    phone.add_routes(app)
    chats.add_routes(app)
    console.add_routes(app)
    bi_pages.add_routes(app)
    control.add_routes(app)
    return app


@contextlib.asynccontextmanager
async def run_server(world: World, options: ListenOptions) -> AsyncIterator[Ports]:
    """Listen while the block runs. Raise OSError, and ValueError for another machine's address without --allow-host."""
    if not hosts.is_loopback(options.host) and not options.allowed:
        raise ValueError(f"{options.host} is not a loopback address; give the name in its URLs by --allow-host NAME")
    runner = web.AppRunner(make_app(world, options), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port, backlog=BACKLOG, reuse_address=True).start()
        if options.tls_port is not None and options.authority is not None:
            context = options.authority.server_context()
            site = web.TCPSite(
                runner, options.host, options.tls_port, ssl_context=context, backlog=BACKLOG, reuse_address=True
            )
            await site.start()
        plain, *tls = [int(address[1]) for address in runner.addresses]
        yield Ports(plain, tls[0] if tls else None)
    finally:
        await runner.cleanup()


async def _run_courier(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[COURIER].run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@web.middleware
async def _count_missing_path(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer 404 to a path of WeCom that the sandbox lacks, and count it."""
    if isinstance(request.match_info.http_exception, web.HTTPNotFound) and not request.path.startswith(_OWN_PATHS):
        return _answer_missing_call(request, request.app[WORLD])
    return await handler(request)


async def _redirect_to_phone(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/phone")


async def answer_api(request: web.Request) -> web.StreamResponse:
    """Answer a call of WeCom's API, with the fault that is active for it, if any."""
    world = request.app[WORLD]
    started = time.perf_counter()
    name = call.find_endpoint_name(request.path)
    if name is None:
        return _answer_missing_call(request, world)
    api_request = Request(
        request.method,
        request.path,
        request.query,
        b"",
        world.settings.caller_ip or request.remote or "",
        request.headers.get("Content-Type", ""),
        request.headers.get("Range", ""),
    )
    caller = call.find_caller(world, api_request)
    # Stored here, because a POST /sandbox/api/reset during the call replaces world.limits.
    limits = world.limits
    try:
        # The call is counted before its body is read: calls whose bodies still arrive are parallel calls, too.
        limits.enter(caller.corpid, name)
    except ApiError as error:
        reply = make_failure(error.code, error.text, ip=api_request.ip, now=world.now())
        _record_call(world, api_request, caller, reply, None, started)
        return make_response(reply)
    try:
        api_request.body = await request.read()
        return await _carry_out(request, name, api_request, caller, started)
    finally:
        limits.leave(caller.corpid, name)


def _answer_missing_call(request: web.Request, world: World) -> web.Response:
    world.missing.note(request.method, request.path)
    text = _NO_SUCH_CALL.format(method=request.method, path=request.path[:200])
    return web.Response(text=text, status=404, headers={"Server": "nginx"})


async def _carry_out(
    request: web.Request, name: str, api_request: Request, caller: call.Caller, started: float
) -> web.StreamResponse:
    """Carry out a call that the limit of parallel calls admits. Calls that it refuses use up no faults."""
    world = request.app[WORLD]
    fault = world.faults.claim(name, corpid=caller.corpid, agentid=caller.agentid)
    if world.settings.latency_seconds:
        await asyncio.sleep(world.settings.latency_seconds)
    if fault is None:
        reply = call.answer(world, name, api_request)
        _record_call(world, api_request, caller, reply, None, started)
        return make_response(reply)
    reply = answer_with_fault(world, name, api_request, fault)
    _record_call(world, api_request, caller, reply, fault, started)
    return await send_with_fault(request, reply, fault)


def _record_call(
    world: World, api_request: Request, caller: call.Caller, reply: Reply, fault: Fault | None, started: float
) -> None:
    world.log_call(
        CallRecord(
            at=world.now(),
            method=api_request.method,
            path=api_request.path,
            errcode=reply.errcode,
            ip=api_request.ip,
            corpid=caller.corpid,
            agentid=caller.agentid,
            fault=fault.kind if fault else "",
            milliseconds=round((time.perf_counter() - started) * 1000, 3),
        )
    )
