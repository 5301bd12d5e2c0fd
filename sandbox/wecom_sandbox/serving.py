"""Putting an answer on the wire, whole or spoilt by a fault."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from wecom_sandbox.api import pipeline
from wecom_sandbox.api.call import WARNING, Request
from wecom_sandbox.errors import TEXTS
from wecom_sandbox.http.envelope import Reply, failure
from wecom_sandbox.limits.faults import Fault
from wecom_sandbox.state.world import World

_HEADERS = {"Server": "nginx", "X-W-No": "7"}
_PAGE = "<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HANG_SECONDS, _SLOW_SECONDS, _DRIP_SECONDS = 600.0, 5.0, 1.0


def response(reply: Reply) -> web.Response:
    return web.Response(body=reply.body, status=reply.status, headers=_headers(reply))


def _headers(reply: Reply) -> dict[str, str]:
    """Callers' own texts stand in some of them; no header may hold a control character."""
    headers = {**_HEADERS, **reply.headers, "Content-Type": reply.content_type}
    return {name: _CONTROL.sub(" ", value) for name, value in headers.items()}


def reply_despite(world: World, name: str, api_request: Request, fault: Fault) -> Reply:
    """What the API itself answers: carried out, refused by the fault, or not carried out at all (errcode -1)."""
    if fault.kind == "token_revoked":
        _revoke(world, api_request, fault.code)
        return pipeline.answer(world, name, api_request)
    if fault.kind == "wrong_json_warning":
        reply = pipeline.answer(world, name, api_request)
        reply.body = reply.body.replace(b'"errmsg":"ok"', b'"errmsg":"ok. ' + WARNING.encode() + b'"', 1)
        return reply
    code = fault.errcode
    if code is None and fault.carries_out:
        return pipeline.answer(world, name, api_request)
    code = -1 if code is None else code
    return failure(code, TEXTS.get(code, "invalid request"), ip=api_request.ip, now=world.now())


async def spoil(request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse:
    """Answer as the fault wants it."""
    if fault.kind in ("close_before", "close_after"):
        return _close(request)
    if fault.kind == "hang":
        await _wait_for_caller(request, fault.seconds or _HANG_SECONDS)
        return _close(request)
    if fault.kind in ("http_500", "html"):
        return _page(fault.kind)
    if fault.kind == "broken_json":
        reply.body = reply.body[: max(1, len(reply.body) // 2)]
    elif fault.kind == "slow":
        await _wait_for_caller(request, fault.seconds or _SLOW_SECONDS)
    elif fault.kind == "drip":
        return await _drip(request, reply, fault.seconds or _DRIP_SECONDS)
    return response(reply)


def _revoke(world: World, api_request: Request, code: int) -> None:
    value = api_request.query.get("access_token", "")
    token = world.tokens.get(value)
    if token is None:
        return
    if code == 42001:
        token.expires_at = world.now()
    else:
        del world.tokens[value]


def _close(request: web.Request) -> web.Response:
    """Cut the connection; the response that is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=204)


def _page(kind: str) -> web.Response:
    status, title = (500, "500 Internal Server Error") if kind == "http_500" else (200, "Welcome to nginx!")
    return web.Response(text=_PAGE.format(title=title), status=status, content_type="text/html", headers=_HEADERS)


async def _wait_for_caller(request: web.Request, seconds: float) -> None:
    """Wait, but no longer than the caller does."""
    deadline = asyncio.get_running_loop().time() + seconds
    while request.transport is not None and not request.transport.is_closing():
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return
        await asyncio.sleep(min(left, 0.1))


async def _drip(request: web.Request, reply: Reply, seconds: float) -> web.StreamResponse:
    stream = web.StreamResponse(headers=_headers(reply))
    stream.content_length = len(reply.body)
    await stream.prepare(request)
    for index in range(len(reply.body)):
        await stream.write(reply.body[index : index + 1])
        await _wait_for_caller(request, seconds)
    return stream
