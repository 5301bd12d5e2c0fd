"""The initial site address, written after each migration."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db.migrations.state import ProjectState

from integrations.apps import ensure_default_site_address
from integrations.models import DEFAULT_SITE_ADDRESS, SiteAddress

pytestmark = pytest.mark.django_db


def urls() -> list[str]:
    return list(SiteAddress.objects.values_list("url", flat=True))


def test_a_migration_writes_the_initial_address() -> None:
    SiteAddress.objects.all().delete()

    ensure_default_site_address(apps=apps)

    assert urls() == [DEFAULT_SITE_ADDRESS]


def test_a_saved_default_address_stays_the_only_one() -> None:
    SiteAddress.objects.all().delete()
    SiteAddress.objects.create(url="https://bi.example.com/", is_default=True)

    ensure_default_site_address(apps=apps)

    assert urls() == ["https://bi.example.com/"]


def test_migrating_back_to_before_the_table_writes_nothing() -> None:
    """As `migrate integrations zero` ends: the app has no models then, and its tables are gone."""
    SiteAddress.objects.all().delete()

    ensure_default_site_address(apps=ProjectState().apps)

    assert urls() == []
