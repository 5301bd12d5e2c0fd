"""Column names in a template: reading and renaming them."""

import pytest

from notifications.reports.templates.column_names import find_column_places, rename_columns
from notifications.reports.templates.merge_fields import write_aggregate, write_change, write_output, write_ranking

NAMES = {("销售", "旧"): "新"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 销售.sum('旧') }}", "{{ 销售.sum('新') }}"),
        ('{{ 销售 . sum( "旧" )|thousands }}', "{{ 销售 . sum( '新' )|thousands }}"),
        ("{{ 销售.where('旧', '旧').count }}", "{{ 销售.where('新', '旧').count }}"),
        ("{{ 销售.on(yesterday, '旧').sum('额') }}", "{{ 销售.on(yesterday, '新').sum('额') }}"),
        ("{{ 销售.within(last_week, column='旧').count }}", "{{ 销售.within(last_week, column='新').count }}"),
        ("{{ 销售.change('旧', 'day', by='旧') }}", "{{ 销售.change('新', 'day', by='新') }}"),
        ("{{ 销售.on(销售.latest('旧'), '旧').max('旧') }}", "{{ 销售.on(销售.latest('新'), '新').max('新') }}"),
        (
            "{% for row in 销售.top(5, '旧').rows %}{{ row['旧'] }} {{ row.旧 }}{% endfor %}",
            "{% for row in 销售.top(5, '新').rows %}{{ row['新'] }} {{ row.新 }}{% endfor %}",
        ),
        ("{% set t = 销售.head(3) %}{{ t.min('旧') }}", "{% set t = 销售.head(3) %}{{ t.min('新') }}"),
        ("{{ (销售.rows|first)['旧'] }}{{ 销售.rows[0].旧 }}", "{{ (销售.rows|first)['新'] }}{{ 销售.rows[0].新 }}"),
        ("{% if 销售.sum('旧') > 1 %}旧{% endif %}\n", "{% if 销售.sum('新') > 1 %}旧{% endif %}\n"),
        ("{{ 'a}}b' }}{{ 销售.sum('旧') }}", "{{ 'a}}b' }}{{ 销售.sum('新') }}"),
    ],
)
def test_a_column_is_renamed_where_it_is_one_and_nowhere_else(source: str, expected: str) -> None:
    assert rename_columns(source, NAMES) == expected


@pytest.mark.parametrize(
    "source",
    [
        "旧 {# {{ 销售.sum('旧') }} #}",
        "{{ 别的.sum('旧') }}",
        "{{ '旧' }}{{ 销售.count }}",
        "{{ 销售.sum('旧'",
        "{% for row in 别的.rows %}{{ row['旧'] }}{% endfor %}",
        "{{ 销售.sum('另') }}",
        # Jinja2 joins the first two texts, which are numbers 1 and 2 of the template. The last one is number 12.
        "{{ 销售.sum('另' '一') }}" + "{{ '字' }}" * 9 + "{{ '旧' }}",
        "{{ 销售.sum('" + "x" * 20,
    ],
)
def test_what_is_no_such_column_stays_letter_for_letter(source: str) -> None:
    assert rename_columns(source, NAMES) == source


def test_a_name_that_is_no_word_is_written_in_quotes() -> None:
    source = "{% for row in 销售.rows %}{{ row.旧 }}{% endfor %}"
    assert rename_columns(source, {("销售", "旧"): "销售额（元）'x"}) == (
        "{% for row in 销售.rows %}{{ row['销售额（元）\\'x'] }}{% endfor %}"
    )


def find_columns(source: str, *aliases: str) -> list[tuple[str, str]]:
    return [column for _place, column in find_column_places(source, aliases)]


def test_the_columns_of_the_named_cards_are_found() -> None:
    source = "{{ a.sum('乙') }}{{ b.sum('甲') }}{{ a.max('乙') }}{{ c.sum('丙') }}"
    assert sorted(find_columns(source, "a", "b")) == [("a", "乙"), ("a", "乙"), ("b", "甲")]


def test_what_the_picker_writes_is_read_and_renamed() -> None:
    def written(column: str) -> str:
        figures = [
            write_output(write_aggregate("s", "sum", column, days="latest", day_column="日")),
            write_output(write_change("s", column, against="day", day_column="日")),
        ]
        return "\n".join([*figures, write_ranking("s", "店", column)])

    assert set(find_columns(written("旧'额\\"), "s")) == {("s", "旧'额\\"), ("s", "日"), ("s", "店")}
    assert rename_columns(written("旧'额\\"), {("s", "旧'额\\"): "新"}) == written("新")
