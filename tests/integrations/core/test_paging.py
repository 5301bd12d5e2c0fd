"""Pages by key: forth and back, without counting and without skipping or repeating a row."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.core.admin_pages import KeysetPage, keyset_page

pytestmark = pytest.mark.django_db


def fill(number: int) -> list[int]:
    Group.objects.all().delete()
    return [one.pk for one in Group.objects.bulk_create(Group(name=f"g{n}") for n in range(number))]


def keys(page: KeysetPage) -> list[int]:
    return [one.pk for one in page.rows]


@given(number=st.integers(0, 12), size=st.integers(1, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_leafing_forth_and_back_shows_every_row_once(number: int, size: int) -> None:
    pks = fill(number)
    pages = [keyset_page(Group.objects.all(), size=size)]
    while (after := pages[-1].after) is not None:
        pages.append(keyset_page(Group.objects.all(), after=after, size=size))
    back = [pages[-1]]
    while (before := back[-1].before) is not None:
        back.append(keyset_page(Group.objects.all(), before=before, size=size))

    assert [pk for page in pages for pk in keys(page)] == pks
    assert [keys(page) for page in reversed(back)] == [keys(page) for page in pages]


def test_a_page_is_one_query_that_reads_one_row_more_than_it_shows() -> None:
    fill(10)

    with CaptureQueriesContext(connection) as queries:
        page = keyset_page(Group.objects.all(), size=3)

    assert len(page.rows) == 3
    assert ["LIMIT 4" in one["sql"] for one in queries] == [True]


def test_keys_beyond_the_ends_lead_back_to_the_rows() -> None:
    pks = fill(3)

    beyond = keyset_page(Group.objects.all(), after=pks[-1], size=2)
    assert keys(beyond) == []
    assert beyond.after is None
    assert keys(keyset_page(Group.objects.all(), before=pks[0], size=2)) == []
