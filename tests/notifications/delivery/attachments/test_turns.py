"""What a task draws one after the other: how much, how long, and what becomes of the rest."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from notifications.delivery.attachments import (
    BEGUN_WITHIN,
    QUEUED,
    file_recipe,
    hand_out_media,
    produce_media_in_turn,
    sort_out_media,
)
from notifications.models import Incident, Medium
from tests.notifications.charts.tables import DAYS
from tests.notifications.delivery.attachments.places import make_medium, make_run
from tests.notifications.factories import NOW

pytestmark = pytest.mark.django_db

# Quickly made, and without the renderer.
CSV = {"kind": Medium.Kind.CSV, "recipe": file_recipe([("x", DAYS)], language="zh-hans")}


def states() -> list[tuple[str, int]]:
    return list(Medium.objects.order_by("pk").values_list("status", "make_count"))


def test_one_that_cannot_be_made_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    run = make_run()
    ids = [make_medium(run, **CSV).pk, make_medium(run, **CSV | {"recipe": b"broken"}).pk, make_medium(run, **CSV).pk]

    produce_media_in_turn(ids, clock=lambda: NOW)

    assert states() == [("ready", 1), ("waiting", 1), ("ready", 1)]
    assert caplog.messages == [f"medium={ids[1]} could not be made"]


def test_what_was_not_begun_in_time_may_be_made_at_once_and_was_not_tried() -> None:
    run = make_run()
    ids = [make_medium(run, **CSV, make_after=NOW + QUEUED).pk for _ in range(3)]
    moments = [NOW, *[NOW + BEGUN_WITHIN] * 20]

    produce_media_in_turn(ids, clock=lambda: moments.pop(0))

    assert states() == [("ready", 1), ("waiting", 0), ("waiting", 0)]
    assert list(Medium.objects.due(NOW + BEGUN_WITHIN).order_by("pk").values_list("pk", flat=True)) == ids[1:]


def test_the_others_of_a_task_wait_no_longer_than_the_one_that_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    ids = [make_medium(run, make_after=NOW + QUEUED).pk for _ in range(2)]

    def end(*_arguments: object) -> None:
        raise SystemExit

    monkeypatch.setattr("notifications.delivery.attachments.make_from_recipe", end)
    with pytest.raises(SystemExit):
        produce_media_in_turn(ids, clock=lambda: NOW)

    assert states() == [("waiting", 1), ("waiting", 0)]
    assert hand_out_media(now=NOW + timedelta(seconds=44)) == []
    assert hand_out_media(now=NOW + timedelta(seconds=45)) == [ids[1], ids[0]]


def test_what_another_task_has_begun_meanwhile_is_left_to_it() -> None:
    run, leased_until = make_run(), NOW + timedelta(seconds=45)
    ids = [make_medium(run, **CSV, make_after=NOW + QUEUED).pk for _ in range(4)]
    Medium.objects.filter(pk__in=ids[:2]).update(make_count=1, make_after=leased_until)
    calls: list[datetime] = []

    def clock() -> datetime:
        calls.append(NOW)
        if len(calls) == 2:  # they have been read by now
            Medium.objects.filter(pk=ids[2]).update(make_count=1, make_after=leased_until)
        return NOW

    produce_media_in_turn(ids, clock=clock)

    assert states() == [("waiting", 1), ("waiting", 1), ("waiting", 1), ("ready", 1)]
    assert set(Medium.objects.filter(pk__in=ids[:3]).values_list("make_after", flat=True)) == {leased_until}


def test_what_another_task_draws_is_not_handed_out_again_when_time_is_up() -> None:
    run, leased_until = make_run(), NOW + timedelta(seconds=45)
    ids = [make_medium(run, **CSV, make_after=NOW + QUEUED).pk for _ in range(3)]
    Medium.objects.filter(pk=ids[1]).update(make_count=1, make_after=leased_until)
    moments = [NOW, *[NOW + BEGUN_WITHIN] * 20]

    produce_media_in_turn(ids, clock=lambda: moments.pop(0))

    assert states() == [("ready", 1), ("waiting", 1), ("waiting", 0)]
    assert list(Medium.objects.due(NOW + BEGUN_WITHIN).values_list("pk", flat=True)) == ids[2:]


def test_pictures_of_incidents_and_previews_wait_for_no_other() -> None:
    run, times = make_run(), dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    incident = Incident.objects.create(key="k", title="销售额过低", **times)
    ids = [make_medium(run).pk for _ in range(21)]
    Medium.objects.filter(pk__in=ids[:3]).update(run=None, incident=incident)
    Medium.objects.filter(pk__in=ids[3:5]).update(run=None)

    found = sort_out_media(ids).pictures

    assert found[:5] == [[pk] for pk in ids[:5]]
    assert [len(together) for together in found[5:]] == [2] * 8


@pytest.mark.parametrize(("count", "sizes"), [(3, [1] * 3), (16, [2] * 8), (47, [5] * 9 + [2])])
def test_a_task_draws_several_where_many_wait(count: int, sizes: list[int]) -> None:
    run = make_run()
    ids = [make_medium(run).pk for _ in range(count)]

    found = sort_out_media(ids)

    assert [len(together) for together in found.pictures] == sizes
    assert [pk for together in found.pictures for pk in together] == ids


def test_what_was_begun_before_is_drawn_alone() -> None:
    run = make_run()
    ids = [make_medium(run).pk for _ in range(18)]
    Medium.objects.filter(pk__in=ids[:2]).update(make_count=1)

    assert sort_out_media(ids).pictures == [
        *([one, two] for one, two in zip(ids[2::2], ids[3::2], strict=True)),
        [ids[0]],
        [ids[1]],
    ]
