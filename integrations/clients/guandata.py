"""Client of the BI's public API. Sources: docs.guandata.com and public clients, as docs/en/bi-sign-on.md says.

The client is constructed from plain values and does not import Django. The BI reports success in `result`, never in
the HTTP status. No error carries an address or a secret. There are two credentials: a login, for the data of cards,
and an app token made in the BI, for lists of pages and cards. All calls only read, so repeating one does no harm.
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
    RateLimitedError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.network import CONTENT_BYTES_AT_MOST
from integrations.clients.transport import Observe, Reply, Route, ignore_call, observe_call, total_deadline
from integrations.clients.wecom.calls import (
    AnswerError,
    read_objects,
    read_optional_integer,
    read_optional_text,
    read_text,
)
from integrations.clients.wecom.tokens import FetchedToken, TokenStore, TrialTokens


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A page of the BI (a dashboard), or a card of a page. `entry_id`: the id in the BI, which is part of a page's
    address. `kind`: the BI's word for the type, such as PAGE, CHART or SELECTOR."""

    entry_id: str
    name: str
    kind: str


SYSTEM = "guandata"
SIGN_IN = "sign_in"
CLIPPED_CHARACTERS = 300
# How long to wait after HTTP 429, because the BI does not say it.
RETRY_SECONDS = 60
_REFUSED_STATUSES = frozenset({int(HTTPStatus.UNAUTHORIZED), int(HTTPStatus.FORBIDDEN)})
# The BI's tokens belong to no application.
NO_APPLICATION = 0
# The BI states the end of a token without a time zone, so we use each token for ten minutes by our own clock.
TOKEN_SECONDS = 600
ROWS_AT_ONCE = 200
# The client refuses a card with more rows, because no message and no page shows so many.
ROWS_AT_MOST = 100_000
T = TypeVar("T")


class TokenRefusedError(ConfigurationError):
    """The BI refuses the token. The client retries once with a new token; callers see a ConfigurationError."""


@dataclass(frozen=True, slots=True)
class Login:
    """A BI user for calling the API. `name`: the login name, or the e-mail if users sign in with it."""

    domain: str
    name: str
    password: str = field(repr=False)


def make_token_key(base_url: str, domain: str, name: str) -> str:
    """Return the key of a user's stored token: it differs by host and user, and holds no part of a secret."""
    return f"{base_url.rstrip('/')}|{domain}|{name}"


def _parse_entry(row: Mapping[str, Any], prefix: str) -> CatalogueEntry:
    return CatalogueEntry(
        read_text(row, f"{prefix}Id"), read_optional_text(row, "name"), read_optional_text(row, f"{prefix}Type")
    )


def _require_object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"{name} is not an object")
    return value


