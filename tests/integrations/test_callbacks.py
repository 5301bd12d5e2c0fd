"""Work on events: stored with the event, done once, repeated if lost, by one worker at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from guanwecom.celery import app
from integrations import callbacks, tasks
from integrations.callbacks import EVENT_DAYS, Batch, Consumer, Outcome
from integrations.clients.errors import ConfigurationError, RateLimitedError, TransientError
from integrations.hooks import Registry
from integrations.models import CallbackEvent, Corp, EventLane, EventWork
from tests.integrations.callback_sender import Sender, event_xml, with_keys
from tests.notifications.side_by_side import do_at_once

Status = EventWork.Status
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@dataclass
class Hearer:
    """A consumer of a test: the changes that it got, and what it does with them."""

    name: str = "tests.first"
    heard: list[list[str]] = field(default_factory=list)
    act: Callable[[Batch], Outcome | None] = lambda batch: None

    def consume(self, batch: Batch) -> Outcome:
        self.heard.append([one.change for one in batch.events])
        return self.act(batch) or Outcome()


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "consumers", Registry())


@pytest.fixture
def first() -> Hearer:
    return register(Hearer())


@pytest.fixture
def path(corp: Corp) -> str:
    return f"/wecom/{with_keys(corp).pk}/events/"


def register(hearer: Hearer, *, after: str = "", wants: str = "change_contact") -> Hearer:
    callbacks.consumers.register(Consumer(hearer.name, frozenset({wants}), hearer.consume, after=after))
    return hearer


def make_event(corp: Corp, change: str = "update_user", *, seconds: int = 0, **values: object) -> CallbackEvent:
    """Make an event that happened so many seconds after NOW, with its work."""
    happened = NOW + timedelta(seconds=seconds)
    fields = {"event": "change_contact", "is_event": True, "change": change, "happened_at": happened, **values}
    key = f"k{CallbackEvent.objects.count()}"
    event = CallbackEvent.objects.create(corp=corp, kind="app", key=key, received_at=NOW, body="<xml/>", **fields)
    callbacks.add_work(event)
    return event


def work(corp: Corp, name: str = "tests.first", *, now: datetime = NOW) -> list[tuple[int, str]]:
    return callbacks.work_through(corp_id=corp.pk, consumer=name, clock=lambda: now)


def states() -> list[str]:
    return list(EventWork.objects.order_by("pk").values_list("status", flat=True))


def post_change(path: str) -> None:
    elements = {"ChangeType": "update_user", "UserID": "lilei"}
    sent = Sender(path).post(event_xml(created_at=int(NOW.timestamp()), **elements))
    assert sent.status_code == 200


@pytest.fixture
def _at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)


@pytest.mark.usefixtures("_at_that_time")
def test_an_event_is_stored_once_with_its_work_if_somebody_wants_it_and_nothing_is_done(
    path: str, corp: Corp, first: Hearer
) -> None:
    unwanted = event_xml(name="enter_agent", created_at=int(NOW.timestamp()), AgentID=1000002)
    assert Sender(path).post(unwanted).status_code == 200
    assert (CallbackEvent.objects.count(), EventWork.objects.count()) == (1, 0)

    post_change(path)
    post_change(path)

    (row,) = EventWork.objects.all()
    assert (row.event.change, row.corp, row.consumer, row.status) == ("update_user", corp, "tests.first", "waiting")
    assert (row.try_count, row.next_try_at, row.done_at) == (0, None, None)
    assert first.heard == []


@pytest.mark.usefixtures("_at_that_time", "no_broker")
def test_without_a_broker_wecom_is_answered_and_the_work_waits(path: str, corp: Corp, first: Hearer) -> None:
    post_change(path)

    assert states() == [Status.WAITING]
    assert callbacks.due_lanes(now=NOW) == [(corp.pk, "tests.first")]


@pytest.mark.usefixtures("_at_that_time")
def test_the_one_who_stores_names_who_may_begin(corp: Corp, first: Hearer) -> None:
    register(Hearer("tests.second"), after="tests.first")
    register(Hearer("tests.other"), wants="enter_agent")
    event = CallbackEvent.objects.create(
        **{"corp": corp, "kind": "app", "key": "k", "event": "change_contact", "is_event": True},
        **{"happened_at": NOW, "received_at": NOW, "body": "<xml/>"},
    )

    assert callbacks.add_work(event) == ["tests.first"]
    assert set(EventWork.objects.values_list("consumer", flat=True)) == {"tests.first", "tests.second"}


def test_events_come_once_in_batches_in_the_order_in_which_they_happened(
    corp: Corp, first: Hearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "BATCH", 3)
    for change, seconds in [("b", 2), ("c", 3), ("a", 1), ("b2", 2)]:
        make_event(corp, change, seconds=seconds)

    assert work(corp) == []
    assert work(corp) == []

    assert first.heard == [["a", "b", "b2"], ["c"]]
    assert states() == [Status.DONE] * 4


def test_each_company_has_its_own_lane(corp: Corp, other_corp: Corp, first: Hearer) -> None:
    make_event(corp, "a")
    make_event(other_corp, "b")

    assert callbacks.due_lanes(now=NOW) == [(corp.pk, "tests.first"), (other_corp.pk, "tests.first")]
    work(other_corp)

    assert first.heard == [["b"]]
    assert callbacks.due_lanes(now=NOW) == [(corp.pk, "tests.first")]


def test_who_comes_after_waits_and_is_queued_then(corp: Corp, first: Hearer) -> None:
    second = register(Hearer("tests.second"), after="tests.first")
    first.act = lambda batch: Outcome([7, 9])
    event = make_event(corp)

    assert work(corp, "tests.second") == []
    assert second.heard == []
    assert work(corp) == [(corp.pk, "tests.second")]
    assert work(corp, "tests.second") == []

    assert second.heard == [["update_user"]]
    assert callbacks.find_changed_keys(consumer="tests.first", events=[event]) == [7, 9]


def test_who_comes_after_does_not_wait_for_one_that_was_given_up(corp: Corp, first: Hearer) -> None:
    second = register(Hearer("tests.second"), after="tests.first")
    make_event(corp)
    EventWork.objects.filter(consumer="tests.first").update(status=Status.FAILED)

    work(corp, "tests.second")

    assert second.heard == [["update_user"]]


def test_a_batch_may_ask_to_be_repeated(corp: Corp, first: Hearer) -> None:
    first.act = lambda batch: Outcome([len(first.heard)], timedelta(seconds=20) if len(first.heard) == 1 else None)
    event = make_event(corp)

    work(corp)
    assert (states(), callbacks.due_lanes(now=NOW + timedelta(seconds=19))) == ([Status.WAITING], [])
    work(corp, now=NOW + timedelta(seconds=20))

    assert (states(), len(first.heard)) == ([Status.DONE], 2)
    assert callbacks.find_changed_keys(consumer="tests.first", events=[event]) == [1, 2]


def test_an_event_that_comes_while_others_are_worked_off_is_not_forgotten(corp: Corp, first: Hearer) -> None:
    """Look again after releasing the lane, because the other event's task found it taken."""
    make_event(corp, "a")

    def another(batch: Batch) -> None:
        if len(first.heard) == 1:
            make_event(corp, "b", seconds=1)
            assert work(corp) == []

    first.act = another
    work(corp)

    assert first.heard == [["a"], ["b"]]


