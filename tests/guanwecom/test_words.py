"""Dates in their one format, and our words in place of Django's."""

import re
from datetime import UTC, datetime
from pathlib import Path

import django
import django_celery_beat
import pytest
from django.conf import settings
from django.test import Client
from django.utils import formats, translation

from guanwecom import django_texts
from integrations.models import SyncRun
from tests.accounts.conftest import make_corp

MOMENT = datetime(2026, 11, 24, 1, 5, tzinfo=UTC)
LANGUAGES = [code for code, _name in settings.LANGUAGES]
DJANGO = Path(django.__file__).parent


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_moment_is_written_alike_in_every_language(language: str) -> None:
    with translation.override(language):
        assert formats.localize(MOMENT) == "2026-11-24 01:05"
        assert formats.localize(MOMENT.date()) == "2026-11-24"
        assert formats.localize(MOMENT.time()) == "01:05"
        assert formats.date_format(MOMENT, "SHORT_DATETIME_FORMAT") == "2026-11-24 01:05"


def test_a_row_is_named_by_the_time_of_the_site(db: None) -> None:
    run = SyncRun(corp=make_corp("北山制造", 1), requested_at=MOMENT, status="done")

    with translation.override("en"):
        assert str(run) == "北山制造 2026-11-24 09:05 done"


def test_each_text_of_djangos_that_we_say_otherwise_is_djangos() -> None:
    """Notice when Django rewords a text: ours would stay unused, and Django's would come back."""
    sources = [
        *DJANGO.glob("contrib/a*/**/*.py"),
        *DJANGO.glob("contrib/admin/templates/**/*.html"),
        Path(django_celery_beat.__file__).with_name("models.py"),
    ]
    written = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    plain = re.sub(r'"\s*"', "", written).replace("{{ ", "%(").replace(" }}", ")s")

    assert [text for text in django_texts.TEXTS if isinstance(text, str) and str(text) not in plain] == []


@pytest.mark.parametrize(
    ("language", "path", "heading"),
    [
        ("zh-hans", "/admin/notifications/report/", "内容"),
        ("zh-hans", "/admin/notifications/report/add/", "新建内容"),
        ("zh-hans", "/admin/notifications/", "推送与预警"),
        ("en", "/admin/notifications/report/", "Reports"),
        ("en", "/admin/notifications/report/add/", "Add report"),
    ],
)
def test_a_page_is_headed_as_one_would_say_it(
    admin_client: Client, settings: object, language: str, path: str, heading: str
) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]  # type: ignore[attr-defined]  # pytest-django's

    page = admin_client.get(path, headers={"accept-language": language}).text

    assert f"<h1>{heading}</h1>" in page
