"""Falls and rises against the day, week or year before, and rules tried over past data."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils.translation import override

from integrations.data.table import Column, Kind, Table
from integrations.models import Card, CardData
from integrations.models.datasources import compress_table
from notifications.alerts import conditions, trial, verdicts
from notifications.alerts.conditions import Condition, ConditionError, read_conditions, write_conditions
from notifications.alerts.trial import try_over_past
from notifications.alerts.verdicts import ConditionResult, Join
from notifications.models import AlertCheck, AlertRule, Incident
from tests.notifications.alerts.rules import check, make_rule, parse, table
from tests.notifications.factories import NOW

TODAY = date(2026, 11, 24)
AT = datetime(2026, 11, 24, 9, tzinfo=ZoneInfo("Asia/Shanghai"))
LAST_WEEK, LAST_YEAR = date(2026, 11, 17), date(2025, 11, 24)
SHOP, DAY, SALES = Column("门店", Kind.TEXT), Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)
TABLE = Table(
    (SHOP, DAY, SALES),
    (
        ("甲", TODAY, 50),
        ("乙", TODAY, 30),
        ("甲", date(2026, 11, 23), 100),
        ("甲", LAST_WEEK, 60),
        ("乙", LAST_WEEK, 60),
        ("甲", LAST_YEAR, 0),
        ("乙", None, 7),
    ),
    NOW,
)


def parse_one(line: str) -> Condition:
    [condition] = parse(line)
    return condition


def evaluate_line(line: str, data: Table = TABLE) -> ConditionResult:
    data = verdicts.localize_moments(data, AT.tzinfo or UTC)
    fixed = verdicts.resolve_dates(parse_one(line), data, AT)
    return verdicts.evaluate_conditions([fixed], Join.ALL, data).results[0]


@pytest.mark.parametrize(
    ("line", "holds", "before"),
    [
        ("sum 销售额 fell 20 % week", True, 120),
        ("sum 销售额 fell 33.3 % week", True, 120),
        ("sum 销售额 fell 34 % week", False, 120),
        ("sum 销售额 fell 20 % day", False, 100),  # exactly 20 %, not more
        ("sum 销售额 fell 19.9 % day", True, 100),
        ("sum 销售额 rose 10 % week", False, 120),
        ("sum 销售额 fell 40 amount week", False, 120),
        ("sum 销售额 fell 39 amount week", True, 120),
        ("sum 销售额 rose 79 amount year", True, 0),
        ("avg 销售额 fell 30 % week", True, 60),
        ("max 销售额 fell 10 % week where 门店=甲", True, 60),
        ("sum 销售额 rose 60 % week where 日期=昨天", None, None),
        ("sum 销售额 rose 100 % day where 日期=2026-11-24; 门店=乙", None, None),
        ("sum 销售额 rose 20 % year", False, 0),
        ("sum 销售额 fell 20 % year", False, 0),
        ("sum 销售额 rose 20 %0 year", True, 0),
        ("sum 销售额 fell 20 %0 year", False, 0),
        ("sum 销售额 rose 20 %0 week", False, 120),
        ("count fell 0 amount week where 门店=乙", False, 1),
        ("count 销售额 rose 0 amount day where 门店=乙", True, 0),
    ],
)
def test_compares_a_day_with_an_earlier_one(line: str, holds: bool | None, before: int | None) -> None:
    answer = evaluate_line(line)
    assert (answer.holds, answer.before) == (holds, before)


@pytest.mark.parametrize(
    ("before", "value", "kind", "words"),
    [
        (120, 80, Kind.NUMBER, "销售额 合计 比上周同日 上升超过 1%：2026-11-24 为 80，2026-11-17 为 120 (↓33.3%)"),
        (0, 12, Kind.NUMBER, "2026-11-24 为 12，2026-11-17 为 0 (由 0 增至 12)"),
        (-2.1, 0.3, Kind.NUMBER, "2026-11-24 为 0.3，2026-11-17 为 -2.1 (由 -2.1 升至 0.3)"),
        (12, 13.2, Kind.PERCENT, "2026-11-24 为 13.2%，2026-11-17 为 12% (+1.2 个百分点)"),
    ],
)
def test_both_values_are_said_and_the_rows_of_the_day_marked(
    before: float, value: float, kind: Kind, words: str
) -> None:
    rule = AlertRule(conditions=write_conditions([parse_one("sum 销售额 rose 1 % week")]))
    table = Table((DAY, replace(SALES, kind=kind)), ((TODAY, value), (LAST_WEEK, before)), NOW)
    fixed = verdicts.resolve_dates(parse_one("sum 销售额 rose 1 % week"), table, AT)
    verdict = verdicts.evaluate_conditions([fixed], Join.ALL, table)

    assert verdict.rows == ((0,) if verdict.holds else ())
    with override("zh-hans"):
        assert conditions.describe_results(rule, verdict).endswith(words)


@pytest.mark.parametrize(
    ("line", "day"),
    [
        ("sum 销售额 fell 20 % week where 日期=昨天", "2026-11-16"),
        ("count fell 20 % week where 日期=昨天", "2026-11-16"),
        ("sum 销售额 fell 20 % day where 门店=乙", "2026-11-23"),
    ],
)
def test_without_an_earlier_value_nothing_fires_and_it_says_why(line: str, day: str) -> None:
    answer = evaluate_line(line)

    assert answer.problem is not None
    assert (answer.holds, answer.problem.reason, answer.problem.about) == (None, "no_earlier", day)


def test_zero_after_zero_is_no_change_and_no_day_to_come_counts() -> None:
    zero = TABLE.replace_rows([("甲", TODAY, 0), ("甲", LAST_WEEK, 0)])
    assert evaluate_line("sum 销售额 fell 0 % week", zero).holds is False
    later = TABLE.replace_rows([*TABLE.rows, ("甲", TODAY + timedelta(days=1), 1)])
    assert evaluate_line("sum 销售额 fell 20 % week", later).days == ("2026-11-24", "2026-11-17")


def test_a_span_is_compared_with_the_span_as_long_before() -> None:
    """Has 100 of yesterday and 120 of the week before in the last 7 days, and nothing in the 7 days before these."""
    answer = evaluate_line("sum 销售额 rose 49 % week where 日期=最近 7 天")
    assert (answer.value, answer.before, answer.days[1]) == (Decimal(220), None, "2026-11-10 – 2026-11-16")
    answer = evaluate_line("sum 销售额 rose 49 % week where 日期=本周")
    assert (answer.value, answer.before, answer.days[1]) == (Decimal(180), Decimal(120), "2026-11-16 – 2026-11-17")


def test_times_are_compared_by_their_days() -> None:
    times = Column("时间", Kind.DATETIME)
    rows = [(datetime(2026, 11, 23, 16, tzinfo=UTC), 50), (datetime(2026, 11, 23, 15, tzinfo=UTC), 100)]
    assert evaluate_line("sum 销售额 fell 49 % day", Table((times, SALES), tuple(rows), NOW)).holds is True


def test_of_several_columns_of_days_one_must_be_named() -> None:
    table = Table((DAY, Column("交货日", Kind.DATE), SALES), ((TODAY, TODAY, 50), (LAST_WEEK, TODAY, 100)), NOW)

    with pytest.raises(ConditionError, match="several_days"):
        evaluate_line("sum 销售额 fell 20 % week", table)

    assert evaluate_line("sum 销售额 fell 20 % week where 日期=今天", table).holds is True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"aggregate": "any"}, "changed_of_rows"),
        ({"aggregate": "change"}, "changed_of_rows"),
        ({"against": None}, "malformed"),
        ({"unit": "pieces"}, "malformed"),
        ({"values": ["-20"]}, "signed"),
        ({"values": ["many"]}, "no_number"),
        ({"values": []}, "values"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, object], reason: str) -> None:
    [row] = write_conditions([parse_one("sum 销售额 fell 20 % week")])
    assert read_conditions([row]) == [parse_one("sum 销售额 fell 20 % week")]

    with pytest.raises(ConditionError, match=reason):
        read_conditions([{**row, **change}])
    del row["against"]
    with pytest.raises(ConditionError, match="no_against"):
        read_conditions([row])


def keep(rule: AlertRule, slot_at: datetime, **sales: int) -> None:
    times = dict.fromkeys(("requested_at", "next_try_at", "finished_at"), slot_at)
    content = compress_table(table(**sales))
    CardData.objects.create(card=rule.card, slot_at=slot_at, status="ready", content=content, **times)


def test_data_without_days_is_compared_with_what_was_fetched_at_that_time_of_the_earlier_day(card: Card) -> None:
    rule, week = make_rule(card, (), "sum 销售额 fell 20 % week"), timedelta(days=7)
    keep(rule, NOW - week - timedelta(hours=1), 上海=1)
    keep(rule, NOW - week + timedelta(minutes=1), 上海=100)
    keep(rule, NOW - timedelta(days=6), 上海=1)
    assert check(rule, NOW, table(上海=79)) == AlertCheck.Outcome.FIRING
    assert Incident.objects.get().summary == "销售额 合计 比上周同日 下降超过 20%：当前 79，2026-11-17 为 100 (↓21.0%)"


def test_each_part_is_compared_with_its_own_earlier_value_and_the_rule_names_what_lacks_one(card: Card) -> None:
    rule = make_rule(card, (), "sum 销售额 fell 20 % day", split_column="城市")
    keep(rule, NOW - timedelta(days=1), 上海=100, 北京=100, Ningbo=5)

    assert check(rule, NOW, table(上海=79, 北京=99, 广州=1, NINGBO=5)) == AlertCheck.Outcome.FIRING

    assert Incident.objects.get().title == "销售额过低 · 上海"
    rule.refresh_from_db()
    assert (rule.failure_count, rule.problem.startswith("没有 2026-11-23 的数据可比")) == (0, True)


@pytest.mark.parametrize("old", [None, Table((SHOP,), (("上海",),), NOW), replace(table(上海=100), is_cut=True)])
def test_nothing_or_what_was_fetched_with_other_columns_or_cut_is_no_earlier_value(
    card: Card, old: Table | None
) -> None:
    rule = make_rule(card, (), "sum 销售额 fell 20 % week")
    if old is not None:
        keep(rule, NOW - timedelta(days=7), 上海=100)
        CardData.objects.update(content=compress_table(old))

    assert check(rule, NOW, table(上海=79)) == AlertCheck.Outcome.NO_DATA

    assert not Incident.objects.exists()
    rule.refresh_from_db()
    assert "没有 2026-11-17 的数据可比" in rule.problem


def day(number: int) -> date:
    return TODAY - timedelta(days=number)


def sales_on(*sales: tuple[date | None, int], is_cut: bool = False) -> Table:
    return Table((Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER)), sales, NOW, is_cut)


PAST_SALES = sales_on((day(40), 1), (day(3), 1), (day(2), 60), (day(2), 60), (day(1), 5), (None, 0))


@pytest.mark.parametrize(
    ("line", "count", "held"),
    [
        ("sum 销售额 < 100", 3, [3, 1]),
        ("any 销售额 > 50", 3, [2]),
        ("sum 销售额 < 100 where 日期=昨天", 3, [2, 0]),
        ("change 销售额 <= -50", 3, [1]),
        ("sum 销售额 fell 20 % day", 2, [1]),
    ],
)
def test_says_on_which_days_it_would_have_fired(line: str, count: int, held: list[int]) -> None:
    """Days without rows or without an earlier value have no answer."""
    rule = AlertRule(conditions=write_conditions(parse(line)))
    found = try_over_past(rule, PAST_SALES, today=TODAY)
    assert found is not None
    assert (found["day_count"], found["held"]) == (count, [day(number) for number in held])


@pytest.mark.parametrize(
    ("line", "threshold", "is_above", "is_strict", "numbers"),
    [
        ("sum 销售额 < 100", 100, False, True, [1, 120, 5]),
        ("any 销售额 >= 50", 50, True, False, [1, 60, 5]),
        ("all 销售额 > 50", 50, True, True, [1, 60, 5]),
        ("sum 销售额 < 100 where 日期=昨天", 100, False, True, [1, 120, 5]),
    ],
)
def test_gives_the_numbers_of_the_days_for_a_threshold_that_can_be_moved(
    line: str, threshold: float, is_above: bool, is_strict: bool, numbers: list[float]
) -> None:
    found = try_over_past(AlertRule(conditions=write_conditions(parse(line))), PAST_SALES, today=TODAY)

    assert found is not None
    chart = found["chart"]
    assert (chart["row"], chart["threshold"], chart["is_above"], chart["is_strict"]) == (
        *(0, threshold, is_above, is_strict),
    )
    assert [number for _day, number in chart["days"]] == numbers


@pytest.mark.parametrize("line", ["change 销售额 <= -50", "sum 销售额 fell 20 % day", "sum 销售额 between 1 and 2"])
def test_gives_no_numbers_where_no_single_threshold_decides(line: str) -> None:
    found = try_over_past(AlertRule(conditions=write_conditions(parse(line))), PAST_SALES, today=TODAY)

    assert found is not None
    assert found["chart"] is None


def test_has_no_answer_for_what_has_no_days_or_is_cut_or_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = AlertRule(conditions=write_conditions(parse("sum 销售额 < 100")))
    without = Table((Column("销售额", Kind.NUMBER),), ((1,),), NOW)
    assert try_over_past(rule, without, today=TODAY) is None
    assert try_over_past(rule, sales_on((day(1), 1), is_cut=True), today=TODAY) is None
    monkeypatch.setattr(trial, "PAST_ROWS_AT_MOST", 1)
    assert try_over_past(rule, PAST_SALES, today=TODAY) is None