class GuandataClient:
    """Client of the BI. Raises only errors of integrations.clients.errors.

    `session`: from transport.open_session. Time limits: `connect_seconds` for each address of the host, `total_seconds`
    for a whole call. `ca_bundle`: path of a file of certificates.
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
        self._token_key = make_token_key(base_url, login.domain, login.name) if login else ""
        self._app_token = app_token
        self._total_seconds = total_seconds

    def __repr__(self) -> str:
        return "GuandataClient()"

    def fetch_token(self) -> str:
        """Return the stored token; fetch one if there is none. Raises ConfigurationError for a wrong login."""
        login = self._require_credential(self._login, "login for the BI's API", SIGN_IN)

        def sign_in() -> FetchedToken:
            """Return a new token. The BI asks for the password as base64, so only TLS protects it."""
            name = {"email" if "@" in login.name else "loginId": login.name}
            body = {"domain": login.domain, **name, "password": base64.b64encode(login.password.encode()).decode()}
            token = self._call(
                SIGN_IN,
                "/public-api/sign-in",
                lambda response: read_text(_require_object(response, "response"), "token"),
                body=body,
            )
            return FetchedToken(token, TOKEN_SECONDS)

        return self._tokens.get(self._token_key, NO_APPLICATION, sign_in)

    def open_page(self, page: str) -> Reply:
        """Return the BI's answer to a browser at `page`, of any status, without cookies, redirections and API token.

        `page`: a path with its query. It may hold a sign-in token, so no error shows it. Raises TransientError or
        ConfigurationError if nothing answers within `total_seconds`.
        """
        url, headers = self._base_url + page, {"Accept": "text/html"}
        return self._route.exchange(
            "open_page", "GET", url, seconds=self._total_seconds, headers=headers, beginning_bytes=CONTENT_BYTES_AT_MOST
        )

    def page_list(self) -> list[CatalogueEntry]:
        """Return every page that the app token may see, without deleted ones. POST /public-api/page/list."""
        body = {"token": self._require_credential(self._app_token, "app token of the BI", "page_list")}

        def parse(response: Any) -> list[CatalogueEntry]:
            rows = read_objects({"response": response}, "response", required=True)
            return [_parse_entry(row, "pg") for row in rows if not row.get("isDel")]

        return self._call("page_list", "/public-api/page/list", parse, body=body)

    def page_cards(self, page_id: str) -> list[CatalogueEntry]:
        """Return the cards of a page. GET /public-api/page/{pgId}. Raises UnexpectedResponseError."""
        headers = {"token": self._require_credential(self._app_token, "app token of the BI", "page_cards")}
        path = f"/public-api/page/{quote(page_id, safe='')}"

        def parse(response: Any) -> list[CatalogueEntry]:
            rows = read_objects(_require_object(response, "response"), "cards", required=True)
            return [_parse_entry(row, "cd") for row in rows]

        return self._call("page_cards", path, parse, headers=headers)

    def card_data(
        self,
        card_id: str,
        *,
        view: Literal["GRID", "GRAPH"] = "GRID",
        filters: Sequence[Mapping[str, Any]] = (),
        parameters: Sequence[Any] = (),
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the object chartMain of a card again and again, with the next 200 rows in its `data`. The layout of its
        header depends on the kind of the card. POST /public-api/card/{cdId}/data.

        `filters`: `name` (the original column, not its alias), `filterType` (EQ, BT, IN and the like), `filterValue`.
        `parameters`: dynamicParams. Raises UnexpectedResponseError for more than ROWS_AT_MOST rows, because a part of
        them would look like all.
        """
        path, offset = f"/public-api/card/{quote(card_id, safe='')}/data", 0

        def parse(response: Any) -> Mapping[str, Any]:
            chart = _require_object(_require_object(response, "response").get("chartMain"), "chartMain")
            if not isinstance(chart.get("data"), list):
                raise AnswerError("data is not a list")
            return chart

        body = {"view": view, "limit": ROWS_AT_ONCE, "filters": list(filters), "dynamicParams": list(parameters)}
        while offset < ROWS_AT_MOST:
            chart = self._call_with_token("card_data", path, parse, {**body, "offset": offset})
            yield chart
            if chart.get("hasMoreData") is not True:
                return
            if not chart["data"]:
                message = "the BI says that there is more, and gives nothing"
                raise UnexpectedResponseError(message, system=SYSTEM, operation="card_data")
            offset += len(chart["data"])
        message = f"the card has more than {ROWS_AT_MOST} rows"
        raise UnexpectedResponseError(message, system=SYSTEM, operation="card_data")

    def _call_with_token(self, operation: str, path: str, parse: Callable[[Any], T], body: Mapping[str, Any]) -> T:
        """Make the call with the login's token; repeat it once with a new token if the BI refuses this one."""
        with total_deadline(self._total_seconds):
            token = self.fetch_token()
            try:
                return self._call(operation, path, parse, body=body, headers={"X-Auth-Token": token})
            except TokenRefusedError:
                self._tokens.drop(self._token_key, NO_APPLICATION, token)
            return self._call(operation, path, parse, body=body, headers={"X-Auth-Token": self.fetch_token()})

    def _require_credential(self, credential: T | None, name: str, operation: str) -> T:
        if not credential:
            raise ConfigurationError(f"no {name} is set", system=SYSTEM, operation=operation)
        return credential

    def _call(
        self,
        operation: str,
        path: str,
        parse: Callable[[Any], T],
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send a GET request, or POST `body` as JSON. Return what `parse` makes of the answer."""
        sent_headers, content = dict(headers or {}), None
        password = self._login.password if self._login else ""
        own_secrets = (password, base64.b64encode(password.encode()).decode(), self._app_token)
        request = _Request(operation, (*own_secrets, *sent_headers.values()))
        if body is not None:
            sent_headers["Content-Type"] = "application/json"
            content = json.dumps(body, ensure_ascii=False).encode()
        with observe_call(self._observe, operation):
            method, url = "GET" if content is None else "POST", self._base_url + path
            reply = self._route.exchange(
                operation, method, url, seconds=self._total_seconds, headers=sent_headers, body=content
            )
            try:
                return parse(request.read_response(reply.status, reply.content))
            except AnswerError as error:
                message = f"the answer is not complete: {error}"
                raise request.make_error(UnexpectedResponseError, message) from error


@dataclass(frozen=True, slots=True)
class _Request:
    """A request of ours. No error shows its `secrets`, even if the other side repeats them."""

    operation: str
    secrets: tuple[str, ...] = field(repr=False)

    def read_response(self, status: int, content: bytes) -> Any:
        """Return `response` of an answer whose `result` is ok. Raises the matching error for any other answer."""
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        answer = answer if isinstance(answer, dict) else {}
        if answer.get("result") == "ok":
            return answer.get("response")
        error = answer["error"] if isinstance(answer.get("error"), dict) else {}
        code, message = read_optional_integer(error, "status"), read_optional_text(error, "message")
        if status in _REFUSED_STATUSES or code in _REFUSED_STATUSES:
            raise self.make_error(TokenRefusedError, message or "the BI refuses the token", code=status)
        if answer.get("result") == "fail":
            cls = ConfigurationError if self.operation == SIGN_IN else UnexpectedResponseError
            raise self.make_error(cls, message or "the BI refuses without saying why", code=code)
        clipped = self.remove_secrets(content[: 4 * CLIPPED_CHARACTERS].decode(errors="replace"))
        message = f"HTTP status {status}"
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise self.make_error(RateLimitedError, message, answer=clipped, retry_after_seconds=RETRY_SECONDS)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self.make_error(TransientError, message, answer=clipped)
        raise self.make_error(UnexpectedResponseError, f"not an answer of the BI ({message})", answer=clipped)

    def make_error(self, cls: type[IntegrationError], message: str, **known: Any) -> IntegrationError:
        """Make an error of this call. Secrets are removed from `message`, and a long one is cut."""
        return cls(self.remove_secrets(message), system=SYSTEM, operation=self.operation, **known)

    def remove_secrets(self, text: str) -> str:
        """Return `text` without the secrets, at most CLIPPED_CHARACTERS characters."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "***")
        return text[:CLIPPED_CHARACTERS]
