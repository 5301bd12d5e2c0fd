"""Work on events: stored with the event, done once, repeated if lost, by one worker at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from integrations import callbacks
from integrations.callbacks import EVENT_DAYS, EVENTS, Consumer, EventBatch
from integrations.clients.errors import ConfigurationError, RateLimitedError, TransientError
from integrations.hooks import Registry
from integrations.models import CallbackEvent, Corp, Job
from integrations.models.jobs import LeaseLostError
from tests.integrations.callback_sender import Sender, event_xml, with_keys
from tests.jobs import do_jobs, process_due_events
from tests.notifications.side_by_side import do_at_once

Status = CallbackEvent.Status
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@dataclass
class Hearer:
    """A consumer of a test: the changes that it got, and what it does with them."""

    name: str = "tests.first"
    heard: list[list[str]] = field(default_factory=list)
    act: Callable[[EventBatch], timedelta | None] = lambda batch: None

    def consume(self, batch: EventBatch) -> timedelta | None:
        self.heard.append([one.change for one in batch.events])
        return self.act(batch)


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "consumers", Registry())


@pytest.fixture
def first() -> Hearer:
    return register(Hearer())


@pytest.fixture
def path(corp: Corp) -> str:
    return f"/wecom/{with_keys(corp).pk}/events/"


def register(hearer: Hearer) -> Hearer:
    callbacks.consumers.register(Consumer(hearer.name, frozenset({"change_contact"}), hearer.consume))
    return hearer


def make_event(corp: Corp, change: str = "update_user", *, seconds: int = 0, **values: object) -> CallbackEvent:
    """Make an event that happened so many seconds after NOW, with its work."""
    happened = NOW + timedelta(seconds=seconds)
    fields = {"event": "change_contact", "is_event": True, "change": change, "happened_at": happened, **values}
    key = f"k{CallbackEvent.objects.count()}"
    event = CallbackEvent.objects.create(corp=corp, kind="app", key=key, received_at=NOW, body="<xml/>", **fields)
    callbacks.assign_event(event, now=NOW)
    return event


def work(*, now: datetime = NOW) -> None:
    process_due_events(lambda: now)


def due(now: datetime) -> list[int]:
    return list(CallbackEvent.objects.due(now).values_list("corp", flat=True))


def states() -> list[str]:
    return list(CallbackEvent.objects.exclude(consumer="").order_by("pk").values_list("status", flat=True))


def post_change(path: str) -> None:
    elements = {"ChangeType": "update_user", "UserID": "lilei"}
    sent = Sender(path).post(event_xml(created_at=int(NOW.timestamp()), **elements))
    assert sent.status_code == 200


@pytest.fixture
def _at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)


@pytest.mark.usefixtures("_at_that_time")
def test_an_event_is_stored_once_and_waits_if_somebody_wants_it(path: str, corp: Corp, first: Hearer) -> None:
    unwanted = event_xml(name="enter_agent", created_at=int(NOW.timestamp()), AgentID=1000002)
    assert Sender(path).post(unwanted).status_code == 200
    assert (CallbackEvent.objects.count(), CallbackEvent.objects.exclude(consumer="").count()) == (1, 0)

    post_change(path)
    post_change(path)

    (row,) = CallbackEvent.objects.exclude(consumer="")
    assert (row.change, row.corp, row.consumer, row.status) == ("update_user", corp, "tests.first", "waiting")
    assert (row.try_count, row.next_try_at) == (0, None)
    assert first.heard == []


@pytest.mark.usefixtures("_at_that_time", "no_broker")
def test_without_a_broker_wecom_is_answered_and_the_work_waits(path: str, corp: Corp, first: Hearer) -> None:
    post_change(path)

    assert states() == [Status.WAITING]
    assert Job.objects.get(kind=EVENTS).status == Job.Status.WAITING


def test_events_come_once_in_batches_in_the_order_in_which_they_happened(
    corp: Corp, first: Hearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "BATCH", 3)
    for change, seconds in [("b", 2), ("c", 3), ("a", 1), ("b2", 2)]:
        make_event(corp, change, seconds=seconds)

    work()
    work()

    assert first.heard == [["a", "b", "b2"], ["c"]]
    assert states() == [Status.DONE] * 4


def test_each_company_has_its_own_job(corp: Corp, other_corp: Corp, first: Hearer) -> None:
    make_event(corp, "a")
    make_event(corp, "b", seconds=1)
    make_event(other_corp, "c")

    do_jobs(EVENTS)

    assert first.heard == [["a", "b"], ["c"]]
    assert set(states()) == {Status.DONE}
    assert set(Job.objects.values_list("corp", "status")) == {(corp.pk, "done"), (other_corp.pk, "done")}


def test_an_event_that_comes_while_others_are_worked_off_gets_a_job_of_its_own(corp: Corp, first: Hearer) -> None:
    make_event(corp, "a")

    def send_another(batch: EventBatch) -> timedelta | None:
        if len(first.heard) > 1:
            return None
        make_event(corp, "b", seconds=1)
        return timedelta(days=1)

    first.act = send_another
    do_jobs(EVENTS)

    assert first.heard == [["a"], ["b"]]
    waiting = Job.objects.get(status="waiting")
    assert waiting.due_at == CallbackEvent.objects.waiting().get().next_try_at


def test_a_batch_may_ask_to_be_repeated(corp: Corp, first: Hearer) -> None:
    touched = []

    def touch(batch: EventBatch) -> timedelta | None:
        batch.touch([len(first.heard)])
        touched.append(batch.touched)
        return timedelta(seconds=20) if len(first.heard) == 1 else None

    first.act = touch
    make_event(corp)

    work()
    assert (states(), due(NOW + timedelta(seconds=19))) == ([Status.WAITING], [])
    work(now=NOW + timedelta(seconds=20))

    assert (states(), touched) == ([Status.DONE], [[1], [1, 2]])


def test_events_for_a_consumer_of_an_older_release_are_left(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    CallbackEvent.objects.update(consumer="tests.unknown")

    work()

    assert (states(), first.heard) == ([Status.WAITING], [])


@pytest.mark.parametrize("notices", [True, False])
def test_a_worker_whose_lane_was_taken_writes_nothing(corp: Corp, first: Hearer, notices: bool) -> None:
    make_event(corp)

    def thief(batch: EventBatch) -> None:
        Job.objects.update(lease_token="another")
        if notices:
            batch.lock_job()

    first.act = thief
    with pytest.raises(LeaseLostError):
        work()

    assert states() == [Status.WAITING]


def refuse_by(error: type[ConfigurationError | TransientError], **more: object) -> Callable[[EventBatch], None]:
    def act(batch: EventBatch) -> None:
        raise error("does not answer", system="wecom", operation="user_get", **more)  # type: ignore[arg-type]  # as it comes

    return act


@pytest.mark.parametrize("error", [TransientError, ConfigurationError])
def test_where_the_other_side_is_not_to_be_had_all_waits(
    corp: Corp, first: Hearer, error: type[ConfigurationError | TransientError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "BATCH", 1)
    make_event(corp, "a")
    make_event(corp, "b", seconds=1)
    first.act = refuse_by(error)

    work()

    assert first.heard == [["a"]]
    assert due(NOW + timedelta(seconds=9)) == []
    assert due(NOW + timedelta(seconds=10)) == [corp.pk, corp.pk]
    tried = CallbackEvent.objects.get(change="a")
    assert (tried.try_count, tried.problem) == (1, "wecom user_get: does not answer")


def test_the_pauses_grow_to_a_quarter_of_an_hour(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    first.act = refuse_by(TransientError)
    now, pauses = NOW, []
    for _ in range(9):
        work(now=now)
        next_try_at = CallbackEvent.objects.get().next_try_at
        assert next_try_at is not None
        pauses.append((next_try_at - now).total_seconds())
        now = next_try_at

    assert pauses == [10, 20, 40, 80, 160, 320, 640, 900, 900]
    first.act = refuse_by(RateLimitedError, retry_after_seconds=7000)
    work(now=now)
    assert CallbackEvent.objects.get().next_try_at == now + timedelta(seconds=7000)  # a limit of WeCom is waited out


def test_after_a_day_and_a_half_an_event_is_given_up(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    first.act = refuse_by(TransientError)

    work(now=NOW + timedelta(hours=36))
    assert states() == [Status.WAITING]
    CallbackEvent.objects.exclude(consumer="").update(next_try_at=None)
    work(now=NOW + timedelta(hours=36, seconds=1))

    assert states() == [Status.FAILED]
    assert due(NOW + timedelta(days=3)) == []


def test_one_bad_event_keeps_no_other(corp: Corp, first: Hearer) -> None:
    for number, change in enumerate(["a", "bad", "c"]):
        make_event(corp, change, seconds=number)

    def stumble(batch: EventBatch) -> None:
        if any(one.change == "bad" for one in batch.events):
            raise ZeroDivisionError

    first.act = stumble
    work()

    assert first.heard == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]
    assert states() == [Status.DONE, Status.WAITING, Status.DONE]
    assert CallbackEvent.objects.get(change="bad").problem == "ZeroDivisionError"


def test_a_bad_event_is_given_up_in_the_end(corp: Corp, first: Hearer) -> None:
    make_event(corp)
    first.act = lambda batch: timedelta(1 // 0)
    for _ in range(callbacks.TRIES_AT_MOST):
        CallbackEvent.objects.exclude(consumer="").update(next_try_at=None)
        assert states() == [Status.WAITING]
        work()

    assert states() == [Status.FAILED]


@pytest.mark.django_db(transaction=True)
def test_many_workers_take_each_event_once(corp: Corp, first: Hearer) -> None:
    for number in range(20):
        make_event(corp, str(number), seconds=number)

    do_at_once(*[lambda: do_jobs(EVENTS)] * 4)
    assert sorted(change for heard in first.heard for change in heard) == sorted(str(number) for number in range(20))
    assert states() == [Status.DONE] * 20


def test_an_event_is_kept_for_longer_than_it_is_tried() -> None:
    assert timedelta(days=EVENT_DAYS) > callbacks.TRIED_FOR
