"""The sandbox's whole state: companies, apps, and short-lived objects such as tokens. Plain Python."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web

from wecom_sandbox.http.hosts import Authority
from wecom_sandbox.limits.limits import FaultBoard, Limits
from wecom_sandbox.messages.inbox import MessageStore, Ring
from wecom_sandbox.settings import Settings
from wecom_sandbox.state.bi import Bi
from wecom_sandbox.state.directory import Department, Directory, Member, Visibility
from wecom_sandbox.state.events import Callback, Outbox
from wecom_sandbox.state.files import Files

# The last moment whose unix seconds have ten digits: so many are in the hint id of WeCom's errmsg.
ENDS_AT = 9_999_999_999


class Clock:
    """Clock in unix seconds as float. Only `reset` sets it back, and nothing moves it beyond ENDS_AT."""

    def __init__(self) -> None:
        self._offset_seconds = 0.0

    def now(self) -> float:
        return time.time() + self._offset_seconds

    def reset(self) -> None:
        """Set the clock to the machine's. Only safe if no object with a later time is left."""
        self._offset_seconds = 0.0

    def advance(self, seconds: float) -> None:
        """Move the clock forward. `seconds`: zero or more. Raise ValueError."""
        if not seconds >= 0:
            raise ValueError("seconds must be zero or more: the clock cannot go back")
        if seconds > ENDS_AT - self.now():
            raise ValueError(f"seconds must not take the clock beyond {ENDS_AT} (the year 2286)")
        self._offset_seconds += seconds


T = TypeVar("T")


def run_at_once(steps: Generator[None, None, T]) -> T:
    """Do all steps and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: T = ended.value
            return result


def make_ip_warnings(world: World) -> list[str]:
    """Return a sentence for each company with apps whose callers' addresses are not checked."""
    if world.settings.trusted_ips_required:
        return []
    unlisted = {
        company.corpid: [str(app.agentid) for app in company.apps.values() if app.trusted_ips is None]
        for company in world.companies.values()
    }
    return [
        f"{corpid}: no trusted_ips for app {', '.join(agentids)}, so callers' addresses are not checked; "
        "WeCom answers 60020 to every address that is not listed (setting trusted_ips_required)"
        for corpid, agentids in unlisted.items()
        if agentids
    ]


_PATHS_MOST, _PATH_LENGTH_MOST = 1000, 200


