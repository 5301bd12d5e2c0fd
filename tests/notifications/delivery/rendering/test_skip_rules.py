"""Runs that are not worth sending."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifications.delivery.rendering.skip_rules import Rules, fingerprint, is_stale, reason_to_skip
from notifications.models import IfStale
from tests.notifications.reports.tables import SLOT, sales


def reason(rules: Rules, days: int = 1, age: timedelta = timedelta(), last: str = "") -> str:
    tables = {"sales": sales(days=days, as_of=SLOT - age)}
    return str(reason_to_skip(tables, rules, slot_at=SLOT, print_of_last=last, moment="11-24 09:00") or "")


def test_sends_whatever_there_is_where_nothing_is_chosen() -> None:
    assert reason(Rules(), days=0, age=timedelta(days=9), last=fingerprint({"sales": sales(days=0)})) == ""


def test_skips_empty_data() -> None:
    assert reason(Rules(if_empty=True), days=0) == "未发送：数据为空。"
    assert reason(Rules(if_empty=True)) == ""


def test_skips_unchanged_data_whenever_it_was_fetched() -> None:
    same, other = fingerprint({"sales": sales(days=1)}), fingerprint({"sales": sales(days=2)})

    assert reason(Rules(if_unchanged=True), age=timedelta(hours=1), last=same) == "未发送：数据与上一条消息相同。"
    assert reason(Rules(if_unchanged=True), last=other) == ""
    assert reason(Rules(if_unchanged=True), last="") == ""


@pytest.mark.parametrize(("minutes", "is_old"), [(60, False), (61, True)])
def test_skips_data_that_is_older_than_allowed(minutes: int, is_old: bool) -> None:
    rules = Rules(stale_after=timedelta(hours=1), if_stale=IfStale.SKIP)

    assert bool(reason(rules, age=timedelta(minutes=minutes))) == is_old


def test_old_data_is_sent_with_a_note_where_that_is_chosen() -> None:
    rules = Rules(stale_after=timedelta(hours=1))

    assert reason(rules, age=timedelta(hours=2)) == ""
    assert is_stale({"sales": sales(as_of=SLOT - timedelta(hours=2))}, rules, SLOT)


def test_the_oldest_table_counts() -> None:
    rules = Rules(stale_after=timedelta(hours=1))

    assert is_stale({"a": sales(), "b": sales(as_of=SLOT - timedelta(days=1))}, rules, SLOT)
    assert not is_stale({}, rules, SLOT)
