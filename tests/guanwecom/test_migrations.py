"""What the first migrations make beside tables and their indexes."""

from __future__ import annotations

import pytest
from django.db import connection


@pytest.mark.django_db
def test_messages_are_counted_anew_when_a_hundredth_have_changed() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'notifications_delivery'")
        [(options,)] = cursor.fetchall()

    assert set(options) == {"autovacuum_analyze_scale_factor=0.01", "autovacuum_analyze_threshold=1000"}