class MissingPaths:
    """Counts of requests for missing paths. Above _PATHS_MOST paths, the one requested longest ago is dropped."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()

    def note(self, method: str, path: str) -> None:
        key = (method, path[:_PATH_LENGTH_MOST])
        self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > _PATHS_MOST:
            self._counts.popitem(last=False)

    def clear(self) -> None:
        self._counts.clear()

    def as_json(self) -> list[dict[str, object]]:
        """Return the counts, the highest first."""
        rows = sorted(self._counts.items(), key=lambda row: (-row[1], row[0]))
        return [{"method": method, "path": path, "count": count} for (method, path), count in rows]


# Limits of all sign-in codes, user_tickets and groups; above them the oldest is dropped, expired or not.
CODES_MOST = 100_000
TICKETS_MOST = 200_000
CHATS_MOST = 10_000


@dataclass(slots=True)
class Scope:
    userids: list[str] = field(default_factory=list)
    partyids: list[int] = field(default_factory=list)
    tagids: list[int] = field(default_factory=list)


@dataclass(slots=True)
class App:
    """A self-built app. Domains are host or host:port. `trusted_ips` None: the sandbox does not check the IP."""

    agentid: int
    name: str
    secret: str
    description: str = ""
    home_url: str = ""
    trusted_domain: str = ""
    callback_domain: str = ""
    # Whether the verification file was found on trusted_domain; otherwise nobody is redirected there.
    domain_verified: bool = True
    trusted_ips: list[str] | None = None
    scope: Scope = field(default_factory=Scope)
    callback: Callback = field(default_factory=Callback)
    disabled: bool = False
    # Apps made after 2022-06-20 do not get mobile, email, avatar and the like from user/get.
    created_after_2022_06_20: bool = True
    # The mini program that this app is bound to: only such an app may send miniprogram_notice.
    mini_program_appid: str = ""
    isreportenter: int = 0
    report_location_flag: int = 0
    menu: dict[str, object] | None = None
    # When each trusted IP that was added in the console takes effect, in unix seconds.
    ip_effective_at: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Robot:
    key: str
    name: str = ""
    disabled: bool = False


@dataclass(slots=True)
class Chat:
    """A group chat that an app created. `members`: folded userids, each once."""

    chatid: str
    corpid: str
    agentid: int
    name: str
    owner: str
    members: dict[str, None]


@dataclass(slots=True)
class Company:
    corpid: str
    name: str
    contacts_secret: str = ""
    contacts_callback: Callback = field(default_factory=Callback)
    # Addresses from which the sync assistant was used before 2022-08-15: others get 48009 for details.
    contacts_old_ips: list[str] = field(default_factory=list)
    account_limit: int = 100_000
    apps: dict[int, App] = field(default_factory=dict)
    robots: dict[str, Robot] = field(default_factory=dict)
    directory: Directory = field(default_factory=Directory)
    _visibilities: dict[int, tuple[int, Visibility]] = field(default_factory=dict)
    _visible_departments: dict[int, tuple[int, frozenset[int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.directory.departments:
            self.directory.put_department(Department(id=1, name=self.name, parentid=0))

    def visibility(self, app: App) -> Visibility:
        """Return what the app sees; cached until the directory or the scope changes (`forget_visibility`)."""
        known = self._visibilities.get(app.agentid)
        if known is None or known[0] != self.directory.version:
            scope, departments = app.scope, self._find_visible_departments(app)
            visibility = self.directory.visibility(scope.userids, scope.tagids, departments)
            self._visibilities[app.agentid] = known = (self.directory.version, visibility)
        return known[1]

    def _find_visible_departments(self, app: App) -> frozenset[int]:
        """Return the visible departments, cached while only people change: there may be 30,000 departments."""
        known = self._visible_departments.get(app.agentid)
        if known is None or known[0] != self.directory.tree_version:
            departments = self.directory.find_visible_departments(app.scope.partyids, app.scope.tagids)
            self._visible_departments[app.agentid] = known = (self.directory.tree_version, departments)
        return known[1]

    def forget_visibility(self) -> None:
        self._visibilities.clear()
        self._visible_departments.clear()

    def has_member(self, userid: str) -> bool:
        return self.directory.find(userid) is not None

    def app_reaches(self, app: App, member: Member) -> bool:
        """Return whether the app's messages reach this member: in its scope, not disabled, and has not left."""
        return self.visibility(app).reaches(member)


@dataclass(slots=True)
class Token:
    value: str
    corpid: str
    agentid: int | None
    expires_at: float
    # The secret for which the token was given: a reset secret makes its tokens useless (40001).
    secret: str


@dataclass(slots=True)
class Code:
    """The code that a browser brings from the authorise or QR page. `userid` "": not a member, see `openid`."""

    value: str
    corpid: str
    userid: str
    openid: str
    netloc: str
    expires_at: float
    user_ticket: str = ""
    used: bool = False


