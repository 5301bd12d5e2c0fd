"""The control interface's own description, made of its routes: GET /sandbox/api/openapi.json."""

from __future__ import annotations

import inspect
import re
from typing import Any

from aiohttp import web

from wecom_sandbox import __version__
from wecom_sandbox.control.routes import JSON, ROUTES, Route, route
from wecom_sandbox.control.schemas import ANY_OBJECT, INTEGER, TEXT, Schema, an_object
from wecom_sandbox.state.world import World

_NUMBERS = frozenset({"agentid", "id"})
_ERROR = an_object(["error"], error=TEXT)
_REFUSALS = {"400": "What was sent cannot be used: the text names the field.", "404": "There is no such thing."}


@route("GET", "openapi.json")
async def get_document(request: web.Request, world: World, document: object) -> object:
    """This document."""
    return describe()


def describe() -> dict[str, Any]:
    """The OpenAPI document of all routes."""
    paths: dict[str, dict[str, Any]] = {}
    for one in ROUTES:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Control interface of wecom-sandbox",
            "version": __version__,
            "description": "What a test does to the sandbox. The sandbox also answers WeCom's own API under /cgi-bin/.",
        },
        "paths": paths,
    }


def _operation(one: Route) -> dict[str, Any]:
    summary = " ".join((inspect.getdoc(one.handler) or "").split())
    found: dict[str, Any] = {
        "operationId": one.handler.__name__,
        "summary": summary,
        "parameters": [_in_path(name) for name in re.findall(r"{(\w+)}", one.path)]
        + [{"name": name, "in": "query", "schema": schema} for name, schema in one.query.items()],
        "responses": {"200": _content(summary, one.answer, one.media_type if one.method == "GET" else JSON)}
        | {status: _content(text, _ERROR) for status, text in _REFUSALS.items()},
    }
    if one.method != "GET":
        found["requestBody"] = {"required": True, "content": {one.media_type: {"schema": one.body}}}
        found["responses"]["415"] = _content(f"Content-Type must be {one.media_type}.", _ERROR)
    return found


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": INTEGER if name in _NUMBERS else TEXT}


def _content(description: str, schema: Schema, media_type: str = JSON) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema or ANY_OBJECT}}}
