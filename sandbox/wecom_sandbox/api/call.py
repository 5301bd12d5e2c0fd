"""Calls of WeCom's API: the registry of endpoints, and the checks that all calls share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

from wecom_sandbox.api import load_endpoints
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import bodies, typed
from wecom_sandbox.http.envelope import Reply, make_failure, make_success
from wecom_sandbox.http.typed import read_integer
from wecom_sandbox.state.world import App, Company, Token, World

Json = dict[str, object]
T = TypeVar("T")
APP, CONTACTS = "app", "contacts"
WARNING = "Warning: wrong json format. "
# Most levels of nested objects and lists. A snapshot may have more, since it wraps documents in others.
_DEPTH_MOST = 16


@dataclass(slots=True)
class Request:
    """A request of WeCom's API, independent of the web server."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    ip: str
    content_type: str = ""
    range: str = ""


@dataclass(slots=True)
class Call:
    """A request with an accepted token. `app` None: the directory-sync assistant's token."""

    world: World
    request: Request
    now: float
    company: Company
    app: App | None
    warning: str = ""
    _document: Json | None = field(default=None)

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def own_app(self) -> App:
        """The token's app. Raises ApiError 48002 for the sync assistant, which has none."""
        if self.app is None:
            raise ApiError(48002)
        return self.app

    @property
    def document(self) -> Json:
        """The body as an object. Like WeCom's parser, it accepts damaged JSON with a warning. Raises ApiError."""
        if self._document is None:
            self._document, clean = read_body(self.request.body)
            self.warning = "" if clean else WARNING
        return self._document

    def text(self, name: str, *, missing: int = 0) -> str:
        """Return a text of the body; "" if absent, or raise ApiError `missing`. A number is read as its digits."""
        value = self.document.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None or value == "":
            if missing:
                raise ApiError(missing)
            return ""
        if not isinstance(value, str):
            raise ApiError(40058, f"invalid Request Parameter: {name} should be string")
        return value

    def number(self, name: str, default: int = 0) -> int:
        """Return a number of the body; `default` if absent or "" (some programs send that). Raise ApiError 40058."""
        value = self.document.get(name, "")
        return default if value is None or value == "" else read_int(value, name)

    def flag(self, name: str, errcode: int = 40058) -> int:
        """Return 0 or 1 of the body, 0 if absent. Raise ApiError `errcode` for another number."""
        value = self.number(name)
        if value not in (0, 1):
            raise ApiError(errcode, f"invalid Request Parameter: {name}" if errcode == 40058 else "")
        return value


@dataclass(frozen=True, slots=True)
class Endpoint:
    methods: tuple[str, ...]
    path: str
    handler: Callable[[Call], Json | Reply]
    rights: frozenset[str]
    # List fields that are empty in an error's answer.
    empty: tuple[str, ...] = ()
    # False for calls that do not count in the basic frequency.
    counted: bool = True


@dataclass(frozen=True, slots=True)
class OpenEndpoint:
    """A call without a token: gettoken and the group robots."""

    methods: tuple[str, ...]
    path: str
    handler: Callable[[World, Request, float], Json | Reply]


ENDPOINTS: dict[str, Endpoint] = {}
OPEN_ENDPOINTS: dict[str, OpenEndpoint] = {}


def endpoint(
    method: str, path: str, *rights: str, empty: tuple[str, ...] = (), counted: bool = True
) -> Callable[[Callable[[Call], Json | Reply]], Callable[[Call], Json | Reply]]:
    """Register a call. `path`: without /cgi-bin/; `rights`: kinds of tokens that may make it."""

    def register(handler: Callable[[Call], Json | Reply]) -> Callable[[Call], Json | Reply]:
        ENDPOINTS[path] = Endpoint((method,), path, handler, frozenset(rights), empty, counted)
        return handler

    return register


def open_endpoint(
    methods: tuple[str, ...], path: str
) -> Callable[[Callable[[World, Request, float], Json | Reply]], Callable[[World, Request, float], Json | Reply]]:
    def register(
        handler: Callable[[World, Request, float], Json | Reply],
    ) -> Callable[[World, Request, float], Json | Reply]:
        OPEN_ENDPOINTS[path] = OpenEndpoint(methods, path, handler)
        return handler

    return register


def read_body(body: bytes) -> tuple[Json, bool]:
    """Return the JSON object of a body, and whether it was clean. Raise ApiError 40033, 40058 or 40063."""
    if not body.strip():
        raise ApiError(40063)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ApiError(40033) from error
    document: object
    try:
        document, clean = bodies.parse_json(text), True
    except UnicodeEncodeError as error:
        raise ApiError(40033) from error
    except ValueError:
        document, clean = _read_leniently(text), False
    if not isinstance(document, dict):
        raise ApiError(40058, "invalid Request Parameter: body should be a json object")
    _check_depth(text, document)
    return document, clean


def _check_depth(text: str, document: Json) -> None:
    """Raise ApiError 40058 for deep nesting. Most bodies have too few brackets to need the check."""
    if text.count("{") + text.count("[") <= _DEPTH_MOST:
        return
    try:
        typed.check_depth(document, "body", most=_DEPTH_MOST)
    except ValueError as error:
        raise ApiError(40058, f"invalid Request Parameter: {error}") from error


