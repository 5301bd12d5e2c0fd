"""The time of data: by the column that the card names, else by the source."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from integrations.data import SourceError
from integrations.data.table import from_document, to_document
from integrations.data.table_builder import ColumnChoices, build_table

NOW = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
CHOICES = ColumnChoices(as_of_column="时间", zone=SHANGHAI)


def as_of(*values: Any, choices: ColumnChoices = CHOICES) -> datetime:
    return build_table(["时间", "销售额"], [(value, 1) for value in values], fetched_at=NOW, choices=choices).as_of


def test_where_no_column_was_chosen_the_only_one_of_days_says_it() -> None:
    planned = NOW + timedelta(days=9)

    assert as_of(NOW - timedelta(days=3), planned, choices=ColumnChoices()) == NOW - timedelta(days=3)


def test_what_the_source_says_goes_before_a_column_that_nobody_chose_and_of_several_none_says_it() -> None:
    said = NOW - timedelta(hours=5)

    table = build_table(["时间"], [(date(2026, 11, 1),)], fetched_at=NOW, source_as_of=said)
    two = build_table(["开业", "关店"], [(date(2019, 5, 1), date(2020, 1, 1))], fetched_at=NOW)

    assert (table.as_of, table.is_fetch_time) == (said, False)
    assert (two.as_of, two.is_fetch_time) == (NOW, True)


@pytest.mark.parametrize(
    ("values", "moment"),
    [
        ((NOW - timedelta(days=3), NOW - timedelta(hours=2), None), NOW - timedelta(hours=2)),
        (("2026-11-24 08:30:00",), datetime(2026, 11, 24, 0, 30, tzinfo=UTC)),  # in the site's zone
        ((date(2026, 11, 23), date(2026, 11, 20)), datetime(2026, 11, 24, tzinfo=SHANGHAI)),  # a day means its end
        (("2026-11-23", "2026-11-20"), datetime(2026, 11, 24, tzinfo=SHANGHAI)),
        (("2026-09", "2026-10"), datetime(2026, 11, 1, tzinfo=SHANGHAI)),
        (("2026-10", "2026-11"), NOW),  # the present month
        *(((value,), NOW) for value in ("2026-11-24", "2027-01-01 00:00", date.max)),  # the future
        ((), NOW),
        ((None,), NOW),
    ],
)
def test_the_latest_moment_that_has_come_counts(values: tuple[Any, ...], moment: datetime) -> None:
    assert as_of(*values) == moment


@pytest.mark.parametrize(
    ("choices", "what"),
    [(ColumnChoices(as_of_column="日期"), "no-time-column"), (ColumnChoices(as_of_column="销售额"), "not-datetime")],
)
def test_a_column_that_cannot_say_it_is_no_table(choices: ColumnChoices, what: str) -> None:
    with pytest.raises(SourceError) as found:
        as_of(NOW, choices=choices)

    assert found.value.facts["what"] == what


def test_what_is_of_a_day_says_the_day_and_not_the_midnight_after_it() -> None:
    daily = build_table(["日期"], [(date(2026, 11, 23),)], fetched_at=NOW, choices=ColumnChoices(zone=SHANGHAI))
    timed = build_table(
        ["时间"], [(datetime(2026, 11, 23, tzinfo=SHANGHAI),)], fetched_at=NOW, choices=ColumnChoices(zone=SHANGHAI)
    )
    undated = build_table(["销售额"], [(1,)], fetched_at=datetime(2026, 11, 24, tzinfo=UTC))

    assert [one.as_of_day for one in (daily, timed, undated)] == [date(2026, 11, 23), None, None]
    assert daily.replace_rows([]).as_of_day == from_document(to_document(daily)).as_of_day == date(2026, 11, 23)
