"""The whole product as real programs, with people and orders, and everything that can be broken about it."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import psutil
import psycopg
import redis
import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection
from django.test import Client

from accounts.models import User, WeComAccount
from integrations import services
from integrations.models import Corp
from notifications import recalling, resending
from notifications.clock import database_clock
from notifications.models import CorpQueue, Delivery, MessageForm, Report, Run, Subscription
from tests.chaos import clock
from tests.chaos.judging import Arrived, arrived
from tests.chaos.plan import BEATS, PROGRAMS, WORKERS, Disturbance
from tests.chaos.wecom import WeCom
from tests.e2e.stack import Program, Stack
from tests.sandbox import AGENTID
from tools.services import Service

T = TypeVar("T")
PEOPLE = 12
PERSONAL_ORDERS = 8
# How long a program that was killed, or a server, may take to come back.
BACK_SECONDS = 60


def corpid(number: int) -> str:
    return f"ww{number + 1:016d}"


def userids(number: int) -> list[str]:
    return [f"P{number}x{person:02}" for person in range(PEOPLE)]


@dataclass
class Town:
    """`orders`: of this round. `deaf`: whom WeCom did not reach for a while. `barred`: companies that were disabled in
    this round."""

    stack: Stack
    exits: ExitStack
    database: Service
    broker: Service
    wecom: WeCom
    corps: list[Corp] = field(default_factory=list)
    secrets: dict[int, str] = field(default_factory=dict)
    orders: list[Subscription] = field(default_factory=list)
    by_hand: Subscription = field(default_factory=Subscription)
    deaf: set[tuple[str, str]] = field(default_factory=set)
    barred: set[int] = field(default_factory=set)
    running: dict[str, Program] = field(default_factory=dict)
    # One thing at a time is done to a program, a server or a company.
    locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    # --- Its life ---------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        if name in WORKERS:
            self.running[name] = self.stack.start_worker(self.exits, name)
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
            for userid in userids(number):
                WeComAccount.objects.create(user=User.objects.create(username=userid), corp=corp, userid=userid)
        get_user_model().objects.create_superuser("root")
        for name in PROGRAMS:
            self.start(name)

    def now(self) -> datetime:
        return database_clock()()

    # --- Orders -------------------------------------------------------------------------------------------------

    def order(self, number: int) -> list[Subscription]:
        """What a round sends: to everyone, to one company, to some people a message each; all due now, once."""
        slot = self.now().replace(second=0, microsecond=0)
        orders = [
            self._order(f"轮{number} 全员", slot, to_everyone=True),
            self._order(f"轮{number} 一家", slot, corp=self.corps[number % len(self.corps)], to_everyone=True),
        ]
        people = list(User.objects.filter(wecom_accounts__isnull=False).order_by("pk"))
        for turn in range(PERSONAL_ORDERS):
            order = self._order(f"轮{number} 个人{turn}", slot, priority=turn % 2)
            order.users.add(people[(number * PERSONAL_ORDERS + turn) % len(people)])
            orders.append(order)
        Subscription.objects.filter(pk__in=[order.pk for order in orders]).update(next_run_at=slot)
        self.orders = orders
        # Not due, or its run by hand would be refused beside that of its slot.
        self.by_hand = self._order(f"轮{number} 手动", slot, priority=1)
        self.by_hand.users.add(people[number % len(people)])
        return orders

    def _order(self, title: str, slot: datetime, *, corp: Corp | None = None, **fields: Any) -> Subscription:
        report = Report.objects.create(title=title, body="今天一切正常。", corp=corp)
        validity = {"valid_from": slot, "valid_to": slot + timedelta(seconds=30)}
        form = MessageForm.TEXT if "priority" in fields else MessageForm.TEXTCARD
        return Subscription.objects.create(
            name=title, report=report, crontab="* * * * *", message_form=form, **validity, **fields
        )

    def ask_by_hand(self) -> str:
        """Through the web, twice, as an impatient person does. Returns the key of the run if the web said yes."""
        token = uuid.uuid4().hex
        client = Client()
        client.force_login(get_user_model().objects.get(username="root"), "django.contrib.auth.backends.ModelBackend")
        with requests.Session() as session:
            session.trust_env = False
            session.cookies[settings.SESSION_COOKIE_NAME] = client.cookies[settings.SESSION_COOKIE_NAME].value
            address = f"{self.stack.web_url}/admin/notifications/subscription/{self.by_hand.pk}/run/"
            page = session.get(address, timeout=20)
            csrf = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
            form = {"csrfmiddlewaretoken": csrf, "token": token}
            headers = {"Referer": address, "Origin": self.stack.web_url}
            answers = [
                session.post(address, data=form, headers=headers, timeout=20, allow_redirects=False) for _ in range(2)
            ]
        return f"manual:{token}" if all(answer.status_code == 302 for answer in answers) else ""

    # --- What is broken -------------------------------------------------------------------------------------------

    def disturb(self, what: Disturbance) -> None:
        with self.locks[what.target or what.kind]:
            getattr(self, f"_{what.kind}")(what)

    def _kill(self, what: Disturbance) -> None:
        if what.target == "sandbox":
            self.wecom.kill()
            time.sleep(what.seconds)
            self.stack.sandbox = self.wecom.start()
            return
        service = self._services().get(what.target)
        if service is not None:
            service.kill()
            time.sleep(what.seconds)
            service.restart()
            return
        kill_with_children(self.running[what.target])
        time.sleep(what.seconds)
        self.start(what.target)

    def _restart(self, what: Disturbance) -> None:
        self._services()[what.target].restart()

    def _stop(self, what: Disturbance) -> None:
        self.running[what.target].stop()
        self.start(what.target)

    def _freeze(self, what: Disturbance) -> None:
        """WeCom answers nothing for a while, and does what it was asked when it wakes up."""
        sandbox = psutil.Process(self.stack.sandbox.pid)
        sandbox.send_signal(signal.SIGSTOP)
        try:
            time.sleep(what.seconds)
        finally:
            sandbox.send_signal(signal.SIGCONT)

    def _jump(self, what: Disturbance) -> None:
        self.move_clock(what.seconds)

    def _fault(self, what: Disturbance) -> None:
        values = dict(what.fault)
        fault = {"kind": values.pop("kind"), "endpoint": values.pop("endpoint"), **values}
        self.control("POST", "faults", fault)

    def _disable(self, what: Disturbance) -> None:
        corp = self.corps[int(what.target)]
        self.barred.add(corp.pk)
        with_servers(lambda: services.disable_corp(corp=corp))
        time.sleep(what.seconds)
        with_servers(lambda: Corp.objects.filter(pk=corp.pk).update(is_enabled=True))

    def _invalidate(self, what: Disturbance) -> None:
        """The app's token is worth nothing any more."""
        path = f"companies/{corpid(int(what.target))}/apps/{AGENTID}/invalidate"
        self.control("POST", path, {"code": 40014})

    def _reset_secret(self, what: Disturbance) -> None:
        """In WeCom's console. Here it is pasted when the round is mended."""
        number = int(what.target)
        self.secrets[number] = uuid.uuid4().hex
        path = f"companies/{corpid(number)}/apps/{AGENTID}"
        self.control("PATCH", path, {"secret": self.secrets[number]})

    def _disable_member(self, what: Disturbance) -> None:
        number = int(what.target)
        userid = userids(number)[0]
        self.deaf.add((corpid(number), userid.lower()))
        self._set_status(number, userid, 2)

    def _recall(self, what: Disturbance) -> None:
        """An administrator takes a run back, whatever has become of it."""
        with_servers(lambda: self._act_on_run(what, recalls=True))

    def _resend(self, what: Disturbance) -> None:
        """An administrator sends a run again to whom it did not reach."""
        with_servers(lambda: self._act_on_run(what, recalls=False))

    def _act_on_run(self, what: Disturbance, *, recalls: bool) -> None:
        """On the newest run of an order, where there is one. The clock finds what is to be done."""
        order = self.orders[int(what.target) % len(self.orders)]
        runs = Run.objects.filter(subscription=order, resends=None).select_related("subscription__report")
        run = runs.order_by("-pk").first()
        if run is None:
            return
        person, now = get_user_model().objects.get(username="root"), self.now()
        if recalls and recalling.can_be_recalled(run, now=now):
            recalling.request_recall(run, person=person, now=now)
        elif not recalls and resending.can_be_resent(run):
            resending.request_resend(run, number=1, with_unknown=False, person=person, now=now)

    def _services(self) -> dict[str, Service]:
        return {"database": self.database, "broker": self.broker}

    # --- Mending --------------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """All that a person, or WeCom, would put right; programs are back by then."""
        self.control("DELETE", "faults", {})
        for number in self.secrets:
            self._set_status(number, userids(number)[0], 1)
            with_servers(partial(self._paste_secret, number))
        with_servers(lambda: Corp.objects.update(is_enabled=True))

    def revive(self) -> list[str]:
        """What a service manager does: programs that ended by themselves are started again. Returns their names."""
        ended = [name for name, program in self.running.items() if program.process.poll() is not None]
        for name in ended:
            self.start(name)
        return ended

    def move_clock(self, seconds: float) -> None:
        with_servers(lambda: clock.move(self.database.url, seconds))

    def pass_time(self) -> None:
        """Move the clocks on to what is due next, at most ten minutes: nobody wants to wait for a back-off.

        Valkey's clock stays: the waits that the limiter keeps there are ended.
        """
        now = self.now()
        moments = [now + timedelta(minutes=10)]
        for row in Delivery.objects.unsettled().values_list("next_attempt_at", "queued_until", "lease_until"):
            moments += [moment for moment in row if moment is not None]
        moments += Run.objects.filter(status=Run.Status.WAITING).values_list("render_after", flat=True)
        probes = CorpQueue.objects.blocked().values_list("probe_at", flat=True)
        moments += [moment for moment in probes if moment is not None]
        seconds = min((each - now).total_seconds() for each in moments if each > now) + 1
        self.move_clock(seconds)
        self.control("POST", "clock/advance", {"seconds": max(0.0, seconds)})
        with_servers(self._end_holds)

    def _end_holds(self) -> None:
        with redis.Redis.from_url(self.broker.url) as store:
            for key in store.scan_iter("push:limit:*:hold"):
                store.delete(key)

    def control(self, method: str, path: str, document: object = None) -> Any:
        """A call of the sandbox's control interface, as soon as it is there: it may be away just now."""
        return patiently(lambda: self.stack.sandbox.control(method, path, document), requests.ConnectionError)

    def arrived(self) -> Arrived:
        found: Arrived = Arrived()
        for number in self.secrets:
            path = f"companies/{corpid(number)}/messages"
            found += arrived(self.control("GET", path)["messages"], corpid(number))
        return found

    def _paste_secret(self, number: int) -> None:
        corp = Corp.objects.get(corpid=corpid(number))
        if corp.secret != self.secrets[number]:
            corp.secret = self.secrets[number]
            services.save_corp(corp=corp, changed_fields={"secret"})

    def _set_status(self, number: int, userid: str, status: int) -> None:
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


@contextmanager
def at_once(town: Town, plan: list[Disturbance]) -> Iterator[None]:
    """The disturbances begin, each in its thread at its time; on the way out all of them are over."""
    failures: list[BaseException] = []

    def run(what: Disturbance) -> None:
        time.sleep(what.at)
        try:
            town.disturb(what)
        except BaseException as error:  # noqa: BLE001  # raised below, in the thread that waits
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(what,)) for what in plan]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