def _read_leniently(text: str) -> object:
    """Read an object with text before or after it or raw line ends in its strings; or else form fields."""
    start = text.find("{")
    if start >= 0:
        try:
            return bodies.parse_json_at(text, start)
        except UnicodeEncodeError as error:
            raise ApiError(40033) from error
        except ValueError:
            pass
    form = dict(parse_qsl(text, keep_blank_values=True)) if "=" in text and start < 0 else {}
    if not form:
        raise ApiError(40058, f"{WARNING}invalid Request Parameter")
    return form


def read_int(value: object, name: str) -> int:
    """Return an int of 64 bits, also from a text of digits as some programs send it. Raise ApiError 40058."""
    if isinstance(value, bool):
        return int(value)
    number = read_integer(value.strip()) if isinstance(value, str) else value
    if isinstance(number, int) and -(2**63) <= number < 2**63:
        return number
    raise ApiError(40058, f"invalid Request Parameter: {name} should be integer")


def read_array(value: object, name: str, kind: type[T], *, most: int, too_many: int = 40035) -> list[T]:
    """Return a JSON array of `kind`, [] if absent. Raise ApiError 40035 for another type, `too_many` for too many."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        raise ApiError(40035, f"invalid parameter: {name} should be array of {kind.__name__}")
    if len(value) > most:
        raise ApiError(too_many)
    return list(value)


# Called here, because the modules of the endpoints import the names above.
load_endpoints()
# Most characters of an unverified corpid that the log of calls stores.
_CORPID_MOST = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller that the token names; "" and None if unknown."""

    corpid: str = ""
    agentid: int | None = None


def find_endpoint_name(path: str) -> str | None:
    """Return the path without /cgi-bin/, or None if there is no such call."""
    name = path.removeprefix("/cgi-bin/")
    return name if name in ENDPOINTS or name in OPEN_ENDPOINTS else None


def find_caller(world: World, request: Request) -> Caller:
    token = world.tokens.get(request.query.get("access_token", ""))
    return Caller(token.corpid, token.agentid) if token else Caller(request.query.get("corpid", "")[:_CORPID_MOST])


def answer(world: World, name: str, request: Request) -> Reply:
    """Carry out a call. `name`: from `find_endpoint_name`."""
    now = world.now()
    empty: dict[str, object] = {}
    call: Call | None = None
    try:
        opened = OPEN_ENDPOINTS.get(name)
        if opened is not None:
            _check_method(opened.methods, request.method)
            _check_debug(world, request.query.get("corpid", ""), request, now)
            return _make_reply(opened.handler(world, request, now), "")
        endpoint = ENDPOINTS[name]
        empty = {field: [] for field in endpoint.empty}
        call = _admit(world, endpoint, request, now)
        return _make_reply(endpoint.handler(call), call.warning)
    except ApiError as error:
        fields, warning = {**empty, **error.fields}, call.warning if call is not None else ""
        return make_failure(error.code, error.text, ip=request.ip, now=now, fields=fields, warning=warning)


def _make_reply(result: dict[str, object] | Reply, warning: str) -> Reply:
    return result if isinstance(result, Reply) else make_success(result, warning=warning)


def _admit(world: World, endpoint: Endpoint, request: Request, now: float) -> Call:
    """Make the checks that all calls share. Raise ApiError."""
    _check_method(endpoint.methods, request.method)
    token = _check_token(world, request.query.get("access_token", ""), now)
    company = world.companies[token.corpid]
    app = None if token.agentid is None else company.apps[token.agentid]
    _check_ip(world, app, request.ip, now)
    if (CONTACTS if app is None else APP) not in endpoint.rights:
        raise ApiError(48002)
    _check_debug(world, token.corpid, request, now)
    if endpoint.counted:
        world.limits.check_call(corpid=token.corpid, ip=request.ip, api=endpoint.path, now=now)
    return Call(world, request, now, company, app)


def _check_method(expected: tuple[str, ...], actual: str) -> None:
    if actual not in expected:
        raise ApiError(40058 if expected == ("POST",) else 40063)


def _check_token(world: World, value: str, now: float) -> Token:
    if not value:
        raise ApiError(41001)
    token = world.tokens.get(value)
    if token is None or token.corpid not in world.companies:
        raise ApiError(40014)
    if now >= token.expires_at:
        raise ApiError(42001)
    _check_owner(world.companies[token.corpid], token)
    return token


def _check_owner(company: Company, token: Token) -> None:
    """Raise ApiError if the token's secret was reset or its app is disabled."""
    if token.agentid is None:
        secret = company.contacts_secret
    else:
        app = company.apps.get(token.agentid)
        if app is None:
            raise ApiError(40014)
        if app.disabled:
            raise ApiError(50003)
        secret = app.secret
    if secret != token.secret:
        raise ApiError(40001)


def _check_ip(world: World, app: App | None, ip: str, now: float) -> None:
    if app is None or (app.trusted_ips is None and not world.settings.trusted_ips_required):
        return
    if ip not in (app.trusted_ips or ()) or now < app.ip_effective_at.get(ip, 0.0):
        raise ApiError(60020)


def _check_debug(world: World, corpid: str, request: Request, now: float) -> None:
    """Count a call with debug=1 under its own limit, also if it is exempt from the basic frequency."""
    if request.query.get("debug") == "1" and corpid in world.companies:
        world.limits.check_debug(corpid, now=now)
