"""Client of the BI's public API. Sources: docs.guandata.com and public clients, as docs/en/bi-sign-on.md says.

Constructed from plain values; knows nothing of Django. Two credentials: a login, for the data of cards, and an app
token made in the platform, for pages. Every call here reads, so an unclear failure may be tried again by the caller.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote

import requests
import urllib3

from integrations.clients.errors import ConfigurationError, Observe, UnexpectedResponseError, ignore_call, observe_call
from integrations.clients.guandata import schemas
from integrations.clients.guandata.responses import SIGN_IN, NotAdmittedError, Request, of_failure, response_of
from integrations.clients.network import Beginning, beginning_of
from integrations.clients.wecom.deadline import total_deadline
from integrations.clients.wecom.transport import DeadlineAdapter

T = TypeVar("T")

# The BI gives no zone with a token's end, so our own clock decides: at most ten minutes.
TOKEN_SECONDS = 600
ROWS_AT_ONCE = 200
# A card with more rows than this is not read to its end: no message and no page shows them.
ROWS_AT_MOST = 100_000
ANSWER_BYTES_AT_MOST = 32 * 1024 * 1024
USER_AGENT = "guanwecom"


class TokenStore(Protocol):
    """Keeps a token per account for all processes, and lets one caller fetch it while the others wait."""

    def get(self, account: str, fetch: Callable[[], str]) -> str:
        """The token of the account; calls `fetch` where there is none. Raises what `fetch` raises."""

    def drop(self, account: str, token: str) -> None:
        """Forget `token`, which the BI refused. A newer one stays."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the BI by whom the API is called. `name`: the login name, or the e-mail where those sign in."""

    domain: str
    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a card's data. `name`: of the original column, not its alias. `kind`: EQ, BT, IN and the like."""

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
    """Calls the BI. `session`: from wecom.transport.open_session. `connect_seconds`: for each address of the host;
    `total_seconds`: for a whole call. `ca_bundle`: path of a file of certificates. Raises integrations.clients.errors
    only.
    """

    def __init__(
        self,
        *,
        base_url: str,
        session: requests.Session,
        token_store: TokenStore,
        login: Login | None = None,
        app_token: str = "",
        proxy: str = "",
        ca_bundle: str | None = None,
        connect_seconds: float = 3.05,
        total_seconds: float = 20.0,
        observe: Observe = ignore_call,
    ) -> None:
        adapter = session.get_adapter(base_url)
        if not isinstance(adapter, DeadlineAdapter):
            raise TypeError("the session must come from open_session(), which enforces deadlines")
        self._adapter = adapter
        self._base_url = base_url.rstrip("/")
        self._tokens = token_store
        self._observe = observe
        self._login = login
        self._app_token = app_token
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._verify: str | bool = ca_bundle or True
        self._connect_seconds, self._total_seconds = connect_seconds, total_seconds

    def __repr__(self) -> str:
        return "GuandataClient()"

    def fetch_token(self) -> None:
        """Have a token: the one in the store, else a new one. Raises ConfigurationError for a wrong login."""
        self._token()

    def open_page(self, page: str) -> Beginning:
        """How the BI answers a browser at `page`, whatever its status; without cookies, redirections or a token of the
        API.

        `page`: a path with its query. It may hold a sign-in token, so it is in no error. Raises TransientError or
        ConfigurationError where nothing answers within `total_seconds`.
        """
        request, failure = Request("open_page", ()), Exception()
        with total_deadline(self._total_seconds):
            try:
                return beginning_of(
                    self._base_url + page,
                    connect_seconds=self._connect_seconds,
                    proxy=self._proxies.get("https", ""),
                    verify=self._verify,
                    accept="text/html",
                )
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                failure = error
        raise of_failure(request, failure)

    def page_list(self) -> list[schemas.Page]:
        """Every page that the app token may see, deleted ones marked. POST /public-api/page/list."""
        body = {"token": self._own_app_token("page_list")}
        return self._typed(schemas.pages_from, _Call("page_list", "/public-api/page/list", body))

    def page_cards(self, page_id: str) -> list[schemas.Card]:
        """The cards of a page. GET /public-api/page/{pgId}. Raises UnexpectedResponseError for an answer of another
        form.
        """
        headers = {"token": self._own_app_token("page_cards")}
        return self._typed(
            schemas.cards_from, _Call("page_cards", f"/public-api/page/{quote(page_id, safe='')}", headers=headers)
        )

    def card_data(
        self,
        card_id: str,
        *,
        view: Literal["GRID", "GRAPH"] = "GRID",
        filters: Sequence[Filter] = (),
        parameters: Sequence[Any] = (),
    ) -> Iterator[schemas.CardPart]:
        """The data of a card, 200 rows at a time. POST /public-api/card/{cdId}/data. `parameters`: dynamicParams.

        Raises UnexpectedResponseError past ROWS_AT_MOST: a part would pass for the whole.
        """
        path, offset = f"/public-api/card/{quote(card_id, safe='')}/data", 0
        chosen = [{"name": one.name, "filterType": one.kind, "filterValue": list(one.values)} for one in filters]
        while offset < ROWS_AT_MOST:
            body = {"view": view, "offset": offset, "limit": ROWS_AT_ONCE, "filters": chosen}
            body["dynamicParams"] = list(parameters)
            part = self._with_token(schemas.card_part_from, _Call("card_data", path, body))
            yield part
            if not part.has_more:
                return
            if not part.row_count:
                raise self._unexpected("card_data", "the BI says that there is more, and gives nothing")
            offset += part.row_count
        raise self._unexpected("card_data", f"the card has more than {ROWS_AT_MOST} rows")

    def _with_token(self, parse: Callable[[Any], T], call: _Call) -> T:
        """A call by the login: once more with another token where the BI refuses this one, never a third time."""
        with total_deadline(self._total_seconds):
            token = self._token()
            try:
                return self._typed(parse, _signed(call, token))
            except NotAdmittedError:
                self._tokens.drop(self.account(), token)
            return self._typed(parse, _signed(call, self._token()))

    def _token(self) -> str:
        self._own_login()
        return self._tokens.get(self.account(), self._signed_in)

    def _signed_in(self) -> str:
        """A new token. The password travels as base64, as the BI asks, so TLS alone protects it."""
        login = self._own_login()
        name = {"email" if "@" in login.name else "loginId": login.name}
        password = base64.b64encode(login.password.encode()).decode()
        body = {"domain": login.domain, **name, "password": password}
        return self._typed(schemas.token_from, _Call(SIGN_IN, "/public-api/sign-in", body))

    def account(self) -> str:
        """Where the token lies: differs by host and user, and holds no part of a secret."""
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
            status, content = self._exchanged(request, call)
            try:
                return parse(response_of(request, status, content))
            except schemas.AnswerError as error:
                raise request.error(UnexpectedResponseError, f"the answer is not complete: {error}") from error

    def _secrets(self, call: _Call) -> tuple[str, ...]:
        password = self._login.password if self._login else ""
        encoded = base64.b64encode(password.encode()).decode()
        return (password, encoded, self._app_token, *call.headers.values())

    def _exchanged(self, request: Request, call: _Call) -> tuple[int, bytes]:
        failure = Exception()
        with total_deadline(self._total_seconds):
            try:
                return self._received(call)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                failure = error
        # Raised outside the block: inside, the error would carry requests' own, which prints addresses.
        raise of_failure(request, failure)

    def _received(self, call: _Call) -> tuple[int, bytes]:
        request = requests.PreparedRequest()
        headers = {"Accept-Encoding": "gzip", "User-Agent": USER_AGENT, **call.headers}
        body = None
        if call.body is not None:
            headers["Content-Type"], body = "application/json", json.dumps(call.body, ensure_ascii=False).encode()
        method = "GET" if body is None else "POST"
        request.prepare(method=method, url=self._base_url + call.path, headers=headers, data=body)
        response = self._adapter.send(
            request, stream=True, timeout=self._connect_seconds, verify=self._verify, proxies=self._proxies
        )
        try:
            content: bytes = response.raw.read(ANSWER_BYTES_AT_MOST + 1, decode_content=True)
        finally:
            response.close()
        if len(content) > ANSWER_BYTES_AT_MOST:
            raise OSError("the answer is too long")
        return response.status_code, content

    def _unexpected(self, operation: str, message: str) -> UnexpectedResponseError:
        return UnexpectedResponseError(message, system="guandata", operation=operation)


def _signed(call: _Call, token: str) -> _Call:
    return _Call(call.operation, call.path, call.body, {**call.headers, "X-Auth-Token": token})
