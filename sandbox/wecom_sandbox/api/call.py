"""One call of the API, and the register of the calls that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

from wecom_sandbox.errors import ApiError
from wecom_sandbox.http import strict_json, typed
from wecom_sandbox.http.digits import read_integer
from wecom_sandbox.http.envelope import Reply
from wecom_sandbox.state.world import App, Company, World

Json = dict[str, object]
T = TypeVar("T")
APP, CONTACTS = "app", "contacts"
WARNING = "Warning: wrong json format. "
# Objects and lists in each other: less than a snapshot takes back, which has others around them.
_DEPTH_MOST = 16


@dataclass(slots=True)
class Request:
    """What came over the wire, without a web server's types."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    ip: str
    content_type: str = ""
    # Where the sandbox is reached, for addresses in answers; without slash at its end.
    base_url: str = ""
    range: str = ""


@dataclass(slots=True)
class Call:
    """A request whose token was accepted. `app` None: the directory-sync assistant's token."""

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
        """The token's app. Only for calls that are not open to the sync assistant."""
        if self.app is None:
            raise ApiError(48002)
        return self.app

    @property
    def document(self) -> Json:
        """The body. WeCom's parser is lenient: what can be read is carried out, with a warning. Raises ApiError."""
        if self._document is None:
            self._document, clean = read_body(self.request.body)
            self.warning = "" if clean else WARNING
        return self._document

    def text(self, name: str, *, missing: int = 0) -> str:
        """A text of the body; "" when absent, or ApiError `missing`. A number is taken as its digits."""
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
        """A number of the body; `default` when absent or "" (some programs send that). Raises ApiError 40058."""
        value = self.document.get(name, "")
        return default if value is None or value == "" else as_int(value, name)

    def flag(self, name: str, wrong: int = 40058) -> int:
        """0 or 1 of the body, 0 when absent. Raises ApiError `wrong` for another number."""
        value = self.number(name)
        if value not in (0, 1):
            raise ApiError(wrong, f"invalid Request Parameter: {name}" if wrong == 40058 else "")
        return value


@dataclass(frozen=True, slots=True)
class Endpoint:
    methods: tuple[str, ...]
    path: str
    handler: Callable[[Call], Json | Reply]
    rights: frozenset[str]
    # List fields that are answered empty beside an error.
    empty: tuple[str, ...] = ()
    # Calls that do not count in the basic frequency.
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
    """Register a call. `path` without /cgi-bin/; `rights`: whose token may make it."""

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
    """The JSON object of a body, and whether it was clean. Raises ApiError 40033, 40058 or 40063."""
    if not body.strip():
        raise ApiError(40063)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ApiError(40033) from error
    document: object
    try:
        document, clean = strict_json.loads(text), True
    except UnicodeEncodeError as error:
        raise ApiError(40033) from error
    except ValueError:
        document, clean = _read_leniently(text), False
    if not isinstance(document, dict):
        raise ApiError(40058, "invalid Request Parameter: body should be a json object")
    _check_depth(text, document)
    return document, clean


def _check_depth(text: str, document: Json) -> None:
    """Raises ApiError 40058. Most bodies have so few brackets that they need not be looked into."""
    if text.count("{") + text.count("[") <= _DEPTH_MOST:
        return
    try:
        typed.check_depth(document, "body", most=_DEPTH_MOST)
    except ValueError as error:
        raise ApiError(40058, f"invalid Request Parameter: {error}") from error


def _read_leniently(text: str) -> object:
    """An object with rubbish behind it, raw line ends in its strings, a byte order mark, or a form field."""
    start = text.find("{")
    if start >= 0:
        try:
            return strict_json.load_at(text, start)
        except UnicodeEncodeError as error:
            raise ApiError(40033) from error
        except ValueError:
            pass
    form = dict(parse_qsl(text, keep_blank_values=True)) if "=" in text and start < 0 else {}
    if not form:
        raise ApiError(40058, f"{WARNING}invalid Request Parameter")
    return form


def as_int(value: object, name: str) -> int:
    """An int of 64 bits, or a text of digits as some programs send it. Raises ApiError 40058."""
    if isinstance(value, bool):
        return int(value)
    number = read_integer(value.strip()) if isinstance(value, str) else value
    if isinstance(number, int) and -(2**63) <= number < 2**63:
        return number
    raise ApiError(40058, f"invalid Request Parameter: {name} should be integer")


def texts(value: object, name: str, *, most: int, too_many: int = 40035) -> list[str]:
    """A JSON array of texts. Raises ApiError 40035 for another type, `too_many` for too many."""
    return _array(value, name, str, most=most, too_many=too_many)


def numbers(value: object, name: str, *, most: int, too_many: int = 40035) -> list[int]:
    """A JSON array of numbers, not of their digits. Raises ApiError 40035 for another type, `too_many` for too many."""
    return _array(value, name, int, most=most, too_many=too_many)


def _array(value: object, name: str, kind: type[T], *, most: int, too_many: int) -> list[T]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        raise ApiError(40035, f"invalid parameter: {name} should be array of {kind.__name__}")
    if len(value) > most:
        raise ApiError(too_many)
    return list(value)
