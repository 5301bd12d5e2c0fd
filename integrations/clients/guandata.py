"""Client of the BI's public API. Sources: docs.guandata.com and public clients, as docs/en/bi-sign-on.md says.

The client is constructed from plain values and does not import Django. The BI reports success in `result`, never in
the HTTP status. No error carries an address or a secret. There are two credentials: a login, for the data of cards,
and an app token made in the platform, for pages. Every call here reads, so the caller may repeat it after an unclear
failure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import requests

from integrations.clients.errors import (
    ConfigurationError,
    IntegrationError,
    Observe,
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
    ignore_call,
    observe_call,
)
from integrations.clients.network import CONTENT_BYTES_AT_MOST
from integrations.clients.transport import Reply, Route, total_deadline
from integrations.clients.wecom.calls import AnswerError, objects, optional_text, text
from integrations.clients.wecom.tokens import FetchedToken, TokenStore, TrialTokens


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard. `page_id`: the id in its address."""

    page_id: str
    name: str
    kind: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A card of a page. `kind`: the BI's name, such as CHART, TEXT or SELECTOR."""

    card_id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class CardPart:
    """A part of a card's data. `chart`: the raw chartMain, whose header differs by the kind of the card."""

    chart: Mapping[str, Any] = field(repr=False)
    row_count: int
    has_more: bool


# Parsers of answers. They raise AnswerError.


def token_from(response: Any) -> str:
    return text(_object(response, "response"), "token")


def pages_from(response: Any) -> list[Page]:
    """Return the pages that the account may see, deleted ones included."""
    return [
        Page(text(row, "pgId"), optional_text(row, "name"), optional_text(row, "pgType"), bool(row.get("isDel")))
        for row in objects({"response": response}, "response", required=True)
    ]


def cards_from(response: Any) -> list[Card]:
    rows = objects(_object(response, "response"), "cards", required=True)
    return [Card(text(row, "cdId"), optional_text(row, "name"), optional_text(row, "cdType")) for row in rows]


def card_part_from(response: Any) -> CardPart:
    chart = _object(_object(response, "response").get("chartMain"), "chartMain")
    rows = chart.get("data")
    if not isinstance(rows, list):
        raise AnswerError("data is no list")
    return CardPart(chart, len(rows), chart.get("hasMoreData") is True)


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"{name} is no object")
    return value


SYSTEM = "guandata"
SIGN_IN = "sign_in"
CLIPPED_CHARACTERS = 300
# The BI does not say how long to wait.
RETRY_SECONDS = 60
NOT_ADMITTED = frozenset({int(HTTPStatus.UNAUTHORIZED), int(HTTPStatus.FORBIDDEN)})


