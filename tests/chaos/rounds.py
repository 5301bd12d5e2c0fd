"""Rounds of chaos: orders, disturbances, mending, and a comparison of every receipt with every phone."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from integrations.datasources.fetch import RETRY_PAUSES
from notifications.models import Channel, Delivery, Incident, Receipt, Run, Subscription
from tests.chaos import database as databases
from tests.chaos.breaker import Breaker, at_once
from tests.chaos.clocks import Clocks
from tests.chaos.judge import (
    count_in_groups,
    find_doubled,
    find_unfinished,
    find_unfounded,
    find_wrong_groups,
    find_wrong_receipts,
)
from tests.chaos.network import ways
from tests.chaos.plan import COMPANIES, NETWORK, POOLER, Disturbance, plan
from tests.chaos.town import ON_DUTY, PEOPLE, Asked, ClockedStack, Town, corpid, robot_key, userids, with_servers
from tests.chaos.wecom import WeCom
from tests.e2e.stack import wait_for_log
from tests.pooler import pgbouncer_command
from tests.sandbox_process import ROOT, company
from tools.services import Service

# After so long without a change, only waiting is left, and the clock is moved on.
STILL_SECONDS = 1.6
# A round that takes longer is stuck.
ROUND_SECONDS = 240
WECOM_MINUTE_SECONDS = 61
LOG_CHARACTERS = 6000
# Longer than all waits between the tries of a fetch, under a clock that jumps.
PATIENCE_FOR_DATA = sum(RETRY_PAUSES, timedelta())


@dataclass(frozen=True)
class Verdict:
    """The result of a round. `revived` names programs that ended by themselves and were started again."""

    number: int
    plan: list[Disturbance]
    seconds: float
    wrongs: list[str]
    counts: dict[str, int]
    # Receipts of apps' messages that say accepted so far.
    accepted: int
    revived: list[str]


@contextmanager
def running_town(database: Service, broker: Service, clocks: Clocks, folder: Path) -> Iterator[Town]:
    """Make the tables, and start the sandbox and all programs. Half of them reach the database through a PgBouncer."""
    call_command("migrate", verbosity=0)
    databases.make_movable(database.url)
    connection.close()
    secrets = {number: f"secret-{number}" for number in range(COMPANIES)}
    seed = {"companies": [_company(number, secret) for number, secret in secrets.items()]}
    with ExitStack() as exits:
        wecom = WeCom(folder, seed)
        exits.callback(wecom.stop)
        command, env = ways(database, broker, folder)
        pooler, pooled = pgbouncer_command(env["DATABASE_URL"], folder)
        stack = ClockedStack(env={**os.environ, **env}, root=ROOT, folder=folder, sandbox=wecom.start())
        stack.clocks, stack.pooled = clocks, pooled
        town = Town(stack, exits, database, broker, wecom, pooler, secrets=secrets)
        town.running[NETWORK] = stack.start(NETWORK, command, exits)
        wait_for_log("leads", town.running[NETWORK])
        town.start(POOLER)
        town.settle_in()
        yield town
        connection.close()


def play(town: Town, seed: int, number: int) -> Verdict:
    started = time.monotonic()
    disturbances = plan(seed, number)
    town.barred.clear()
    town.left.clear()
    town.control("DELETE", "calls", {})
    # The count of a person's messages, or its times, may be wrong for a moment.
    is_burst = any(each.kind in {"old_snapshot", "jump"} or each.is_step_of_valkey for each in disturbances)
    if any(each.kind == "promote" for each in disturbances):
        town.begin_standby()
    if is_burst:
        # A lost store is filled from calls whose times lie before a leap of the database's clock, so they seem older
        # than they are. An earlier round may have leapt, so WeCom's minute passes first.
        town.pass_world(WECOM_MINUTE_SECONDS)
    orders = town.order(number, is_burst=is_burst)
    with at_once(Breaker(town), disturbances):
        asked = town.ask(number)
    town.mend()
    revived: list[str] = []
    is_over = _drained(town, started, revived)
    said = with_servers(lambda: _judged(town, orders, asked))
    if not is_over:
        said += with_servers(lambda: find_unfinished(now=town.now()))
    counts, accepted = with_servers(_counts), with_servers(_accepted)
    return Verdict(number, disturbances, time.monotonic() - started, said, counts, accepted, revived)


def play_all(
    database: Service, broker: Service, clocks: Clocks, folder: Path, *, seed: int, numbers: Iterable[int]
) -> bool:
    """Play these rounds in one town and print each result. Stop and return False after the first that went wrong."""
    with running_town(database, broker, clocks, folder) as town:
        for number in numbers:
            verdict = play(town, seed, number)
            _tell(verdict)
            if verdict.wrongs:
                _tell_logs(folder)
                return False
    return True


def _drained(town: Town, started: float, revived: list[str]) -> bool:
    """Wait until nothing is under way. Return whether that took less than ROUND_SECONDS.

    `revived` gets the names of programs that were started again: one that gives up a full server may take a while to
    end.
    """
    before, still_since = "", time.monotonic()
    while time.monotonic() < started + ROUND_SECONDS:
        revived += town.revive()
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
    """Return what is under way as text to compare, or "" if all is done."""
    runs = Run.objects.filter(status__in=[Run.Status.WAITING, Run.Status.SENDING])
    waiting = Subscription.objects.filter(is_enabled=True, next_run_at__isnull=False)
    rows = [
        *runs.order_by("pk").values_list("pk", "status", "render_count"),
        *Delivery.objects.unsettled().order_by("pk").values_list("pk", "status", "attempt_count"),
        *waiting.order_by("pk").values_list("pk"),
        *Incident.objects.exclude(events__kind="notified").order_by("pk").values_list("pk"),
    ]
    return repr(rows) if rows else ""


def _judged(town: Town, orders: list[Subscription], asked: Asked) -> list[str]:
    found = town.count_arrived()
    said = [*find_wrong_receipts(found, deaf=town.deaf), *find_doubled(found), *find_unfounded()]
    for number in town.secrets:
        said += find_wrong_groups(corpid(number), count_in_groups(town.messages(number)))
    for order in orders:
        said += _complaints_of_order(town, order)
    return said + list(_complaints_of_asked(town, asked))


def _complaints_of_asked(town: Town, asked: Asked) -> Iterator[str]:
    """Yield complaints unless everything that the web accepted exists exactly once."""
    if asked.by_hand and Run.objects.filter(key=asked.by_hand).count() != 1:
        yield f"the web promised {asked.by_hand}, and there is no such run"
    # If a clock is set back, the orders' own schedule may come due too.
    requested = Run.objects.exclude(trigger=Run.Trigger.SCHEDULE)
    for order in town.asked.values():
        for trigger in Run.Trigger:
            if (count := Run.objects.filter(subscription=order, trigger=trigger).count()) > 1:
                yield f"{order} ran {count} times ({trigger})"
    by_key = requested.filter(subscription=town.asked["接口"])
    if asked.by_key and set(by_key.values_list("pk", flat=True)) != set(asked.by_key):
        yield f"callers with one key were told of the runs {asked.by_key}"
    if asked.alert:
        yield from _complaints_of_alert(asked.alert)


def _complaints_of_alert(name: str) -> Iterator[str]:
    """Yield complaints unless there is one incident, reported once to each person on duty."""
    incidents = list(Incident.objects.filter(labels__alertname=name))
    if len(incidents) != 1:
        yield f"the alert {name} has {len(incidents)} incidents"
        return
    receipts = Receipt.objects.filter(run__incident_events__incident=incidents[0])
    if receipts.count() != ON_DUTY * COMPANIES:
        yield f"the alert {name} has {receipts.count()} receipts for {ON_DUTY * COMPANIES} people on duty"


def _complaints_of_order(town: Town, order: Subscription) -> Iterator[str]:
    """Yield complaints unless the slot ran once, or was missed for a reason, and each person has a receipt."""
    # A run that was written early, under a clock that was set back, is no run of the slot
    # (notifications.delivery.maintenance).
    runs = list(Run.objects.filter(subscription=order, trigger=Run.Trigger.SCHEDULE).exclude(key__contains=":early:"))
    if len(runs) != 1:
        yield f"{order} ran {len(runs)} times"
        return
    [run] = runs
    if _is_excused(run, order):
        return
    if run.status != Run.Status.FINISHED:
        yield f"{order} is {run.status}: {run.error}"
        return
    receipts = Receipt.objects.filter(run=run)
    expected = _expected(order)
    if receipts.count() != expected:
        yield f"{order} has {receipts.count()} receipts for {expected} people"
    skipped = receipts.filter(status=Receipt.Status.SKIPPED)
    if skipped.filter(reason=Receipt.Reason.CORP_DISABLED).exists() and not town.barred:
        yield f"{order} skipped people of a company that was enabled all the time"
    for receipt in skipped.exclude(reason=Receipt.Reason.CORP_DISABLED):
        if receipt.reason != Receipt.Reason.BARRED or receipt.address not in town.left:
            yield f"{order} skipped {receipt.address}: {receipt.reason}"


def _is_excused(run: Run, order: Subscription) -> bool:
    """Return whether a run was too late, was recalled, or lacked data for longer than it waits."""
    is_late = run.claimed_at - run.slot_at > timedelta(minutes=order.grace_minutes)
    if run.status == Run.Status.MISSED:
        return is_late
    if run.status != Run.Status.FAILED:
        return False
    waited = (run.finished_at or run.claimed_at) - run.claimed_at
    is_without_data = order.report.report_cards.exists() and waited > PATIENCE_FOR_DATA
    return run.recall_requested_at is not None or is_without_data


def _expected(order: Subscription) -> int:
    if order.channel == Channel.ROBOT:
        return 1
    return PEOPLE * (1 if order.report.corp_id else COMPANIES) if order.to_everyone else order.users.count()


def _accepted() -> int:
    of_app = Receipt.objects.filter(delivery__channel=Channel.WECOM, delivery__status=Delivery.Status.ACCEPTED)
    return of_app.filter(status="").count()


def _counts() -> dict[str, int]:
    statuses = Delivery.objects.values_list("status", flat=True)
    return {status: sum(each == status for each in statuses) for status in sorted(set(statuses))}


def _company(number: int, secret: str) -> dict[str, object]:
    base = company()
    members = [{"userid": userid, "name": userid, "department": [2]} for userid in userids(number)]
    app = {**base["apps"][0], "secret": secret}
    robots = [{"key": robot_key(number), "name": f"群{number}"}]
    return {
        **base,
        "corpid": corpid(number),
        "name": f"公司{number}",
        "members": members,
        "tags": [],
        "apps": [app],
        "robots": robots,
    }


def _tell(verdict: Verdict) -> None:
    how = "WRONG" if verdict.wrongs else "right"
    lines = [
        f"round {verdict.number}: {how} in {verdict.seconds:.0f} s; so far {verdict.accepted} accepted, "
        f"deliveries {verdict.counts}"
    ]
    ended = [f"{name} had ended by itself" for name in verdict.revived]
    lines += [f"    {line}" for line in (*verdict.plan, *ended, *verdict.wrongs)]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _tell_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        sys.stdout.write(f"--- {log.stem}\n{log.read_text(errors='replace')[-LOG_CHARACTERS:]}\n")
