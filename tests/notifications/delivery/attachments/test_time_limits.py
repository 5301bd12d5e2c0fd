"""How long pictures and files may take: what the broker is told, and when somebody else may begin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import signals
from pytest_django import DjangoCaptureOnCommitCallbacks

from notifications import tasks
from notifications.delivery.attachments import file_recipe, produce_medium
from notifications.models import Medium
from tests.notifications.charts.tables import DAYS
from tests.notifications.delivery.attachments.places import make_medium, make_run
from tests.notifications.factories import NOW

pytestmark = pytest.mark.django_db

FILE = {"kind": Medium.Kind.XLSX, "recipe": file_recipe([("x", DAYS)], language="zh-hans")}


@pytest.fixture
def limits() -> Iterator[dict[int, int]]:
    """Seconds by the id of the medium, of each task that is handed to the broker."""
    found: dict[int, int] = {}

    def note(body: Any, headers: dict[str, Any], **_kwargs: Any) -> None:
        [[[medium_id]], *_rest] = body
        found[medium_id] = headers["timelimit"][0]

    signals.before_task_publish.connect(note)
    yield found
    signals.before_task_publish.disconnect(note)


def test_files_get_more_time_than_pictures(
    limits: dict[int, int], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    run = make_run()
    picture, file, preview = make_medium(run), make_medium(run, **FILE), make_medium(run, **FILE)
    Medium.objects.filter(pk=preview.pk).update(run=None)

    with django_capture_on_commit_callbacks(execute=True):
        tasks.enqueue_previews([preview.pk])
        tasks._make_media(NOW)

    assert limits == {picture.pk: 30, file.pk: 240, preview.pk: 240}


@pytest.mark.parametrize(("fields", "seconds"), [({"recipe": b"broken"}, 45), (FILE | {"recipe": b"broken"}, 255)])
def test_nobody_else_begins_before_that_time_is_over(fields: dict[str, Any], seconds: int) -> None:
    medium = make_medium(make_run(), **fields)

    with pytest.raises(Exception, match="decompress"):
        produce_medium(medium.pk, clock=lambda: NOW)

    medium.refresh_from_db()
    assert (medium.make_count, medium.make_after - NOW) == (1, timedelta(seconds=seconds))
