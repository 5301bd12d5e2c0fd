"""Updates of alert cards keep to WeCom's limits, and wait together while their company is refused."""

import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from pytest_django import Settings
from wecom_sandbox.limits.limits import Fault

from notifications.alerts import card_updates, incidents
from notifications.delivery.sending.queue import unblock_companies
from notifications.models import AlertCard, CorpQueue, Delivery, Incident
from tests.notifications.alerts.conftest import Duty, alert, list_used_codes
from tests.notifications.factories import NOW

pytestmark = pytest.mark.django_db
ENDPOINT = "message/update_template_card"
NAMES = ("DiskFull", "LinkDown", "JobLate")


@pytest.fixture
def stale(duty: Duty) -> Duty:
    """Three cards on phones whose alerts have ended since."""
    for name in NAMES:
        duty.tell(alert(name))
        duty.clock.advance(minutes=2)
    duty.hand_in(*(alert(name, ends=duty.clock.now) for name in NAMES))
    assert AlertCard.objects.filter(is_stale=True).count() == 3
    return duty


def claim(duty: Duty) -> list[int]:
    return card_updates.claim_due_cards(now=duty.clock.now)


def update(duty: Duty, ids: Iterable[int]) -> int:
    return card_updates.update_cards(ids, clock=duty.clock, is_stopping=lambda: False)


def refuse(duty: Duty, code: int) -> None:
    """Make WeCom refuse card updates with this code until the faults are cleared."""
    duty.world.faults.add(Fault.from_json({"kind": "errcode", "code": code, "endpoint": ENDPOINT, "count": None}))


def block(duty: Duty, seconds: int = 0) -> CorpQueue:
    """Block the company's queue until it may be probed after so many seconds."""
    blocked = {"blocked_since": NOW, "probe_at": duty.clock.now + timedelta(seconds=seconds)}
    return CorpQueue.objects.update_or_create(corp=duty.corp, defaults=blocked)[0]


def call_count(duty: Duty) -> int:
    return sum(call.path.endswith(ENDPOINT) for call in duty.world.calls)


def read_titles(duty: Duty) -> list[str]:
    return [duty.card(position=position)["main_title"]["title"][:5] for position in range(3)]


# The client fetches a refused token anew once, hence two calls.
@pytest.mark.parametrize(("code", "calls", "seconds"), [(40001, 2, 120), (45009, 1, 60)])
def test_what_concerns_the_company_is_tried_once_and_all_its_cards_wait(
    stale: Duty, code: int, calls: int, seconds: int
) -> None:
    refuse(stale, code)
    first, *others = claim(stale)

    assert update(stale, [first]) == 0
    assert update(stale, others) == 0  # held by another worker

    assert call_count(stale) == calls
    until = stale.clock.now + timedelta(seconds=seconds)
    assert AlertCard.objects.filter(is_stale=True, try_count=0, next_try_at=until).count() == 3
    assert len(list_used_codes()) == 0
    stale.world.faults.clear()
    stale.clock.advance(seconds=seconds - 1)
    assert claim(stale) == []
    if code == 45009:  # too many calls: changes meanwhile wait, too
        incidents.mark_stale(list(Incident.objects.all()), now=stale.clock.now)
        assert update(stale, claim(stale)) == 0
        assert call_count(stale) == calls
    stale.clock.advance(seconds=2)
    assert update(stale, claim(stale)) == 3
    assert read_titles(stale) == ["[已恢复]"] * 3
    assert len(list_used_codes()) == 3


def test_a_refusal_that_lasts_gives_up_no_card(stale: Duty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_updates, "TRIES_AT_MOST", 5)
    refuse(stale, 60020)

    for _ in range(2 * card_updates.TRIES_AT_MOST):
        update(stale, claim(stale))
        stale.clock.advance(seconds=60)

    assert call_count(stale) == card_updates.TRIES_AT_MOST
    assert AlertCard.objects.filter(is_stale=True, try_count=0).count() == 3


def test_cards_wait_until_a_message_finds_out_that_the_companys_queue_works_again(stale: Duty) -> None:
    ids = claim(stale)
    block(stale, seconds=90)

    assert (update(stale, ids), call_count(stale)) == (0, 0)
    assert AlertCard.objects.filter(is_stale=True, try_count=0).count() == 3
    stale.clock.advance(seconds=61)
    assert claim(stale) == []
    unblock_companies([stale.corp.pk], now=stale.clock.now)
    assert update(stale, claim(stale)) == 3


