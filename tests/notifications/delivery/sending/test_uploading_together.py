"""A task that uploads for many messages: in parallel, with few statements, and no failure affects another message."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from notifications.delivery import limiter
from notifications.delivery.channels import make_company_scope
from notifications.delivery.sending.uploads import UPLOAD_API, prepare_deliveries
from notifications.models import Delivery, Medium, MessageForm
from tests.notifications.conftest import FakeClock
from tests.notifications.delivery.attachments.places import body_of, make_delivery, make_run
from tests.notifications.factories import NOW, make_corp
from tests.notifications.wecom_stub import WeComStub, errcode

pytestmark = pytest.mark.django_db

Status = Delivery.Status


def make_upload_answer(number: int) -> dict[str, Any]:
    return {"errcode": 0, "errmsg": "", "type": "image", "media_id": f"media-{number}", "created_at": "1764000000"}


def make_with_pictures(wire: WeComStub, count: int) -> list[Delivery]:
    """Create messages of one company, each with its own finished picture."""
    corp = make_corp(api_base_url=wire.url)
    found = [make_delivery(corp, MessageForm.IMAGE, run=make_run()) for _number in range(count)]
    Medium.objects.update(status=Medium.Status.READY, content=b"\x89PNG" + b"\0" * 100, made_at=NOW)
    return found


def prepare(deliveries: list[Delivery], clock: FakeClock, *, stops_after: float = float("inf")) -> int:
    """Prepare the deliveries; after `stops_after` checks the worker is asked to end."""
    looks = iter(range(1_000_000))
    ids = [delivery.pk for delivery in deliveries]
    count = prepare_deliveries(ids, clock=clock, is_stopping=lambda: next(looks) >= stops_after)
    for delivery in deliveries:
        delivery.refresh_from_db()
    return count


def test_uploads_of_a_task_are_under_way_side_by_side(wire: WeComStub, clock: FakeClock) -> None:
    deliveries = make_with_pictures(wire, 3)
    all_are_there = threading.Barrier(3)
    wire.on_send = lambda: all_are_there.wait(timeout=20)
    wire.sends.extend(map(make_upload_answer, range(3)))

    assert prepare(deliveries, clock) == 3

    assert {delivery.status for delivery in deliveries} == {Status.PENDING}
    assert {body_of(one)["image"]["media_id"] for one in deliveries} == {"media-0", "media-1", "media-2"}


def test_one_that_is_refused_or_waits_keeps_no_other_from_its_picture(wire: WeComStub, clock: FakeClock) -> None:
    deliveries = make_with_pictures(wire, 4)
    wire.sends.extend([make_upload_answer(0), errcode(40006), errcode(-1), make_upload_answer(2)])

    assert prepare(deliveries, clock) == 3

    [waiting] = [one for one in deliveries if one.status == Status.PREPARING]
    assert (waiting.errcode, waiting.queued_until, waiting.prepare_count) == (-1, None, 1)
    assert waiting.next_attempt_at > NOW
    others = [body_of(one)["msgtype"] for one in deliveries if one != waiting]
    assert sorted(others) == ["image", "image", "textcard"]


def test_one_that_cannot_be_prepared_keeps_no_other_from_its_picture(wire: WeComStub, clock: FakeClock) -> None:
    broken, *others = make_with_pictures(wire, 3)
    Delivery.objects.filter(pk=broken.pk).update(body=b"no JSON")
    wire.sends.extend(map(make_upload_answer, range(3)))

    assert prepare([broken, *others], clock) == 2

    assert broken.status == Status.PREPARING
    assert [one.status for one in others] == [Status.PENDING] * 2


def test_a_task_that_is_to_end_goes_on_to_no_other_chunk(
    wire: WeComStub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.delivery.sending.uploads.AT_ONCE", 1)
    monkeypatch.setattr("notifications.delivery.sending.send.PATIENCE_SECONDS", 0)
    first, second = make_with_pictures(wire, 2)
    Delivery.objects.update(queued_until=NOW + timedelta(seconds=60))
    limiter.get_gate().hold_scopes([make_company_scope(first.corpid, UPLOAD_API)], seconds=30)

    assert prepare([first, second], clock, stops_after=1) == 0

    assert first.next_attempt_at > NOW == second.next_attempt_at
    assert (first.queued_until, second.queued_until) == (None, None)


def test_of_large_files_one_is_under_way_at_a_time(
    wire: WeComStub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.delivery.sending.uploads.BYTES_AT_ONCE", 150)
    deliveries = make_with_pictures(wire, 3)
    under_way, seen = threading.Semaphore(1), []

    def alone() -> None:
        seen.append(under_way.acquire(blocking=False))
        time.sleep(0.05)
        under_way.release()

    wire.on_send = alone
    wire.sends.extend(map(make_upload_answer, range(3)))

    assert prepare(deliveries, clock) == 3

    assert seen == [True, True, True]


def test_a_worker_that_ends_leaves_what_hangs_to_its_lease_and_gives_the_rest_back(
    wire: WeComStub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.delivery.sending.uploads.AT_ONCE", 1)
    monkeypatch.setattr("notifications.delivery.sending.uploads.STOP_SECONDS", 0)
    hanging, other = make_with_pictures(wire, 2)
    Delivery.objects.update(queued_until=NOW + timedelta(seconds=60))
    goes_on = threading.Event()
    wire.on_send = lambda: goes_on.wait(timeout=20)
    wire.sends.extend([make_upload_answer(0), make_upload_answer(1), make_upload_answer(2)])

    assert prepare([hanging, other], clock, stops_after=1) == 0
    goes_on.set()

    assert (hanging.status, hanging.queued_until) == (Status.PREPARING, NOW + timedelta(seconds=60))
    assert (other.status, other.queued_until) == (Status.PREPARING, None)
    assert prepare([hanging, other], clock) == 2
