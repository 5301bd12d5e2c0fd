"""The whole product as real programs, with people and orders, and everything that can be broken about it."""

from __future__ import annotations

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
from integrations.core.background import database_clock
from integrations.models import CardData, Corp
from notifications.models import (
    CorpQueue,
    Delivery,
    Incident,
    Medium,
    Robot,
    Run,
    Subscription,
)
from tests.chaos import callers, database
from tests.chaos.clocks import Clocks
from tests.chaos.judge import Arrived, arrived
from tests.chaos.orders import Orders, card_of_the_bi, give_regions
from tests.chaos.plan import BEATS, CHARTS, POOLER, PROGRAMS, WORKERS
from tests.chaos.wecom import WeCom
from tests.e2e.stack import Program, Stack
from tests.postgresql_programs import execute
from tests.sandbox_process import AGENTID
from tests.standby import start_standby
from tools.demo import content
from tools.services import Service, free_port

T = TypeVar("T")
THROUGH_POOLER = {WORKERS[0], BEATS[0], CHARTS}
PEOPLE = 100
# On duty for alerts, of each company.
ON_DUTY = 2
# How long a program that was killed, or a server, may take to come back.
BACK_SECONDS = 60


def corpid(number: int) -> str:
    return f"ww{number + 1:016d}"


def userids(number: int) -> list[str]:
    return [f"P{number}x{person:03}" for person in range(PEOPLE)]