class NotAdmittedError(ConfigurationError):
    """The BI refuses the token. The client retries once with a new token; callers see a ConfigurationError."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of ours. No error shows its `secrets`, even if the other side repeats them."""

    operation: str
    secrets: tuple[str, ...] = field(repr=False)

    def error(self, cls: type[IntegrationError], message: str, **known: Any) -> IntegrationError:
        """Make an error of this call. Secrets are removed from `message`, and a long one is cut."""
        return cls(self.scrubbed(message), system=SYSTEM, operation=self.operation, **known)

    def scrubbed(self, text: str) -> str:
        """Return `text` without the secrets, at most CLIPPED_CHARACTERS characters."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "***")
        return text[:CLIPPED_CHARACTERS]


def response_of(request: Request, status: int, content: bytes) -> Any:
    """Return `response` of an answer whose `result` is ok. Raises the matching error for any other answer."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and answer.get("result") == "ok":
        return answer.get("response")
    if status in NOT_ADMITTED or _error_status(answer) in NOT_ADMITTED:
        raise request.error(NotAdmittedError, _said(answer) or "the BI refuses the token", code=status)
    if isinstance(answer, dict) and answer.get("result") == "fail":
        cls = ConfigurationError if request.operation == SIGN_IN else UnexpectedResponseError
        raise request.error(cls, _said(answer) or "the BI refuses without saying why", code=_error_status(answer))
    clipped = request.scrubbed(content[: 4 * CLIPPED_CHARACTERS].decode(errors="replace"))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise request.error(
            RateLimitedError, f"HTTP status {status}", answer=clipped, retry_after_seconds=RETRY_SECONDS
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise request.error(TransientError, f"HTTP status {status}", answer=clipped)
    raise request.error(UnexpectedResponseError, f"not an answer of the BI (HTTP status {status})", answer=clipped)


def _error_status(answer: Any) -> int | None:
    error = answer.get("error") if isinstance(answer, dict) else None
    status = error.get("status") if isinstance(error, dict) else None
    return status if isinstance(status, int) and not isinstance(status, bool) else None


def _said(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else ""


T = TypeVar("T")

# The BI's tokens belong to no application.
NO_APPLICATION = 0
# The BI gives no time zone with a token's end, so we limit its life by our own clock to ten minutes.
TOKEN_SECONDS = 600
ROWS_AT_ONCE = 200
# The client refuses a card with more rows: no message and no page shows them.
ROWS_AT_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Login:
    """A BI user for calling the API. `name`: the login name, or the e-mail if users sign in with it."""

    domain: str
    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a card's data. `name`: the original column, not its alias. `kind`: EQ, BT, IN and the like."""

    name: str
    kind: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class _Call:
    operation: str
    path: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class GuandataClient:
    """Client of the BI. `session`: from transport.open_session. `connect_seconds`: for each address of the host;
    `total_seconds`: for a whole call. `ca_bundle`: path of a file of certificates. Raises only errors of
    integrations.clients.errors.
    """

    def __init__(
        self,
        *,
        base_url: str,
        session: requests.Session,
        token_store: TokenStore | TrialTokens,
        login: Login | None = None,
        app_token: str = "",
        proxy: str = "",
        ca_bundle: str | None = None,
        connect_seconds: float = 3.05,
        total_seconds: float = 20.0,
        observe: Observe = ignore_call,
    ) -> None:
        self._route = Route(session, system=SYSTEM, connect_seconds=connect_seconds, proxy=proxy, ca_bundle=ca_bundle)
        self._base_url = base_url.rstrip("/")
        self._tokens = token_store
        self._observe = observe
        self._login = login
        self._app_token = app_token
        self._total_seconds = total_seconds

    def __repr__(self) -> str:
        return "GuandataClient()"

    def fetch_token(self) -> None:
        """Make sure that a token is stored; fetch one if not. Raises ConfigurationError for a wrong login."""
        self._token()

    def open_page(self, page: str) -> Reply:
        """Return how the BI answers a browser at `page`, whatever the status. No cookies, redirections or API token.

        `page`: a path with its query. It may hold a sign-in token, so no error shows it. Raises TransientError or
        ConfigurationError if nothing answers within `total_seconds`.
        """
        url, headers = self._base_url + page, {"Accept": "text/html"}
        return self._route.exchange(
            "open_page", "GET", url, seconds=self._total_seconds, headers=headers, beginning_bytes=CONTENT_BYTES_AT_MOST
        )

    def page_list(self) -> list[Page]:
        """Return every page that the app token may see, deleted ones marked. POST /public-api/page/list."""
        body = {"token": self._own_app_token("page_list")}
        return self._typed(pages_from, _Call("page_list", "/public-api/page/list", body))

    def page_cards(self, page_id: str) -> list[Card]:
        """Return the cards of a page. GET /public-api/page/{pgId}. Raises UnexpectedResponseError."""
        headers = {"token": self._own_app_token("page_cards")}
        return self._typed(
            cards_from, _Call("page_cards", f"/public-api/page/{quote(page_id, safe='')}", headers=headers)
        )

    def card_data(
        self,
        card_id: str,
        *,
        view: Literal["GRID", "GRAPH"] = "GRID",
        filters: Sequence[Filter] = (),
        parameters: Sequence[Any] = (),
    ) -> Iterator[CardPart]:
        """Yield the data of a card, 200 rows at a time. POST /public-api/card/{cdId}/data. `parameters`: dynamicParams.

        Raises UnexpectedResponseError past ROWS_AT_MOST, because a part would pass for the whole.
        """
        path, offset = f"/public-api/card/{quote(card_id, safe='')}/data", 0
        chosen = [{"name": one.name, "filterType": one.kind, "filterValue": list(one.values)} for one in filters]
        while offset < ROWS_AT_MOST:
            body = {"view": view, "offset": offset, "limit": ROWS_AT_ONCE, "filters": chosen}
            body["dynamicParams"] = list(parameters)
            part = self._with_token(card_part_from, _Call("card_data", path, body))
            yield part
            if not part.has_more:
                return
            if not part.row_count:
                raise self._unexpected("card_data", "the BI says that there is more, and gives nothing")
            offset += part.row_count
        raise self._unexpected("card_data", f"the card has more than {ROWS_AT_MOST} rows")

    def _with_token(self, parse: Callable[[Any], T], call: _Call) -> T:
        """Make the call by the login; repeat it once with a new token if the BI refuses this one."""
        with total_deadline(self._total_seconds):
            token = self._token()
            try:
                return self._typed(parse, _signed(call, token))
            except NotAdmittedError:
                self._tokens.drop(self.account(), NO_APPLICATION, token)
            return self._typed(parse, _signed(call, self._token()))

    def _token(self) -> str:
        self._own_login()
        return self._tokens.get(self.account(), NO_APPLICATION, self._sign_in)

    def _sign_in(self) -> FetchedToken:
        """Return a new token. The BI asks for the password as base64, so only TLS protects it."""
        login = self._own_login()
        name = {"email" if "@" in login.name else "loginId": login.name}
        password = base64.b64encode(login.password.encode()).decode()
        body = {"domain": login.domain, **name, "password": password}
        return FetchedToken(self._typed(token_from, _Call(SIGN_IN, "/public-api/sign-in", body)), TOKEN_SECONDS)

    def account(self) -> str:
        """Return the key of the stored token: it differs by host and user, and holds no part of a secret."""
        domain, name = (self._login.domain, self._login.name) if self._login else ("", "")
        return f"{self._base_url}|{domain}|{name}"

    def _own_login(self) -> Login:
        if self._login is None:
            raise ConfigurationError("no login for the BI's API is set", system="guandata", operation=SIGN_IN)
        return self._login

    def _own_app_token(self, operation: str) -> str:
        if not self._app_token:
            raise ConfigurationError("no app token of the BI is set", system="guandata", operation=operation)
        return self._app_token

    def _typed(self, parse: Callable[[Any], T], call: _Call) -> T:
        request = Request(call.operation, self._secrets(call))
        with observe_call(self._observe, call.operation):
            headers, body = dict(call.headers), None
            if call.body is not None:
                headers["Content-Type"], body = "application/json", json.dumps(call.body, ensure_ascii=False).encode()
            reply = self._route.exchange(
                call.operation,
                "GET" if body is None else "POST",
                self._base_url + call.path,
                seconds=self._total_seconds,
                headers=headers,
                body=body,
            )
            try:
                return parse(response_of(request, reply.status, reply.content))
            except AnswerError as error:
                raise request.error(UnexpectedResponseError, f"the answer is not complete: {error}") from error

    def _secrets(self, call: _Call) -> tuple[str, ...]:
        password = self._login.password if self._login else ""
        encoded = base64.b64encode(password.encode()).decode()
        return (password, encoded, self._app_token, *call.headers.values())

    def _unexpected(self, operation: str, message: str) -> UnexpectedResponseError:
        return UnexpectedResponseError(message, system="guandata", operation=operation)


def _signed(call: _Call, token: str) -> _Call:
    return _Call(call.operation, call.path, call.body, {**call.headers, "X-Auth-Token": token})
