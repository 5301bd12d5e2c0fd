"""The push engine's guarantees under any order of events: a state machine over the services, with a fake clock.

After each step every receipt agrees with the phones of a sandbox, and no limit is exceeded. At the end all faults are
repaired: then each person has each message exactly once or a reason why not, and nothing is left over.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count, takewhile
from typing import Any, ClassVar

import pytest
import redis
from django.db import transaction
from django.db.models import Sum
from django.test import TestCase
from hypothesis import HealthCheck, Phase
from hypothesis import settings as rules
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pytest_django import Settings
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import World

from accounts.models import User, WeComAccount
from integrations.companies import services
from integrations.models import Corp
from notifications.delivery import limiter
from notifications.delivery.runs import recall, scheduler
from notifications.delivery.runs.owner_notices import NOTICE_PERIOD
from notifications.delivery.runs.triggers import TriggerRefusedError, can_be_resent, request_resend, request_run
from notifications.models import CorpQueue, Delivery, MessageForm, Receipt, Run, Subscription
from notifications.subscriptions.schedules import find_slots
from tests.chaos.judge import find_doubled, find_unfinished, find_unfounded, find_wrong_receipts
from tests.nightly import IS_NIGHTLY
from tests.notifications.conftest import FakeClock
from tests.notifications.engine import Engine, FollowingClock, sandbox_in_thread
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_subscription, make_superuser
from tests.sandbox_process import company

pytestmark = pytest.mark.django_db

PHASES = [Phase.generate]
searching = rules(
    phases=PHASES,
    max_examples=600 if IS_NIGHTLY else 6,
    stateful_step_count=60 if IS_NIGHTLY else 25,
    deadline=None,
    derandomize=not IS_NIGHTLY,
    database=None,
    suppress_health_check=list(HealthCheck),
)
COMPANIES = {"ww0000000000000001": ["ann", "Bob", "cat"], "ww0000000000000002": ["dan", "Eve"]}
CALLS_PER_MINUTE, MESSAGES_PER_MEMBER = 6, 3
# The longest wait is the third repeat after "busy" (half an hour and a fifth), after two others.
DRAINED_WITHIN = timedelta(hours=2)
ANSWERS = [
    ("busy", {}),
    ("rate_limited", {}),
    ("concurrent", {}),
    ("ip_refused", {}),
    ("errcode", {"code": 40001}),
    ("token_revoked", {}),
    ("token_revoked", {"code": 42001}),
    ("wrong_json_warning", {}),
    ("close_before", {}),
    ("close_after", {}),
    *[(kind, {"processed": processed}) for kind in ("http_500", "html", "broken_json") for processed in (False, True)],
]
_numbers = count(1)


@pytest.fixture
def engine(
    clock: FakeClock, valkey_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Engine, str]]:
    """The engine and the address of its sandbox. The database, Valkey and WeCom share one clock."""
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_MEMBER_PER_MINUTE = CALLS_PER_MINUTE, MESSAGES_PER_MEMBER
    settings.WECOM_TOTAL_TIMEOUT_SECONDS = 60
    monkeypatch.setattr("notifications.delivery.channels.MEMBER_PER_HOUR", 0)
    world = World()
    world.clock = FollowingClock(clock)
    engine = Engine(clock, world, valkey_client)
    monkeypatch.setattr(limiter, "_make_gate", lambda _url, lease_seconds: engine.gate(lease_seconds))
    monkeypatch.setattr("notifications.delivery.sending.send.database_now", clock)
    monkeypatch.setattr(services, "database_now", clock)
    # The clock stands still, so messages that must wait go back at once.
    monkeypatch.setattr("notifications.delivery.sending.send.PATIENCE_SECONDS", 0)
    with sandbox_in_thread(world) as url:
        yield engine, url


def test_whatever_happens_each_person_has_each_message_once(engine: tuple[Engine, str]) -> None:
    Machine.engine, Machine.url = engine

    run_state_machine_as_test(Machine, settings=searching)


class Machine(RuleBasedStateMachine):
    """Five people of two companies, four subscriptions, and everything that may happen to them."""

    engine: ClassVar[Engine]
    url: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.rows = transaction.atomic()
        self.rows.__enter__()
        engine = self.engine
        engine.store.flushdb()
        engine.broker.clear()
        engine.gone.clear()
        engine.clock.now = NOW
        engine.world.reset()
        self.deaf: set[tuple[str, str]] = set()
        self.corps = [self._company(corpid, userids) for corpid, userids in COMPANIES.items()]
        engine.world.settings.change({"member_per_minute": MESSAGES_PER_MEMBER, "member_per_hour": 100_000})
        self.me = make_superuser()
        self.orders = list(self._orders())
        self.first_times = [order.next_run_at for order in self.orders if order.next_run_at is not None]

    def _company(self, corpid: str, userids: list[str]) -> Corp:
        members = [{"userid": userid, "name": userid, "department": [2]} for userid in userids]
        administration.put_company(self.engine.world, company(corpid=corpid, members=members, tags=[]))
        [app] = self.engine.world.companies[corpid].apps.values()
        corp = make_corp(corpid=corpid, agentid=app.agentid, secret=app.secret, api_base_url=self.url)
        for userid in userids:
            make_person(corp, userid, username=userid)
        return corp

    def _orders(self) -> Iterator[Subscription]:
        first, second = self.corps
        form = MessageForm.TEXT
        yield make_subscription(crontab="0 * * * *", to_everyone=True, owner=User.objects.get(username="ann"))
        yield make_subscription(crontab="*/20 * * * *", to_everyone=True, report=make_report(corp=first))
        for person in User.objects.filter(wecom_accounts__corp=second).order_by("pk"):
            yield make_subscription(person, crontab="*/15 * * * *", message_form=form, priority=0)

    # --- The clock, beat and the workers --------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 5, 20, 40, 61, 130, 900]))
    def time_passes(self, seconds: int) -> None:
        self.engine.clock.advance(seconds=seconds)

    @rule(hours=st.sampled_from([1, 4, 25]))
    def an_outage(self, hours: int) -> None:
        self.engine.clock.advance(hours=hours)

    @rule(times=st.integers(1, 2))
    def tick(self, times: int) -> None:
        for _ in range(times):
            self.engine.tick()

    @rule()
    def all_goes_well(self) -> None:
        self.engine.work_off()

    # Without a task a worker does nothing. The rules have no preconditions: retries wait for random times and calls run
    # in parallel, so the same steps may leave another number of tasks, and Hypothesis has to draw the same again.

    @rule(position=st.integers(0, 3))
    def a_worker_does_a_task(self, position: int) -> None:
        if self.engine.broker:
            self.engine.do_task(position)

    @rule(position=st.integers(0, 3))
    def a_worker_is_stopped(self, position: int) -> None:
        if self.engine.broker:
            self.engine.stop_at(position)

    @rule(position=st.integers(0, 3))
    def a_worker_dies_before_its_calls(self, position: int) -> None:
        if self.engine.broker:
            self.engine.die_before_the_call(position)

    @rule(position=st.integers(0, 3))
    def a_worker_dies_after_its_calls(self, position: int) -> None:
        if self.engine.broker:
            self.engine.die_after_the_call(position)

    @rule()
    def a_worker_thought_dead_settles(self) -> None:
        self.engine.settle_late()

    @rule()
    def the_dead_stay_dead(self) -> None:
        self.engine.gone.clear()

    @rule()
    def a_task_comes_twice(self) -> None:
        for kind, ids in list(self.engine.broker)[:1]:
            self.engine.broker.append((kind, list(ids)))

    @rule()
    def valkey_is_emptied(self) -> None:
        self.engine.lose_store()

    # --- WeCom ----------------------------------------------------------------------------------------------------

    @rule(answer=st.sampled_from(ANSWERS), number=st.sampled_from([1, 1, 2, 5]))
    def wecom_answers(self, answer: tuple[str, dict[str, Any]], number: int) -> None:
        kind, values = answer
        self.engine.wecom_will(kind, count=number, **values)

    @rule(corpid=st.sampled_from(list(COMPANIES)), first=st.booleans(), status=st.sampled_from([1, 2, 4]))
    def a_member_changes(self, corpid: str, first: bool, status: int) -> None:
        """Disabled and not activated members cannot be reached; WeCom names them in lower case."""
        userid = COMPANIES[corpid][0 if first else 1]
        administration.put_members(
            self.engine.world, self.engine.world.companies[corpid], [{"userid": userid, "status": status}]
        )
        if status != 1:
            self.deaf.add((corpid, userid.lower()))

    @rule(which=st.sampled_from([0, 1]), is_pasted=st.booleans())
    def the_secret_is_reset(self, which: int, is_pasted: bool) -> None:
        """Reset the Secret in WeCom's console; with `is_pasted` also enter it here."""
        corp = self.corps[which]
        [app] = self.engine.world.companies[corp.corpid].apps.values()
        app.secret = administration.make_secret()
        if is_pasted:
            corp.secret = app.secret
            # Executed, as an example is never committed, and a wrong Secret is not tried again for a minute.
            with TestCase.captureOnCommitCallbacks(execute=True):
                services.save_corp(corp=corp, changed_fields={"secret"})

    # --- Administrators ------------------------------------------------------------------------------------------

    @rule(which=st.sampled_from([0, 1]), is_enabled=st.booleans())
    def a_company_is_switched(self, which: int, is_enabled: bool) -> None:
        if is_enabled:
            Corp.objects.filter(pk=self.corps[which].pk).update(is_enabled=True)
        else:
            services.disable_corp(corp=self.corps[which])

    @rule(which=st.sampled_from([0, 1, None]), is_paused=st.booleans())
    def a_queue_is_switched(self, which: int | None, is_paused: bool) -> None:
        corp = None if which is None else self.corps[which]
        CorpQueue.objects.filter(corp=corp).update(is_paused=is_paused)

    @rule(which=st.integers(0, 3), field=st.sampled_from(["is_enabled", "is_paused"]), value=st.booleans())
    def an_order_is_switched(self, which: int, field: str, value: bool) -> None:
        order = self.orders[which]
        Subscription.objects.filter(pk=order.pk).update(**{field: value})

    @rule(which=st.integers(0, 3))
    def an_order_runs_by_hand(self, which: int) -> None:
        """Submit the run form twice. It is refused while another run of the subscription is under way."""
        token, now, order = str(next(_numbers)), self.engine.clock.now, self.orders[which]
        is_free = not Run.objects.under_way().filter(subscription=order).exists()
        try:
            requested = [
                request_run(order, trigger=Run.Trigger.MANUAL, form_key=token, person=self.me, now=now)
                for _ in range(2)
            ]
        except TriggerRefusedError:
            assert not is_free
            return
        assert is_free
        assert [is_new for _run, is_new in requested] == [True, False]
        self.engine.broker.append(("render", [requested[0][0].pk]))

    @rule(pick=st.integers(0, 5))
    def a_run_is_sent_again(self, pick: int) -> None:
        run = self._some_run(pick)
        if run is None or not can_be_resent(run):
            return
        number = Run.objects.filter(resends=run).count() + 1
        [again], _is_new = request_resend(
            run, number=number, with_unknown=False, person=self.me, now=self.engine.clock.now
        )
        self.engine.broker.append(("render", [again.pk]))

    @rule(pick=st.integers(0, 5))
    def a_run_is_recalled(self, pick: int) -> None:
        run = self._some_run(pick)
        if run is not None and recall.can_be_recalled(run, now=self.engine.clock.now):
            recall.request_recall(run, person=self.me, now=self.engine.clock.now)

    def _some_run(self, pick: int) -> Run | None:
        return Run.objects.order_by("-pk")[pick : pick + 1].first()

    # --- What must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def receipts_tell_what_stands_on_the_phones(self) -> None:
        assert find_wrong_receipts(self.engine.count_arrived(), deaf=self.deaf) == []

    @invariant()
    def nobody_has_a_run_twice(self) -> None:
        """Covers the deliveries of a run and of the runs that resend it."""
        assert find_doubled(self.engine.count_arrived()) == []

    @invariant()
    def of_one_order_one_run_is_under_way(self) -> None:
        under_way = list(Run.objects.under_way().order_by("pk").values_list("subscription", flat=True))
        assert len(under_way) == len(set(under_way))

    @invariant()
    def no_limit_is_crossed(self) -> None:
        for corpid in COMPANIES:
            fullest = self.engine.most_calls_in_a_minute(corpid)
            assert len(fullest) <= CALLS_PER_MINUTE, [time - NOW.timestamp() for time in fullest]
        assert not any(message.dropped for message in self.engine.world.mail.messages.values())

    def teardown(self) -> None:
        try:
            if hasattr(self, "orders"):
                self._mend()
                self._drain()
                self._judge()
        finally:
            if hasattr(self, "rows"):
                transaction.set_rollback(True)
                self.rows.__exit__(None, None, None)

    def _mend(self) -> None:
        self.engine.world.faults.clear()
        Corp.objects.update(is_enabled=True)
        CorpQueue.objects.update(is_paused=False)
        # Disable all, so that no new runs come.
        Subscription.objects.update(is_enabled=False, is_paused=False)
        for which, corp in enumerate(self.corps):
            self.the_secret_is_reset(which, is_pasted=True)
            for userid in COMPANIES[corp.corpid]:
                administration.put_members(
                    self.engine.world, self.engine.world.companies[corp.corpid], [{"userid": userid, "status": 1}]
                )

    def _drain(self) -> None:
        self._work_until_all_is_over()
        if Run.objects.unnotified().exists():
            self.engine.clock.now += NOTICE_PERIOD
            self._work_until_all_is_over()

    def _work_until_all_is_over(self) -> None:
        until = self.engine.clock.now + DRAINED_WITHIN
        self.engine.work_off()
        while find_unfinished(now=self.engine.clock.now):
            assert self.engine.clock.now < until, "\n".join(find_unfinished(now=self.engine.clock.now))
            self.engine.next_moment()
            self.engine.work_off()

    def _judge(self) -> None:
        self.receipts_tell_what_stands_on_the_phones()
        self.nobody_has_a_run_twice()
        self.no_limit_is_crossed()
        assert find_unfounded() == []
        assert not Run.objects.unnotified().exists()
        assert self._silent_losses() == []
        assert self._lost_slots() == []
        rendered = Run.objects.filter(status=Run.Status.FINISHED, resends=None).exclude(trigger=Run.Trigger.NOTICE)
        people = {order.pk: self._audience(order) for order in self.orders}
        for run in rendered:
            has_receipt = set(Receipt.objects.filter(run=run).values_list("user", flat=True))
            assert has_receipt == people[run.subscription_id or 0], f"run {run.pk} forgot somebody"

    def _silent_losses(self) -> list[str]:
        """Return runs without an error though somebody did not get their message."""
        lost = [Delivery.Status.FAILED, Delivery.Status.CANCELED, Delivery.Status.UNKNOWN]
        losers = Receipt.objects.filter(status="", delivery__status__in=lost)
        runs = Run.objects.filter(status=Run.Status.FINISHED, error="", recall_requested_at=None)
        return [str(run) for run in runs.filter(pk__in=losers.values("run"))]

    def _lost_slots(self) -> list[str]:
        """Return the subscriptions whose runs cover fewer or more times than their schedules had."""
        said = []
        for order, first in zip(self.orders, self.first_times, strict=True):
            order.refresh_from_db()
            assert order.next_run_at is not None
            after = first - timedelta(seconds=1)
            had = sum(1 for _ in takewhile(order.next_run_at.__gt__, find_slots(order, after)))
            known = Run.objects.filter(subscription=order, trigger=Run.Trigger.SCHEDULE)
            found = known.aggregate(total=Sum("slot_count", default=0))["total"]
            if found != had < scheduler.MISSED_COUNTED:
                said.append(f"{order}: {found} of {had} times")
        return said

    def _audience(self, order: Subscription) -> set[int]:
        everyone = WeComAccount.objects.filter(corp__in=[order.report.corp] if order.report.corp else self.corps)
        chosen = everyone if order.to_everyone else everyone.filter(user__in=order.users.all())
        return set(chosen.values_list("user", flat=True))