def robot_key(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


@dataclass(frozen=True)
class Asked:
    """What the web said yes to: a run by its key, runs by their ids, an alert by its name; empty where it did not."""

    by_hand: str
    by_key: list[int]
    alert: str


@dataclass
class ClockedStack(Stack):
    """Each program has a clock of its own; some reach the database through a pooler."""

    clocks: Clocks = field(init=False)
    # The database's address by way of the pooler.
    pooled: str = field(init=False)

    def start(self, name: str, command: list[str], exits: ExitStack) -> Program:
        own = [f"DATABASE_URL={self.pooled}"] if name in THROUGH_POOLER else []
        return super().start(name, [*self.clocks.command(name), *own, *command], exits)


@dataclass
class Town:
    """`orders`: of this round. `deaf`: whom WeCom did not reach for a while. `barred`: companies that were disabled in
    this round."""

    stack: ClockedStack
    exits: ExitStack
    database: Service
    broker: Service
    wecom: WeCom
    # The command of the pooler.
    pooler: list[str]
    corps: list[Corp] = field(default_factory=list)
    secrets: dict[int, str] = field(default_factory=dict)
    orders: list[Subscription] = field(default_factory=list)
    # Orders by how they are asked for.
    asked: dict[str, Subscription] = field(default_factory=dict)
    writer: Orders | None = None
    # Of the token of a system that calls.
    secret: str = ""
    # Receipts' addresses of people who left in this round.
    left: set[str] = field(default_factory=set)
    deaf: set[tuple[str, str]] = field(default_factory=set)
    barred: set[int] = field(default_factory=set)
    running: dict[str, Program] = field(default_factory=dict)
    standby: Service | None = None

    # --- Its life ---------------------------------------------------------------------------------------------

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
        """Companies, people and an administrator."""
        for number, secret in self.secrets.items():
            corp = Corp.objects.create(
                name=f"公司{number}",
                corpid=corpid(number),
                agentid=AGENTID,
                secret=secret,
                api_base_url=self.stack.sandbox.base_url,
                is_enabled=True,
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
        """The sandbox's, which learns our keys."""
        content.connect(sandbox_address=self.stack.sandbox.base_url, now=self.now())
        seed = {**self.wecom.seed, "bi": content.sandbox_seed(bi_services.ensure_connection(), self.corps)}
        self.stack.sandbox.load(seed)

    def _put_on_duty(self, people: list[User]) -> None:
        on_duty = [people[number * PEOPLE + turn] for number in self.secrets for turn in range(ON_DUTY)]
        self.alerts = callers.make_alert_channel(on_duty)

    def now(self) -> datetime:
        return database_clock()()

    # --- Orders -------------------------------------------------------------------------------------------------

    def order(self, number: int, *, is_burst: bool) -> list[Subscription]:
        """What a round sends; all due now, once."""
        slot = self.now().replace(second=0, microsecond=0)
        assert self.writer is not None
        self.orders = self.writer.of_round(number, slot, is_burst=is_burst)
        # Not due, or its run by hand would be refused beside that of its slot.
        for name in ("手动", "接口"):
            person = self.writer.of_person(number + len(self.asked))
            self.asked[name] = self.writer.personal(f"轮{number} {name}", slot, person, priority=1)
        return self.orders

    def ask(self, number: int) -> Asked:
        """By hand, over the API, with an alert: whoever asks repeats it, and the web may be away."""
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
        """All that a person, or WeCom, would put right; programs are back by then."""
        self.control("DELETE", "faults", {})
        self.stack.clocks.set_right()
        for number in self.secrets:
            self.set_status(number, userids(number)[0], 1)
            with_servers(partial(self._paste_secret, number))
        with_servers(lambda: Corp.objects.update(is_enabled=True))

    def revive(self) -> list[str]:
        """What a service manager does: programs that ended by themselves are started again. Returns their names."""
        ended = [name for name, program in self.running.items() if program.process.poll() is not None]
        for name in ended:
            self.start(name)
        return ended

    def move_clock(self, seconds: float) -> None:
        with_servers(lambda: database.move(self.database.url, seconds))

    def pass_world(self, seconds: int) -> None:
        """Let time pass: for the database, WeCom, Valkey and all programs."""
        self.move_clock(seconds)
        self.stack.clocks.pass_time(seconds)
        self.control("POST", "clock/advance", {"seconds": seconds})

    def begin_standby(self) -> None:
        """From now on each commit waits for a standby, too."""
        self.standby = start_standby(self.database, port=free_port())
        self.exits.callback(self.standby.stop)
        following = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        with psycopg.connect(self.database.url, autocommit=True) as primary:
            while primary.execute(following).fetchone() == (0,):
                time.sleep(0.05)
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")

    def fail_over(self) -> None:
        """The primary is gone for good, and its standby takes its place."""
        if self.standby is None:  # a plan names it twice
            return
        self.database.kill()
        self.database.stop()
        self.database, self.standby = self.standby, None
        execute(self.database.url, "SELECT pg_promote()")
        port = urlsplit(self.database.url).port
        (self.stack.folder / "DATABASE_URL").write_text(str(port))
        connection.settings_dict["PORT"] = port  # of all threads

    def pass_time(self) -> None:
        """Move the clocks on to what is due next, at most ten minutes: nobody wants to wait for a back-off."""
        now = self.now()
        moments = [now + timedelta(minutes=10)]
        for row in Delivery.objects.unsettled().values_list("next_attempt_at", "queued_until", "lease_until"):
            moments += [moment for moment in row if moment is not None]
        moments += Run.objects.filter(status=Run.Status.WAITING).values_list("render_after", flat=True)
        probes = CorpQueue.objects.blocked().values_list("probe_at", flat=True)
        moments += [moment for moment in probes if moment is not None]
        notices = Incident.objects.filter(notice_due_at__isnull=False).values_list("notice_due_at", flat=True)
        moments += [moment for moment in notices if moment is not None]
        moments += Medium.objects.filter(status=Medium.Status.WAITING).values_list("make_after", flat=True)
        for pair in CardData.objects.waiting().values_list("next_try_at", "lease_until"):
            moments += [moment for moment in pair if moment is not None]
        self.pass_world(math.ceil(min((each - now).total_seconds() for each in moments if each > now) + 1))

    def control(self, method: str, path: str, document: object = None) -> Any:
        """A call of the sandbox's control interface, as soon as it is there: it may be away just now."""
        return patiently(lambda: self.stack.sandbox.control(method, path, document), OSError)

    def messages(self, number: int) -> list[dict[str, Any]]:
        """All that arrived in a company, at people and in groups."""
        path = f"companies/{corpid(number)}/messages"
        return patiently(lambda: self.stack.sandbox.listed(path, "messages"), requests.ConnectionError)

    def arrived(self) -> Arrived:
        found: Arrived = Arrived()
        for number in self.secrets:
            found += arrived(self.messages(number), corpid(number))
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
    """A killed gunicorn leaves its worker behind for a moment, and with it the port."""
    children: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(program.process.pid).children(recursive=True)
    program.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def with_servers(work: Callable[[], T]) -> T:
    """Do it as soon as database and broker are there: they may be away just now."""
    return patiently(work, DatabaseError, psycopg.Error, redis.RedisError)


def patiently(work: Callable[[], T], *errors: type[Exception]) -> T:
    """Again and again while one of `errors` keeps it from being done, for BACK_SECONDS."""
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
    """In a thread of its own, whose connection ends with it."""
    try:
        return work()
    finally:
        connection.close()