@dataclass(slots=True)
class Ticket:
    """A user_ticket (scope snsapi_privateinfo), or a JS-SDK ticket with `userid` "" and its `kind`."""

    value: str
    corpid: str
    agentid: int
    expires_at: float
    userid: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call of the API, without query and body, which hold secrets and tokens."""

    at: float
    method: str
    path: str
    errcode: int
    ip: str
    corpid: str
    agentid: int | None
    fault: str
    milliseconds: float

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


class World:
    """The whole state. One per process; not safe for threads: the server has one loop."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.settings = Settings()
        self.companies: dict[str, Company] = {}
        self.bi = Bi()
        self.wake_courier: Callable[[], None] = lambda: None
        self._listeners: dict[tuple[str, str], set[Callable[[], None]]] = {}
        self.forget()

    def forget(self) -> None:
        """Drop messages, tokens, logs and faults. Companies, the BI, settings and the clock stay."""
        self.tokens: dict[str, Token] = {}
        self.codes: OrderedDict[str, Code] = OrderedDict()
        self.user_tickets: OrderedDict[str, Ticket] = OrderedDict()
        self.media = Files()
        # By corpid, agentid and kind (api/token.py).
        self.js_tickets: dict[tuple[str, int, str], Ticket] = {}
        self.faults = FaultBoard()
        self.limits = Limits(self.settings)
        self.mail = MessageStore(self.settings)
        self.calls: Ring[CallRecord] = Ring()
        self.missing = MissingPaths()
        self.chats: OrderedDict[str, Chat] = OrderedDict()
        self.outbox = Outbox(wake=lambda: self.wake_courier())
        self.consents: dict[tuple[str, int, str], float] = {}  # until when, by corpid, agentid and folded userid
        self.bi.forget()

    def reset(self) -> None:
        """Drop everything and reset the clock."""
        self.clock.reset()
        self.companies.clear()
        self.settings = Settings()
        self.bi = Bi()
        self.forget()

    def adopt(self, other: World) -> None:
        """Take over a restored state. The clock never goes back; watchers of phones are notified."""
        self.settings, self.companies, self.bi = other.settings, other.companies, other.bi
        self.forget()
        self.mail, self.chats, self.media = other.mail, other.chats, other.media
        self.tokens, self.codes, self.consents = other.tokens, other.codes, other.consents
        self.user_tickets, self.js_tickets = other.user_tickets, other.js_tickets
        self.clock.advance(max(0.0, other.now() - self.now()))
        for corpid in {corpid for corpid, _ in self._listeners}:
            self.notify_all_watchers(corpid)

    def now(self) -> float:
        return self.clock.now()

    def log_call(self, record: CallRecord) -> None:
        """Store the record. Of all records only the newest `calls_kept` stay."""
        self.calls.add(record)
        while len(self.calls) > self.settings.calls_kept:
            self.calls.drop()

    def app(self, corpid: str, agentid: int) -> App:
        """Return the app. Raise KeyError."""
        return self.companies[corpid].apps[agentid]

    def new_code(self, *, corpid: str, userid: str, netloc: str, openid: str = "", user_ticket: str = "") -> Code:
        """Make a code for one use within 5 minutes, bound to the host (and port) to which the browser is sent."""
        expires_at = self.now() + self.settings.code_seconds
        code = Code(secrets.token_urlsafe(32), corpid, userid, openid, netloc, expires_at, user_ticket)
        self.store_code(code)
        return code

    def store_code(self, code: Code) -> None:
        self.codes[code.value] = code
        if len(self.codes) > CODES_MOST:
            self.codes.popitem(last=False)

    def store_ticket(self, ticket: Ticket) -> None:
        """Store a user_ticket."""
        self.user_tickets[ticket.value] = ticket
        if len(self.user_tickets) > TICKETS_MOST:
            self.user_tickets.popitem(last=False)

    def store_chat(self, chat: Chat) -> None:
        self.chats[chat.chatid] = chat
        if len(self.chats) > CHATS_MOST:
            self.chats.popitem(last=False)

    def watch(self, corpid: str, folded: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever something changes on this person's phone. Return a function that ends that."""
        self._listeners.setdefault((corpid, folded), set()).add(listener)
        return lambda: self._unwatch(corpid, folded, listener)

    def _unwatch(self, corpid: str, folded: str, listener: Callable[[], None]) -> None:
        listeners = self._listeners[corpid, folded]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[corpid, folded]

    def notify_watchers(self, corpid: str, folded: str) -> None:
        for listener in tuple(self._listeners.get((corpid, folded), ())):
            listener()

    def notify_all_watchers(self, corpid: str) -> None:
        """Notify the watchers of every phone of a company."""
        for watched, folded in tuple(self._listeners):
            if watched == corpid:
                self.notify_watchers(corpid, folded)


WORLD = web.AppKey("world", World)
# None: there is no TLS port.
AUTHORITY = web.AppKey[Authority | None]("authority")
