"""Pictures of BI pages as tasks: which failures are tried again, and what a BI that is down costs.

The stand-in for Chromium fetches a page's address and takes the answer as the picture.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
import requests
import responses

from integrations import bi as bi_snapshots
from integrations.clients import snapshots
from integrations.clients.snapshots import Format, Picture, PictureOptions, PictureProblem, SnapshotError
from integrations.core import heartbeats
from integrations.models import Heartbeat
from notifications.delivery.attachments import (
    AGAIN_AFTER,
    OVERDUE,
    PATIENCE,
    QUEUED_AT_MOST,
    TRIES_AT_MOST,
    count_overdue,
    digest_recipe,
    hand_out_media,
    pack_recipe,
    produce_medium,
    sweep_media,
)
from notifications.models import MakerQueue, Medium
from tests.bi import BI, make_bi, read_claims
from tests.notifications.conftest import FakeClock
from tests.notifications.delivery.attachments.places import make_run
from tests.notifications.factories import NOW

pytestmark = pytest.mark.django_db
PAGES = re.compile(re.escape(f"{BI}/page/"))
PNG = b"\x89PNG\r\n\x1a\nrest"
Status = Medium.Status


class Chromium:
    """A browser whose picture of a page is the body at its address."""

    def __init__(self, _executable: str, _access: object, **_limits: Any) -> None:
        pass

    def take_picture(self, address: str, _options: PictureOptions, _marks: object) -> Picture:
        try:
            answer = requests.get(address, timeout=5)
        except OSError:
            raise SnapshotError(PictureProblem.UNREACHABLE) from None
        reasons = {401: PictureProblem.SIGN_IN_PAGE, 504: PictureProblem.UNREACHABLE}
        if answer.status_code in reasons:
            raise SnapshotError(reasons[answer.status_code])
        if answer.content != PNG:
            raise SnapshotError(PictureProblem.ERROR_PAGE)
        return Picture(answer.content, 640, 480)

    def close(self) -> None:
        pass


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[responses.RequestsMock]:
    make_bi()
    monkeypatch.setattr(snapshots, "find_installed_browser", lambda: "chromium")
    monkeypatch.setattr(bi_snapshots, "SupervisedBrowser", Chromium)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock
    while bi_snapshots._browsers:
        bi_snapshots._browsers.popitem()[1].close()


def answer_pages(wire: responses.RequestsMock, content: bytes | Exception, status: int = 200) -> None:
    wire.upsert("GET", PAGES, body=content, status=status)


def count_asked_pages(wire: responses.RequestsMock) -> int:
    return sum(PAGES.match(call.request.url or "") is not None for call in wire.calls)


def make_page(identity: str = "lilei", page: str = "page/p1", **fields: Any) -> Medium:
    recipe = pack_recipe(path=page, identity=identity, **asdict(PictureOptions(kind=Format.PICTURE)))
    defaults = {
        **{"run": make_run(), "kind": "picture", "recipe": recipe, "digest": digest_recipe("picture", recipe)},
        **{"name": "看板.png", "content_type": "image/png", "queue": MakerQueue.SNAPSHOTS},
        **{"created_at": NOW, "make_after": NOW, "give_up_at": NOW + timedelta(hours=20)},
    }
    return Medium.objects.create(**{**defaults, **fields})


def mark_served(now: Any) -> None:
    """Let a worker of the snapshot queue be alive at this moment."""
    heartbeats.write_heartbeat(kind=Heartbeat.Kind.WORKER, name="host:1", queues=["snapshots"])
    Heartbeat.objects.update(beat_at=now)


def test_what_the_browser_sees_as_the_account_is_the_picture(wire: responses.RequestsMock, clock: FakeClock) -> None:
    answer_pages(wire, PNG)
    medium = make_page()

    assert produce_medium(medium.pk, clock=clock)

    medium.refresh_from_db()
    assert (medium.status, bytes(medium.content)) == (Status.READY, PNG)
    assert (medium.width, medium.height, medium.cover, bytes(medium.recipe)) == (640, 480, None, b"")
    [asked] = wire.calls
    assert read_claims(asked.request.url or "")["externalUserId"] == "lilei"


@pytest.mark.parametrize(
    ("content", "http_status", "tries", "word"), [(b"<html>", 200, TRIES_AT_MOST, "错误页面"), (b"", 401, 1, "密码")]
)
def test_an_error_page_is_tried_a_few_times_an_account_that_is_refused_once_and_neither_is_sent(
    wire: responses.RequestsMock, clock: FakeClock, content: bytes, http_status: int, tries: int, word: str
) -> None:
    answer_pages(wire, content, http_status)
    medium = make_page()

    for _ in range(TRIES_AT_MOST):
        assert not produce_medium(medium.pk, clock=clock)
        clock.advance(seconds=AGAIN_AFTER.total_seconds())

    medium.refresh_from_db()
    assert (medium.status, bytes(medium.content), count_asked_pages(wire)) == (Status.FAILED, b"", tries)
    assert word in medium.error_text


def test_while_the_bi_is_down_one_picture_finds_out_and_none_is_lost(
    wire: responses.RequestsMock, clock: FakeClock
) -> None:
    media = [make_page(f"person{number}") for number in range(40)]
    answer_pages(wire, ConnectionError())
    handed_out = hand_out_media(now=clock())
    assert len(handed_out) == QUEUED_AT_MOST["snapshots"]

    for pk in handed_out:  # they are already in the queue
        produce_medium(pk, clock=clock)

    assert count_asked_pages(wire) == 1
    assert set(Medium.objects.values_list("status", "make_count")) == {(Status.WAITING, 0)}
    assert hand_out_media(now=clock()) == []
    assert "没有响应" in Medium.objects.all()[0].error_text

    for _ in range(20):  # an hour later nothing is given up, as long as a worker is alive
        now = clock.advance(seconds=AGAIN_AFTER.total_seconds() + 30)
        mark_served(now)
        sweep_media(now=now)
        for pk in hand_out_media(now=now):
            produce_medium(pk, clock=clock)
    assert count_asked_pages(wire) == 21

    answer_pages(wire, PNG)
    clock.advance(seconds=AGAIN_AFTER.total_seconds())
    while found := hand_out_media(now=clock()):
        for pk in found:
            assert produce_medium(pk, clock=clock)
    assert Medium.objects.filter(status=Status.READY).count() == len(media)


def test_a_page_that_alone_does_not_answer_keeps_no_other_waiting(
    wire: responses.RequestsMock, clock: FakeClock
) -> None:
    broken, others = make_page(page="page/broken"), [make_page(f"person{number}") for number in range(3)]
    wire.get(BI + "/", body="<html>")
    wire.add_callback("GET", PAGES, lambda asked: (504, {}, "") if "broken" in str(asked.url) else (200, {}, PNG))

    for _ in range(TRIES_AT_MOST):
        for pk in hand_out_media(now=clock()):
            produce_medium(pk, clock=clock)
        assert {one.status for one in Medium.objects.exclude(pk=broken.pk)} == {Status.READY}
        clock.advance(seconds=AGAIN_AFTER.total_seconds())

    broken.refresh_from_db()
    assert broken.status == Status.FAILED
    assert Medium.objects.filter(status=Status.READY).count() == len(others)


def test_what_the_message_does_not_live_to_see_is_given_up_with_the_reason(
    wire: responses.RequestsMock, clock: FakeClock
) -> None:
    answer_pages(wire, ConnectionError())
    medium = make_page(give_up_at=NOW + timedelta(hours=1))
    produce_medium(medium.pk, clock=clock)
    mark_served(clock.advance(hours=1))

    assert sweep_media(now=clock()) == 1

    medium.refresh_from_db()
    assert (medium.status, "没有响应" in medium.error_text) == (Status.FAILED, True)


def test_without_a_worker_messages_wait_half_an_hour(django_assert_num_queries: Any) -> None:
    medium = make_page()
    assert count_overdue("snapshots", now=NOW + OVERDUE, at_most=10) == 1
    assert count_overdue("charts", now=NOW + OVERDUE, at_most=10) == 0
    with django_assert_num_queries(1):
        assert count_overdue("charts", now=NOW, at_most=10) == 0

    assert sweep_media(now=NOW + PATIENCE) == 1

    medium.refresh_from_db()
    assert "snapshots" in medium.error_text


def test_where_nobody_enters_the_bi_it_fails_with_a_sentence(clock: FakeClock) -> None:
    make_bi(is_enabled=False)
    medium = make_page()

    produce_medium(medium.pk, clock=clock)

    medium.refresh_from_db()
    assert (medium.status, "单点登录" in medium.error_text) == (Status.FAILED, True)
