"""How the control interface answers: JSON in and out, errors as {"error": …}."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from aiohttp import web

from wecom_sandbox import __version__
from wecom_sandbox.callbacks.clicks import Impossible
from wecom_sandbox.http import bodies
from wecom_sandbox.http.typed import read_integer
from wecom_sandbox.limits.limits import GIVEN, KINDS, Fault
from wecom_sandbox.messages.inbox import Page, Ring, T
from wecom_sandbox.settings import Settings
from wecom_sandbox.state import administration
from wecom_sandbox.state.bi import Bi
from wecom_sandbox.state.directory import Department, Member, Tag
from wecom_sandbox.state.world import WORLD, App, Company, Robot, World

Schema = dict[str, Any]
_PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    object: {},
}
TEXT, INTEGER, NUMBER, FLAG = (_PLAIN[kind] for kind in (str, int, float, bool))
TEXT_OR_INTEGER: Schema = {"type": ["string", "integer"]}
ANY_OBJECT: Schema = {"type": "object"}
# The query of a list.
PAGE: dict[str, Schema] = {"after": {"type": "integer", "minimum": 0}, "limit": {"type": "integer", "minimum": 1}}


def an_object(required: Iterable[str] = (), **properties: Schema) -> Schema:
    """An object of these fields and no others."""
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})


def rows(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def page(name: str) -> Schema:
    """An answer of rows: `after` is asked for next."""
    return an_object(**{name: rows(ANY_OBJECT)}, after=INTEGER, more=FLAG, missed=INTEGER)


def of(cls: type, *, only: Iterable[str] | None = None, required: Iterable[str] | None = None) -> Schema:
    """The public fields of a dataclass, or `only` these of them; `required` unless told: those without a default."""
    hints = get_type_hints(cls)
    wanted = set(hints) if only is None else set(only)
    public = [one for one in fields(cls) if not one.name.startswith("_") and one.name in wanted]
    needed = [one.name for one in public if one.default is MISSING and one.default_factory is MISSING]
    properties = {one.name: _schema(hints[one.name]) for one in public}
    return an_object(needed if required is None else required, **properties)


def _schema(hint: Any) -> Schema:
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        inner = _schema(next(one for one in arguments if one is not type(None)))
        return {"anyOf": [inner, {"type": "null"}]}
    if get_origin(hint) is list:
        return rows(_schema(arguments[0]))
    if get_origin(hint) is dict:
        return ANY_OBJECT
    return of(hint) if is_dataclass(hint) and isinstance(hint, type) else _PLAIN[hint]


DEPARTMENTS, MEMBERS, TAGS, ROBOTS, APPS = (
    rows(of(cls, only=only, required=[key]))
    for cls, key, only in (
        (Department, "id", None),
        (Member, "userid", None),
        (Tag, "tagid", None),
        (Robot, "key", None),
        (App, "agentid", administration.APP_FIELDS),
    )
)
COMPANY_CHANGES = of(Company, only=administration.COMPANY_FIELDS - {"corpid"}, required=())
COMPANY = of(Company, only=administration.COMPANY_FIELDS)
COMPANY["properties"] |= {
    **{"departments": DEPARTMENTS, "members": MEMBERS, "tags": TAGS},
    **{"apps": APPS, "robots": ROBOTS},
}
APP_CHANGES = of(App, only=administration.APP_FIELDS - {"agentid"}, required=())
SETTINGS = of(Settings, required=())
BI = of(Bi)
SEED = an_object(["companies"], companies=rows(COMPANY), bi=BI, settings=SETTINGS)
FAULT = of(Fault, only=GIVEN)
FAULT["properties"]["kind"] = {"enum": list(KINDS)}


Handler = Callable[[web.Request, World, Any], Awaitable[object]]
# Rows of one answer: unless another number is asked for, and at most.
_ROWS, _ROWS_MOST = 1000, 10_000
JSON, LINES = "application/json", "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Route:
    """One call, with the JSON Schemas of its body, of the parameters in its query, and of its answer.

    `media_type` LINES: many documents, a line each, which the handler reads or writes by itself.
    """

    method: str
    path: str
    handler: Handler
    body: dict[str, Any]
    query: dict[str, dict[str, Any]]
    answer: dict[str, Any]
    media_type: str = JSON


ROUTES: list[Route] = []


def route(
    method: str,
    path: str,
    *,
    body: dict[str, Any] | None = None,
    query: dict[str, dict[str, Any]] | None = None,
    answer: dict[str, Any] | None = None,
    media_type: str = JSON,
) -> Callable[[Handler], Handler]:
    """Make a handler a call; the schemas stand in the OpenAPI document. Without `body` any object will do."""
    anything = {"type": "object"}

    def register(handler: Handler) -> Handler:
        schemas = (body or anything, query or {}, answer or anything)
        ROUTES.append(Route(method, f"/sandbox/api/{path}", handler, *schemas, media_type))
        return handler

    return register


def add_routes(app: web.Application) -> None:
    for one in ROUTES:
        app.router.add_route(one.method, one.path, _as_http(one.handler, one.media_type))


def _as_http(handler: Handler, media_type: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """JSON in and out (or lines of it); ValueError is 400, KeyError 404, both with {"error": …}."""

    async def answer(request: web.Request) -> web.StreamResponse:
        document: object = None
        if request.method != "GET" and request.content_type != media_type:
            return _answer({"error": f"Content-Type must be {media_type}"}, 415)
        if request.method != "GET" and media_type == JSON:
            try:
                document = bodies.loads(await request.read() or b"null")
            except ValueError:
                return _answer({"error": "the body is not JSON"}, 400)
        try:
            result = await handler(request, request.app[WORLD], document)
            return result if isinstance(result, web.StreamResponse) else _answer(result, 200)
        except (ValueError, Impossible) as error:
            return _answer({"error": str(error)}, 400)
        except KeyError as error:
            return _answer({"error": f"there is no {error.args[0] if error.args else 'such thing'}"}, 404)

    return answer


def _answer(document: object, status: int) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


def page_of(request: web.Request, ring: Ring[T], wanted: Callable[[T], bool] = lambda row: True) -> Page[T]:
    """The rows that ?after= and ?limit= ask for. Raises ValueError."""
    limit = _in_query(request, "limit", _ROWS)
    if not 1 <= limit <= _ROWS_MOST:
        raise ValueError(f"limit must be between 1 and {_ROWS_MOST}")
    return ring.page(_in_query(request, "after", 0), limit, wanted)


def page_as_json(name: str, page: Page[T], as_json: Callable[[T], object]) -> dict[str, object]:
    """For `large_answer`, which makes the rows.

    `after` is asked for next; `more`: there are rows already. `missed`: rows that fell out since the last page.
    """
    rows = map(as_json, page.rows)
    return {name: rows, "after": page.after, "more": page.more, "missed": page.missed}


def _in_query(request: web.Request, name: str, default: int) -> int:
    """A whole number of zero or more. Raises ValueError."""
    text = request.query.get(name, "")
    number = read_integer(text) if text else default
    if number is None or number < 0:
        raise ValueError(f"{name} must be a whole number of zero or more")
    return number


def company_of(request: web.Request, world: World) -> Company:
    """The company in the path. Raises KeyError."""
    return world.companies[request.match_info["corpid"]]


def app_of(request: web.Request, world: World) -> App:
    """The app in the path. Raises KeyError."""
    return company_of(request, world).apps[number_in_path(request, "agentid")]


def person_of(request: web.Request, world: World) -> tuple[Company, Member]:
    """Company and member in the path. Raises KeyError."""
    company = company_of(request, world)
    member = company.directory.find(request.match_info["userid"])
    if member is None:
        raise KeyError(request.match_info["userid"])
    return company, member


def number_in_path(request: web.Request, name: str) -> int:
    """Raises KeyError for something that is no number."""
    text = request.match_info[name]
    if not text.isdecimal() or len(text) > 12:
        raise KeyError(text)
    return int(text)


def as_list(document: object) -> list[object]:
    if not isinstance(document, list):
        raise ValueError("the body must be a list")
    return document


def as_object(document: object, *names: str) -> dict[str, Any]:
    """The body as an object that has no other names than these."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"the body must be an object of {', '.join(names)}")
    unknown = sorted(set(document) - set(names))
    if unknown:
        raise ValueError(f"the body must be an object of {', '.join(names)}; it has {', '.join(unknown)}")
    return document


def text_of(values: dict[str, Any], name: str) -> str:
    """A text of the body, or the digits of a number; "" when absent. Raises ValueError."""
    value = values.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name} must be a text")
    return str(value)


def number_of(values: dict[str, Any], name: str) -> int:
    """A whole number of the body; 0 when absent. Raises ValueError."""
    value = values.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number")
    return value


def flag_of(values: dict[str, Any], name: str) -> bool:
    """true or false of the body; false when absent. Raises ValueError."""
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


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