def test_a_long_turn_ends_and_is_queued_anew(corp: Corp, first: Hearer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "BATCH", 1)
    for number in range(3):
        make_event(corp, str(number), seconds=number)
    now = NOW

    def slow(batch: Batch) -> None:
        nonlocal now
        now += timedelta(seconds=61)

    first.act = slow
    assert callbacks.work_through(corp_id=corp.pk, consumer="tests.first", clock=lambda: now) == [
        (corp.pk, "tests.first")
    ]
    assert first.heard == [["0"]]


@pytest.mark.parametrize("name", ["tests.unknown", "tests.first"])
def test_a_consumer_or_company_that_is_gone(corp: Corp, first: Hearer, name: str) -> None:
    make_event(corp)
    EventWork.objects.update(consumer="tests.unknown")

    assert callbacks.work_through(corp_id=corp.pk + 1, consumer=name, clock=lambda: NOW) == []
    assert work(corp, "tests.unknown") == []
    assert callbacks.due_lanes(now=NOW) == []


def test_a_dead_worker_s_lane_is_taken_over(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    EventLane.objects.create(corp=corp, consumer="tests.first", lease_token="dead", lease_until=NOW)

    assert callbacks.due_lanes(now=NOW - timedelta(seconds=1)) == []
    assert callbacks.due_lanes(now=NOW) == [(corp.pk, "tests.first")]
    work(corp)
    assert states() == [Status.DONE]


@pytest.mark.parametrize("notices", [True, False])
def test_a_worker_whose_lane_was_taken_writes_nothing(corp: Corp, first: Hearer, notices: bool) -> None:
    make_event(corp)

    def thief(batch: Batch) -> None:
        EventLane.objects.update(lease_token="another")
        if notices:
            batch.hold()

    first.act = thief
    assert work(corp) == []

    assert states() == [Status.WAITING]
    assert EventLane.objects.get().lease_token == "another"


def refuse_by(error: type[ConfigurationError | TransientError], **more: object) -> Callable[[Batch], None]:
    def act(batch: Batch) -> None:
        raise error("does not answer", system="wecom", operation="user_get", **more)  # type: ignore[arg-type]  # as it comes

    return act


@pytest.mark.parametrize("error", [TransientError, ConfigurationError])
def test_where_the_other_side_is_not_to_be_had_the_lane_waits(
    corp: Corp, first: Hearer, error: type[ConfigurationError | TransientError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "BATCH", 1)
    make_event(corp, "a")
    make_event(corp, "b", seconds=1)
    first.act = refuse_by(error)

    work(corp)

    assert first.heard == [["a"]]
    assert callbacks.due_lanes(now=NOW + timedelta(seconds=9)) == []
    assert callbacks.due_lanes(now=NOW + timedelta(seconds=10)) == [(corp.pk, "tests.first")]
    tried = EventWork.objects.get(event__change="a")
    assert (tried.try_count, tried.problem) == (1, "wecom user_get: does not answer")


def test_the_pauses_grow_to_a_quarter_of_an_hour(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    first.act = refuse_by(TransientError)
    now, pauses = NOW, []
    for _ in range(9):
        work(corp, now=now)
        next_try_at = EventWork.objects.get().next_try_at
        assert next_try_at is not None
        pauses.append((next_try_at - now).total_seconds())
        now = next_try_at

    assert pauses == [10, 20, 40, 80, 160, 320, 640, 900, 900]
    first.act = refuse_by(RateLimitedError, retry_after_seconds=7000)
    work(corp, now=now)
    assert EventWork.objects.get().next_try_at == now + timedelta(seconds=7000)  # a limit of WeCom is waited out


def test_after_a_day_and_a_half_an_event_is_given_up(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    first.act = refuse_by(TransientError)

    work(corp, now=NOW + timedelta(hours=36))
    assert states() == [Status.WAITING]
    EventWork.objects.update(next_try_at=None)
    work(corp, now=NOW + timedelta(hours=36, seconds=1))

    assert states() == [Status.FAILED]
    assert callbacks.due_lanes(now=NOW + timedelta(days=3)) == []


def test_one_bad_event_keeps_no_other(corp: Corp, first: Hearer) -> None:
    for number, change in enumerate(["a", "bad", "c"]):
        make_event(corp, change, seconds=number)

    def stumble(batch: Batch) -> None:
        if any(one.change == "bad" for one in batch.events):
            raise ZeroDivisionError

    first.act = stumble
    work(corp)

    assert first.heard == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]
    assert states() == [Status.DONE, Status.WAITING, Status.DONE]
    assert EventWork.objects.get(event__change="bad").problem == "ZeroDivisionError"


def test_a_bad_event_is_given_up_in_the_end(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    first.act = lambda batch: Outcome([1 // 0])
    for _ in range(callbacks.TRIES_AT_MOST):
        EventWork.objects.update(next_try_at=None)
        assert states() == [Status.WAITING]
        work(corp)

    assert states() == [Status.FAILED]


@pytest.fixture
def _eager() -> Iterator[None]:
    """Tasks that run when they are queued."""
    celery: Any = app  # celery-types lacks what is set here
    celery.conf.task_always_eager = True
    yield
    celery.conf.task_always_eager = False


@pytest.mark.usefixtures("_eager")
def test_the_sweep_finds_what_was_lost_and_the_task_goes_on_to_who_waited(corp: Corp, first: Hearer) -> None:
    second = register(Hearer("tests.second"), after="tests.first")
    make_event(corp)

    tasks.sweep_events(NOW)

    assert (first.heard, second.heard) == ([["update_user"]], [["update_user"]])
    assert states() == [Status.DONE] * 2


@pytest.mark.django_db(transaction=True)
def test_many_workers_take_each_event_once(corp: Corp, first: Hearer) -> None:
    for number in range(20):
        make_event(corp, str(number), seconds=number)

    do_at_once(*[lambda: work(corp)] * 4)
    assert sorted(change for heard in first.heard for change in heard) == sorted(str(number) for number in range(20))
    assert states() == [Status.DONE] * 20


def test_an_event_is_kept_for_longer_than_it_is_tried() -> None:
    assert timedelta(days=EVENT_DAYS) > callbacks.TRIED_FOR
