"""State of the stand-in BI. Plain Python; written by a seed or the control interface."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from wecom_sandbox.http import typed


@dataclass(slots=True)
class BiUser:
    """A user. An SSO token names `login_id` or `email`. Without a password there is no sign-in to the API. On pages,
    `sees` limits the rows: column to the values that the person sees."""

    login_id: str
    name: str = ""
    email: str = ""
    password: str = ""
    sees: dict[str, list[object]] = field(default_factory=dict)

    def rows_of(self, card: BiCard) -> list[dict[str, object]]:
        """Return the rows of the card that the person sees."""
        limits = {column: values for column, values in self.sees.items() if column in card.columns}
        return [row for row in card.rows if all(row.get(column) in values for column, values in limits.items())]


@dataclass(slots=True)
class BiPivot:
    """Layout of a card as a table with a merged header: one line for each combination of `rows`, one column for each
    combination of `columns` and each of `values`, which are sums."""

    rows: list[str]
    columns: list[str]
    values: list[str]


@dataclass(slots=True)
class BiParameter:
    """A dynamic parameter. It keeps rows whose `column` fulfils `filter_type` with the sent values, else `values`."""

    name: str
    column: str
    filter_type: str = "EQ"
    values: list[object] = field(default_factory=list)


@dataclass(slots=True)
class BiCard:
    """A card with its data: each row by the names of `columns`. `aliases`: the titles of columns. With a `pivot` it
    answers GRID with a merged header, and GRAPH with one title per column. `draws_after`: seconds until the page's
    script draws the card; None: never; 0: the card is part of the page."""

    card_id: str
    name: str
    kind: str = "CHART"
    source: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    parameters: list[BiParameter] = field(default_factory=list)
    pivot: BiPivot | None = None
    draws_after: float | None = 0.0


@dataclass(slots=True)
class BiPage:
    """A page. `fails`: the BI answers with its error page instead."""

    page_id: str
    name: str
    is_deleted: bool = False
    fails: bool = False
    cards: list[BiCard] = field(default_factory=list)


@dataclass(slots=True)
class Bi:
    """The stand-in BI. `public_key`: PEM or only its base64; without it nobody signs in by SSO. `accepts_forever`:
    SSO tokens without a timestamp are accepted, as by the real BI."""

    provider: str = "guanbi"
    domain: str = "guanbi"
    public_key: str = ""
    app_token: str = ""
    accepts_forever: bool = True
    users: list[BiUser] = field(default_factory=list)
    pages: list[BiPage] = field(default_factory=list)
    # The login id of each session, and the end of each API token in unix seconds.
    _sessions: dict[str, str] = field(default_factory=dict)
    _api_tokens: dict[str, float] = field(default_factory=dict)

    def user(self, external_id: str) -> BiUser | None:
        return next((one for one in self.users if external_id in (one.login_id, one.email)), None)

    def page(self, page_id: str) -> BiPage | None:
        return next((one for one in self.pages if one.page_id == page_id and not one.is_deleted), None)

    def card(self, card_id: str) -> BiCard | None:
        cards = (card for page in self.pages for card in page.cards)
        return next((card for card in cards if card.card_id == card_id), None)

    def open_session(self, user: BiUser) -> str:
        session = secrets.token_urlsafe(24)
        self._sessions[session] = user.login_id
        return session

    def user_of_session(self, session: str) -> BiUser | None:
        return self.user(self._sessions.get(session, "")) if session in self._sessions else None

    def new_api_token(self, *, ends_at: float) -> str:
        token = secrets.token_urlsafe(24)
        self._api_tokens[token] = ends_at
        return token

    def is_api_token(self, token: str, *, now: float) -> bool:
        return self._api_tokens.get(token, 0.0) > now

    def forget(self) -> None:
        """Drop sessions and API tokens."""
        self._sessions.clear()
        self._api_tokens.clear()


def read_bi(values: object) -> Bi:
    """Read the BI from JSON. Raise ValueError."""
    return typed.build(Bi, values, path="bi")


def make_bi_json(bi: Bi) -> Mapping[str, object]:
    return {name: value for name, value in asdict(bi).items() if not name.startswith("_")}
