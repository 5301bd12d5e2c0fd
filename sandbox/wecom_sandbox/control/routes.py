"""Routes of the control interface: JSON in and out, errors as {"error": …}."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from wecom_sandbox.callbacks.clicks import ImpossibleAction
from wecom_sandbox.http import bodies
from wecom_sandbox.http.typed import read_integer
from wecom_sandbox.messages.inbox import Page, Ring, T
from wecom_sandbox.state.directory import Member
from wecom_sandbox.state.world import WORLD, App, Company, World

Handler = Callable[[web.Request, World, Any], Awaitable[object]]
# Rows of one answer: the default, and the most.
_ROWS, _ROWS_MOST = 1000, 10_000
JSON, LINES = "application/json", "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Route:
    """Route of one call. `media_type` LINES: one document per line; the handler itself reads or writes them."""

    method: str
    path: str
    handler: Handler
    media_type: str = JSON


ROUTES: list[Route] = []


def route(method: str, path: str, *, media_type: str = JSON) -> Callable[[Handler], Handler]:
    """Register a handler as a call."""

    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, f"/sandbox/api/{path}", handler, media_type))
        return handler

    return register


def add_routes(app: web.Application) -> None:
    for one in ROUTES:
        app.router.add_route(one.method, one.path, _make_http_handler(one.handler, one.media_type))


def _make_http_handler(handler: Handler, media_type: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Make an HTTP handler: JSON (or lines) in and out; ValueError is 400, KeyError 404, with {"error": …}."""

    async def answer(request: web.Request) -> web.StreamResponse:
        document: object = None
        if request.method != "GET" and request.content_type != media_type:
            return _make_response({"error": f"Content-Type must be {media_type}"}, 415)
        if request.method != "GET" and media_type == JSON:
            try:
                document = bodies.parse_json(await request.read() or b"null")
            except ValueError:
                return _make_response({"error": "the body is not JSON"}, 400)
        try:
            result = await handler(request, request.app[WORLD], document)
            return result if isinstance(result, web.StreamResponse) else _make_response(result, 200)
        except (ValueError, ImpossibleAction) as error:
            return _make_response({"error": str(error)}, 400)
        except KeyError as error:
            return _make_response({"error": f"there is no {error.args[0] if error.args else 'such thing'}"}, 404)

    return answer


def _make_response(document: object, status: int) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


def read_page(request: web.Request, ring: Ring[T], wanted: Callable[[T], bool] = lambda row: True) -> Page[T]:
    """Return the rows that ?after= and ?limit= ask for. Raise ValueError."""
    limit = _read_query_number(request, "limit", _ROWS)
    if not 1 <= limit <= _ROWS_MOST:
        raise ValueError(f"limit must be between 1 and {_ROWS_MOST}")
    return ring.page(_read_query_number(request, "after", 0), limit, wanted)


def make_page_json(name: str, page: Page[T], as_json: Callable[[T], object]) -> dict[str, object]:
    """Return a page for `make_large_response`, which makes the rows. `after`: start of the next page; `more`:
    whether that has rows already; `missed`: the number of rows dropped since the last page."""
    rows = map(as_json, page.rows)
    return {name: rows, "after": page.after, "more": page.more, "missed": page.missed}


def _read_query_number(request: web.Request, name: str, default: int) -> int:
    """Return a whole number of zero or more. Raise ValueError."""
    text = request.query.get(name, "")
    number = read_integer(text) if text else default
    if number is None or number < 0:
        raise ValueError(f"{name} must be a whole number of zero or more")
    return number


def find_company(request: web.Request, world: World) -> Company:
    """Return the company in the path. Raise KeyError."""
    return world.companies[request.match_info["corpid"]]


def find_app(request: web.Request, world: World) -> App:
    """Return the app in the path. Raise KeyError."""
    return find_company(request, world).apps[read_path_id(request, "agentid")]


def find_person(request: web.Request, world: World) -> tuple[Company, Member]:
    """Return company and member in the path. Raise KeyError."""
    company = find_company(request, world)
    member = company.directory.find(request.match_info["userid"])
    if member is None:
        raise KeyError(request.match_info["userid"])
    return company, member


def read_path_id(request: web.Request, name: str) -> int:
    """Return the number in the path. Raise KeyError if it is none."""
    text = request.match_info[name]
    if not text.isdecimal() or len(text) > 12:
        raise KeyError(text)
    return int(text)


def read_list(document: object) -> list[object]:
    if not isinstance(document, list):
        raise ValueError("the body must be a list")
    return document


def read_object(document: object, *names: str) -> dict[str, Any]:
    """Return the body as an object that has no other names than these. Raise ValueError."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"the body must be an object of {', '.join(names)}")
    unknown = sorted(set(document) - set(names))
    if unknown:
        raise ValueError(f"the body must be an object of {', '.join(names)}; it has {', '.join(unknown)}")
    return document


def read_text(values: dict[str, Any], name: str) -> str:
    """Return a text of the body, or the digits of a number; "" if absent. Raise ValueError."""
    value = values.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name} must be a text")
    return str(value)


def read_number(values: dict[str, Any], name: str) -> int:
    """Return a whole number of the body; 0 if absent. Raise ValueError."""
    value = values.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number")
    return value


def read_flag(values: dict[str, Any], name: str) -> bool:
    """Return a boolean of the body; False if absent. Raise ValueError."""
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value
