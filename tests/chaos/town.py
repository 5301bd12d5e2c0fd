"""The whole product as real programs, with people and orders, and everything that can be broken about it."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psutil
import psycopg
import redis
import requests
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection

from accounts.models import User, WeComAccount, fold_userid
from integrations import bi as bi_services
from integrations.companies import services
from integrations.core.background import database_now
from integrations.models import CardData, Corp
from notifications.models import Incident, Medium, Robot, Subscription
from tests.chaos import callers, database
from tests.chaos.clocks import Clocks
from tests.chaos.judge import Arrived, count_arrived, find_due_moments
from tests.chaos.orders import Orders, card_of_the_bi, give_regions
from tests.chaos.plan import BEATS, CHARTS, POOLER, PROGRAMS, WORKERS
from tests.chaos.wecom import WeCom
from tests.e2e.stack import Program, Stack
from tests.notifications.factories import make_corp
from tests.postgresql_programs import execute
from tests.sandbox_process import AGENTID
from tests.standby import start_standby
from tools.demo import content
from tools.services import Service, free_port

T = TypeVar("T")
THROUGH_POOLER = {WORKERS[0], BEATS[0], CHARTS}
PEOPLE = 100
# The people of each company who are on duty for alerts.
ON_DUTY = 2
# How long a killed program or server may take to return.
BACK_SECONDS = 60


def corpid(number: int) -> str:
    return f"ww{number + 1:016d}"


def userids(number: int) -> list[str]:
    return [f"P{number}x{person:03}" for person in range(PEOPLE)]


def robot_key(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


@dataclass(frozen=True)
class Asked:
    """Requests that the web accepted: a run by its key, runs by their ids, an alert by its name. Empty if refused."""

    by_hand: str
    by_key: list[int]
    alert: str


@dataclass
class ClockedStack(Stack):
    """Programs with a clock each; some reach the database through a pooler."""

    clocks: Clocks = field(init=False)
    # The database's address through the pooler.
    pooled: str = field(init=False)

    def start(self, name: str, command: list[str], exits: ExitStack) -> Program:
        own = [f"DATABASE_URL={self.pooled}"] if name in THROUGH_POOLER else []
        return super().start(name, [*self.clocks.command(name), *own, *command], exits)


@dataclass
class Town:
    """The running product. `orders`: this round's. `deaf`: people whom WeCom did not reach for a while.

    `barred`: companies that were disabled in this round.
    """

    stack: ClockedStack
    exits: ExitStack
    database: Service
    broker: Service
    wecom: WeCom
    pooler: list[str]
    corps: list[Corp] = field(default_factory=list)
    secrets: dict[int, str] = field(default_factory=dict)
    orders: list[Subscription] = field(default_factory=list)
    # Orders by how they are requested.
    asked: dict[str, Subscription] = field(default_factory=dict)
    writer: Orders | None = None
    # The secret of a calling system's token.
    secret: str = ""
    # The receipts' addresses of people who left in this round.
    left: set[str] = field(default_factory=set)
    deaf: set[tuple[str, str]] = field(default_factory=set)
    barred: set[int] = field(default_factory=set)
    running: dict[str, Program] = field(default_factory=dict)
    standby: Service | None = None

    # --- Start and set-up -------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        if name in WORKERS:
            self.running[name] = self.stack.start_worker(self.exits, name)
        elif name == CHARTS:
            self.running[name] = self.stack.start_charts_worker(self.exits)
        elif name == POOLER:
            self.running[name] = self.stack.start(POOLER, self.pooler, self.exits)
        elif name in BEATS:
            self.running[name] = self.stack.start_beat(self.exits, name)
        else:
            self.running[name] = self.stack.start_web(self.exits)

    def settle_in(self) -> None:
        for number, secret in self.secrets.items():
            url = self.stack.sandbox.base_url
            corp = make_corp(
                name=f"公司{number}", corpid=corpid(number), agentid=AGENTID, secret=secret, api_base_url=url
            )
            self.corps.append(corp)
            people = User.objects.bulk_create(User(username=userid) for userid in userids(number))
            WeComAccount.objects.bulk_create(
                WeComAccount(user=person, corp=corp, userid=person.username, userid_folded=fold_userid(person.username))
                for person in people
            )
            Robot.objects.create(corp=corp, name=f"群{number}", key=robot_key(number))
        get_user_model().objects.create_superuser("root")
        self._connect_bi()
        people = list(User.objects.filter(wecom_accounts__isnull=False).order_by("pk"))
        self.writer = Orders(self.corps, people, card_of_the_bi(), give_regions(people))
        _token, self.secret = callers.make_token()
        self._put_on_duty(people)
        for name in PROGRAMS:
            self.start(name)

    def _connect_bi(self) -> None:
        now = self.now()
        content.connect_bi(sandbox_address=self.stack.sandbox.base_url, now=now)
        bi_data = content.make_bi_seed(bi_services.ensure_connection(), self.corps, today=now.date())
        self.stack.sandbox.load({**self.wecom.seed, "bi": bi_data})

    def _put_on_duty(self, people: list[User]) -> None:
        on_duty = [people[number * PEOPLE + turn] for number in self.secrets for turn in range(ON_DUTY)]
        self.alerts = callers.make_alert_channel(on_duty)

    def now(self) -> datetime:
        return database_now()

    # --- Orders -------------------------------------------------------------------------------------------------

    def order(self, number: int, *, is_burst: bool) -> list[Subscription]:
        """Write the orders of a round, all due now, once."""
        slot = self.now().replace(second=0, microsecond=0)
        assert self.writer is not None
        self.orders = self.writer.of_round(number, slot, is_burst=is_burst)
        # They are not due, or a run by hand would be refused beside that of the slot.
        for name in ("手动", "接口"):
            person = self.writer.of_person(number + len(self.asked))
            self.asked[name] = self.writer.personal(f"轮{number} {name}", slot, person, priority=1)
        return self.orders

    def ask(self, number: int) -> Asked:
        """Request runs by hand and over the API, and hand in an alert. Callers repeat, because the web may be away."""
        name = f"Chaos{number}"
        with ThreadPoolExecutor() as pool:
            by_hand = pool.submit(_closing, lambda: with_servers(self._ask_by_hand))
            by_key = pool.submit(callers.run_by_key, self.stack.web_url, self.secret, self.asked["接口"])
            alert = pool.submit(callers.hand_in_alert, self.stack.web_url, *self.alerts, name)
            return Asked(by_hand.result(), by_key.result(), name if alert.result() else "")

    def _ask_by_hand(self) -> str:
        try:
            return callers.run_by_hand(self.stack.web_url, self.asked["手动"])
        except (requests.RequestException, IndexError):
            return ""

    @property
    def services(self) -> dict[str, Service]:
        return {"database": self.database, "broker": self.broker}

    # --- Mending --------------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Put right all that a person, or WeCom, would. Programs are back by then."""
        self.control("DELETE", "faults", {})
        self.stack.clocks.set_right()
        for number in self.secrets:
            self.set_status(number, userids(number)[0], 1)
            with_servers(partial(self._paste_secret, number))
        with_servers(lambda: Corp.objects.update(is_enabled=True))

    def revive(self) -> list[str]:
        """Start programs that ended by themselves, as a service manager does. Return their names."""
        ended = [name for name, program in self.running.items() if program.process.poll() is not None]
        for name in ended:
            self.start(name)
        return ended

    def move_clock(self, seconds: float) -> None:
        with_servers(lambda: database.move(self.database.url, seconds))

    def pass_world(self, seconds: int) -> None:
        """Let time pass for the database, WeCom, Valkey and all programs."""
        self.move_clock(seconds)
        self.stack.clocks.pass_time(seconds)
        self.control("POST", "clock/advance", {"seconds": seconds})

    def begin_standby(self) -> None:
        """Start a standby. From now on each commit waits for it too."""
        self.standby = start_standby(self.database, port=free_port())
        self.exits.callback(self.standby.stop)
        following = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        with psycopg.connect(self.database.url, autocommit=True) as primary:
            while primary.execute(following).fetchone() == (0,):
                time.sleep(0.05)
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")

    def fail_over(self) -> None:
        """Kill the primary for good and promote its standby."""
        if self.standby is None:  # a plan names it twice
            return
        self.database.kill()
        self.database.stop()
        self.database, self.standby = self.standby, None
        execute(self.database.url, "SELECT pg_promote()")
        port = urlsplit(self.database.url).port
        (self.stack.folder / "DATABASE_URL").write_text(str(port))
        connection.settings_dict["PORT"] = port  # for all threads

    def pass_time(self) -> None:
        """Move the clocks on to what is due next, at most ten minutes, to shorten back-offs."""
        now = self.now()
        due = find_due_moments(
            Incident.objects.values_list("notice_due_at"),
            Medium.objects.filter(status=Medium.Status.WAITING).values_list("make_after"),
            CardData.objects.waiting().values_list("next_try_at", "lease_until"),
        )
        moments = [now + timedelta(minutes=10), *due]
        self.pass_world(math.ceil(min((each - now).total_seconds() for each in moments if each > now) + 1))

    def control(self, method: str, path: str, document: object = None) -> Any:
        """Call the sandbox's control interface, retrying while it is away."""
        return patiently(lambda: self.stack.sandbox.control(method, path, document), OSError)

    def messages(self, number: int) -> list[dict[str, Any]]:
        path = f"companies/{corpid(number)}/messages"
        return patiently(lambda: self.stack.sandbox.list_rows(path, "messages"), requests.ConnectionError)

    def count_arrived(self) -> Arrived:
        found: Arrived = Arrived()
        for number in self.secrets:
            found += count_arrived(self.messages(number), corpid(number))
        return found

    def _paste_secret(self, number: int) -> None:
        corp = Corp.objects.get(corpid=corpid(number))
        if corp.secret != self.secrets[number]:
            corp.secret = self.secrets[number]
            services.save_corp(corp=corp, changed_fields={"secret"})

    def set_status(self, number: int, userid: str, status: int) -> None:
        path = f"companies/{corpid(number)}/members"
        self.control("POST", path, [{"userid": userid, "status": status}])


def kill_with_children(program: Program) -> None:
    """Kill a program and its children: a killed gunicorn's worker would hold the port for a moment."""
    children: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(program.process.pid).children(recursive=True)
    program.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def with_servers(work: Callable[[], T]) -> T:
    """Do the work, retrying while the database or the broker is away."""
    return patiently(work, DatabaseError, psycopg.Error, redis.RedisError)


def patiently(work: Callable[[], T], *errors: type[Exception]) -> T:
    """Repeat the work while it raises one of `errors`, for BACK_SECONDS at most."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            return work()
        except errors:
            if time.monotonic() > deadline:
                raise
            connection.close()
            time.sleep(0.2)


def _closing(work: Callable[[], T]) -> T:
    """Do the work and close this thread's connection."""
    try:
        return work()
    finally:
        connection.close()
