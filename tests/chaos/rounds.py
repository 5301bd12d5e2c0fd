"""Rounds of chaos: orders, disturbances, mending, and then every receipt against every phone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from django.core.management import call_command
from django.db import connection

from notifications.models import Delivery, Receipt, Run, Subscription
from tests.chaos import clock
from tests.chaos.judging import doubled, stuck, unfounded, wrongs
from tests.chaos.plan import Disturbance, plan
from tests.chaos.town import PEOPLE, Town, at_once, corpid, userids, with_servers
from tests.chaos.wecom import WeCom
from tests.e2e.stack import Stack
from tests.sandbox import ROOT, company
from tools.services import Service

COMPANIES = 2
# If nothing moves for so long, what is next is a matter of waiting, and the clock is moved on.
STILL_SECONDS = 1.6
# A round that is not over by then is stuck.
ROUND_SECONDS = 240
LOG_CHARACTERS = 6000


@dataclass(frozen=True)
class Verdict:
    """What became of a round. `revived`: programs that ended by themselves, and were started again."""

    number: int
    plan: list[Disturbance]
    seconds: float
    wrongs: list[str]
    counts: dict[str, int]
    revived: list[str]


@contextmanager
def running_town(database: Service, broker: Service, folder: Path) -> Iterator[Town]:
    """Tables, the sandbox, and all programs."""
    call_command("migrate", verbosity=0)
    clock.make_movable(database.url)
    connection.close()
    secrets = {number: f"secret-{number}" for number in range(COMPANIES)}
    seed = {"companies": [_company(number, secret) for number, secret in secrets.items()]}
    with ExitStack() as exits:
        wecom = WeCom(folder, seed)
        exits.callback(wecom.stop)
        stack = Stack(env=dict(os.environ), root=ROOT, folder=folder, sandbox=wecom.start())
        town = Town(stack, exits, database, broker, wecom, secrets=secrets)
        town.settle_in()
        yield town
        connection.close()


def play(town: Town, seed: int, number: int) -> Verdict:
    """One round."""
    started = time.monotonic()
    disturbances = plan(seed, number, companies=COMPANIES)
    town.barred.clear()
    town.control("DELETE", "calls", {})
    orders = town.order(number)
    with at_once(town, disturbances):
        asked = _asked_by_hand(town)
    town.mend()
    revived = town.revive()
    is_over = _drained(town, started)
    said = with_servers(lambda: _judged(town, orders, asked))
    if not is_over:
        said += with_servers(lambda: stuck(now=town.now()))
    return Verdict(number, disturbances, time.monotonic() - started, said, with_servers(_counts), revived)


def play_all(database: Service, broker: Service, *, seed: int, numbers: Iterable[int]) -> bool:
    """These rounds in one town, each told as it ends. False, and no further, after the first that went wrong."""
    with TemporaryDirectory(prefix="guanwecom-chaos-") as name, running_town(database, broker, Path(name)) as town:
        for number in numbers:
            verdict = play(town, seed, number)
            _tell(verdict)
            if verdict.wrongs:
                _tell_logs(Path(name))
                return False
    return True


def _asked_by_hand(town: Town) -> str:
    """The key of a run that the web promised; empty where it was away."""
    try:
        return with_servers(town.ask_by_hand)
    except (requests.RequestException, IndexError):
        return ""


def _drained(town: Town, started: float) -> bool:
    """Wait until nothing is under way. False where that takes too long."""
    before, still_since = "", time.monotonic()
    while time.monotonic() < started + ROUND_SECONDS:
        state = with_servers(_state)
        if not state:
            return True
        if state != before:
            before, still_since = state, time.monotonic()
        elif time.monotonic() - still_since > STILL_SECONDS:
            with_servers(town.pass_time)
            still_since = time.monotonic()
        time.sleep(0.25)
    return False


def _state() -> str:
    """What is under way, as text to compare; empty when all is done."""
    runs = Run.objects.filter(status__in=[Run.Status.WAITING, Run.Status.SENDING])
    waiting = Subscription.objects.filter(is_enabled=True, next_run_at__isnull=False)
    rows = [
        *runs.order_by("pk").values_list("pk", "status", "render_count"),
        *Delivery.objects.unsettled().order_by("pk").values_list("pk", "status", "attempt_count"),
        *waiting.order_by("pk").values_list("pk"),
    ]
    return repr(rows) if rows else ""


def _judged(town: Town, orders: list[Subscription], asked: str) -> list[str]:
    found = town.arrived()
    said = [*wrongs(found, deaf=town.deaf), *doubled(found), *unfounded()]
    for order in orders:
        said += _complaints_of_order(town, order)
    if asked and Run.objects.filter(key=asked).count() != 1:
        said.append(f"the web promised {asked}, and there is no such run")
    return said


def _complaints_of_order(town: Town, order: Subscription) -> Iterator[str]:
    """Its slot ran once, or is recorded as missed for a reason; each of its people has a receipt."""
    # Written before its time, under a clock that was set back, and no run of the slot (notifications.clock_repair).
    runs = list(Run.objects.filter(subscription=order, trigger=Run.Trigger.SCHEDULE).exclude(key__contains=":early:"))
    if len(runs) != 1:
        yield f"{order} ran {len(runs)} times"
        return
    [run] = runs
    is_late = run.claimed_at - run.slot_at > timedelta(minutes=order.grace_minutes)
    if run.status == Run.Status.MISSED and is_late:
        return
    if run.status == Run.Status.FAILED and run.recall_asked_at is not None:
        return
    if run.status != Run.Status.FINISHED:
        yield f"{order} is {run.status}: {run.error}"
        return
    receipts = Receipt.objects.filter(run=run)
    expected = PEOPLE * (1 if order.report.corp_id else COMPANIES) if order.to_everyone else order.users.count()
    if receipts.count() != expected:
        yield f"{order} has {receipts.count()} receipts for {expected} people"
    for receipt in receipts.filter(status=Receipt.Status.SKIPPED).exclude(reason=Receipt.Reason.CORP_DISABLED):
        yield f"{order} skipped {receipt.address}: {receipt.reason}"
    if receipts.filter(status=Receipt.Status.SKIPPED).exists() and not town.barred:
        yield f"{order} skipped people of a company that was enabled all the time"


def _counts() -> dict[str, int]:
    statuses = Delivery.objects.values_list("status", flat=True)
    return {status: sum(each == status for each in statuses) for status in sorted(set(statuses))}


def _company(number: int, secret: str) -> dict[str, object]:
    base = company()
    members = [{"userid": userid, "name": userid, "department": [2]} for userid in userids(number)]
    app = {**base["apps"][0], "secret": secret}
    return {**base, "corpid": corpid(number), "name": f"公司{number}", "members": members, "tags": [], "apps": [app]}


def _tell(verdict: Verdict) -> None:
    how = "WRONG" if verdict.wrongs else "right"
    lines = [f"round {verdict.number}: {how} in {verdict.seconds:.0f} s; deliveries so far {verdict.counts}"]
    ended = [f"{name} had ended by itself" for name in verdict.revived]
    lines += [f"    {line}" for line in (*verdict.plan, *ended, *verdict.wrongs)]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _tell_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        sys.stdout.write(f"--- {log.stem}\n{log.read_text(errors='replace')[-LOG_CHARACTERS:]}\n")