def test_where_no_message_waits_a_card_finds_out_whether_the_company_works(stale: Duty) -> None:
    queue = block(stale)
    refuse(stale, 60020)
    assert update(stale, claim(stale)) == 0
    assert call_count(stale) == 1
    queue.refresh_from_db()
    assert (queue.blocked_since, queue.probe_at) == (NOW, stale.clock.now + timedelta(seconds=120))
    stale.world.faults.clear()
    stale.clock.advance(seconds=121)

    assert update(stale, claim(stale)) == 3

    queue.refresh_from_db()
    assert queue.blocked_since is None


def test_changes_keep_to_limits_of_their_own(stale: Duty, settings: Settings) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE = 2
    assert (update(stale, claim(stale)), call_count(stale)) == (2, 2)
    assert len(list_used_codes()) == 2
    stale.clock.advance(seconds=62)
    assert update(stale, claim(stale)) == 1


def test_a_card_whose_message_waits_for_a_paused_queue_is_not_given_up(duty: Duty) -> None:
    CorpQueue.objects.update_or_create(corp=duty.corp, defaults={"is_paused": True})
    duty.tell(alert())
    card = AlertCard.objects.create(delivery=Delivery.objects.get(), next_try_at=duty.clock.now)

    for _ in range(card_updates.TRIES_AT_MOST + 1):
        update(duty, claim(duty))
        duty.clock.advance(minutes=15)

    card.refresh_from_db()
    assert (card.is_stale, card.try_count) == (True, card_updates.DOUBLINGS_AT_MOST)


def make_clock(duty: Duty, count: int, work: Callable[[], object]) -> Callable[[], datetime]:
    """Return a worker's clock that runs `work` on the call after `count` calls."""
    times = [lambda: None] * count + [work]

    def clock() -> datetime:
        if times:
            times.pop(0)()
        return duty.clock.now

    return clock


def test_a_card_shows_what_is_so_when_its_only_code_is_used(duty: Duty) -> None:
    """Incidents that end while the worker waits for the limiter must not stay open on the phone."""
    duty.tell(alert())
    Incident.objects.update(acknowledged_by=duty.people["jim"], acknowledged_at=duty.clock.now)
    incidents.mark_stale(list(Incident.objects.all()), now=duty.clock.now)
    ids = claim(duty)
    clock = make_clock(duty, 2, lambda: duty.hand_in(alert(ends=duty.clock.now)))

    assert card_updates.update_cards(ids, clock=clock, is_stopping=lambda: False) == 1

    assert duty.card()["main_title"]["title"].startswith("[已恢复]")
    assert update(duty, claim(duty)) == 0
    assert not AlertCard.objects.filter(is_stale=True).exists()


def test_a_card_that_a_worker_changed_after_it_was_taken_over_is_looked_at_again(duty: Duty) -> None:
    duty.tell(alert())
    duty.hand_in(alert(ends=duty.clock.now))
    [card_id] = claim(duty)

    def be_overtaken() -> None:
        AlertCard.objects.update(is_stale=False, shown="newer", next_try_at=duty.clock.now + timedelta(seconds=90))

    clock = make_clock(duty, 2, be_overtaken)
    assert card_updates.update_cards([card_id], clock=clock, is_stopping=lambda: False) == 1

    card = AlertCard.objects.get()
    assert card.is_stale
    assert card.shown != "newer"


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_use_two_codes_and_a_third_gets_none(duty: Duty) -> None:
    """Wait for a click, which holds the card while it brings the second code."""
    duty.tell(alert())
    delivery, found = Delivery.objects.get(), list[str | None]()
    assert card_updates.store_code(delivery, "of-the-message", now=NOW)
    card = AlertCard.objects.get()

    def use() -> None:
        found.append(card_updates._use_code(card, NOW))
        connection.close()

    workers = [threading.Thread(target=use) for _worker in range(3)]
    with transaction.atomic():
        assert card_updates.store_code(delivery, "of-a-click", now=NOW)
        assert not card_updates.store_code(delivery, "of-the-message", now=NOW)
        for worker in workers:
            worker.start()
        time.sleep(0.5)
        assert found == []
    for worker in workers:
        worker.join(20)

    assert sorted(found, key=str) == [None, "of-a-click", "of-the-message"]
    assert sorted(list_used_codes()) == ["of-a-click", "of-the-message"]
