"""Merge fields: each inserted field works and is read back as the field that was inserted."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table
from notifications.reports.templates import merge_fields
from notifications.reports.templates.column_names import describe_template_names, find_column_places
from notifications.reports.templates.merge_fields import Field, FieldGroup
from notifications.reports.templates.renderer import RenderContext, render_template

AT_NINE = datetime(2026, 11, 28, 1, tzinfo=UTC)
HEADINGS = {"sales": "销售"}


def table(*, region: str = "区域", number: str = "销售额", day: str = "日期") -> Table:
    """Return two days of two regions; the latest is the day before the slot."""
    columns = (Column(day, Kind.DATE), Column(region, Kind.TEXT), Column(number, Kind.NUMBER, "元"))
    rows = (
        (date(2026, 11, 26), "华东", Decimal(1000)),
        (date(2026, 11, 27), "华东", Decimal(1200)),
        (date(2026, 11, 27), "华南", Decimal(300)),
    )
    return Table(columns, rows, AT_NINE)


def text_of(template: str, data: Table | None = None) -> str:
    return render_template(
        template, RenderContext(AT_NINE, ZoneInfo("Asia/Shanghai"), {"sales": data or table()}), "text"
    )


def every_field(data: Table) -> list[tuple[FieldGroup, Field]]:
    columns = [*merge_fields.list_column_fields(data, "sales"), merge_fields.list_day_fields({"sales": data})]
    return [(group, field) for column in columns for group in column.groups for field in group.fields]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("销售额合计", "2,500"),
        ("销售额平均值", "833.33"),
        ("行数", "3"),
        ("最新一天 销售额合计", "1,500"),
        ("昨天 销售额合计", "1,500"),
        ("今天 行数", "0"),
        ("近 7 天 销售额最大值", "1,200"),
        ("销售额合计 较前一天", "↑50.0%"),
        ("销售额合计 较上周同日", "—"),
        ("最新一天 前 5 名：区域（按销售额）", "1. 华东 1,200\n2. 华南 300\n"),
        ("最新一天 后 5 名：区域（按销售额）", "1. 华南 300\n2. 华东 1,200\n"),
        ("昨天", "11月27日"),
        ("最新一天", "11月27日"),
        ("上月", "10月1日 至 10月31日"),
    ],
)
def test_a_field_shows_what_its_label_says(label: str, text: str) -> None:
    found = {field.label: field.template for _group, field in every_field(table())}
    assert text_of(found[label]) == text


def test_every_field_reads_back_under_its_label_in_every_format() -> None:
    formats = describe_template_names(AT_NINE, ZoneInfo("UTC"))["field_formats"]
    for _group, field in every_field(table()):
        assert merge_fields.read_parts(f"共{field.template}\n元", HEADINGS) == ["共", field, "\n元"]
        for style, _name in formats if field.template.endswith("|thousands }}") else ():
            template = field.template.replace("|thousands", f"|{style}" if style else "")
            [part] = merge_fields.read_parts(template, HEADINGS) or []
            assert isinstance(part, Field)
            assert part.label.startswith(field.label)
            text_of(template)


@settings(max_examples=15, deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_columns_of_any_name_can_be_inserted(region: str, number: str, day: str) -> None:
    if len({region, number, day}) < 3:
        return
    data = table(region=region, number=number, day=day)
    for group, _field in every_field(data):
        field = group.fields[0]
        assert merge_fields.read_parts(field.template, HEADINGS) == [field]
        text_of(field.template, data)


@given(st.text(alphabet="{}%#'\\\n a区-", max_size=30))
def test_text_stays_what_was_typed(typed: str) -> None:
    template = merge_fields.write_literal(typed)
    parts = merge_fields.read_parts(template, {})
    assert parts == ([typed] if typed else [])
    assert text_of(template) == typed.replace("\r", "\n")


@pytest.mark.parametrize(
    ("field", "shown"),
    [("{{ sales.count }}", "3"), (merge_fields.write_ranking("sales", "区域", "销售额", count=1), "1. 华东 1,200\n")],
)
@given(before=st.text("{}%#a", max_size=6), after=st.text("{}%#a", max_size=6))
def test_braces_stand_right_beside_a_field(field: str, shown: str, before: str, after: str) -> None:
    template = merge_fields.write_literal(before) + field + merge_fields.write_literal(after)

    found = merge_fields.read_parts(template, HEADINGS) or []
    assert [part if isinstance(part, str) else part.template for part in found] == [
        *filter(None, (before, field, after))
    ]
    assert text_of(template) == before + shown + after
    named = [column for _place, column in find_column_places(template, {"sales"})]
    assert ("sales", "区域") in named or "区域" not in field


@pytest.mark.parametrize(
    "template",
    [
        "{{ sales.sum('销售额') * 2 }}",
        "{{ sales.sum('销售额')|wan }}",
        "{{ other.sum('销售额') }}",
        "{{ sales.on(last_week, '日期').sum('销售额') }}",
        "{{ sales.on(other.latest('日期'), '日期').sum('销售额') }}",
        "{{ sales.on(sales.latest('时间'), '日期').sum('销售额') }}",
        "{{ sales.change('销售额', 'decade', by='日期') }}",
        "{% if sales.is_empty %}空{% endif %}",
        "{{ sales.sum('销售额')",
        merge_fields.write_ranking("sales", "区域", "销售额", count=0),
        merge_fields.write_ranking("sales", "区域", "销售额", count=21),
        merge_fields.write_ranking("sales", "区域", "销售额").replace("row['销售额']", "row['区域']"),
    ],
)
def test_any_other_template_is_left_alone(template: str) -> None:
    assert merge_fields.read_parts(f"文字 {template}", HEADINGS) is None


def test_among_several_cards_a_label_names_its_card() -> None:
    template = merge_fields.write_output(merge_fields.write_aggregate("sales", "sum", "销售额"), "thousands")
    [part] = merge_fields.read_parts(template, {"sales": "销售", "stock": "库存"}) or []
    assert isinstance(part, Field)
    assert part.label == "销售 · 销售额合计"


def test_a_table_without_days_offers_nothing_about_days() -> None:
    data = Table((Column("销售额", Kind.NUMBER),), ((Decimal(1),),), AT_NINE)
    assert [group.label for group, _field in every_field(data)][:2] == ["常用", "全部数据"]
    assert "最新一天" not in {field.label for _group, field in every_field(data)}


def test_a_table_without_numbers_offers_its_rows() -> None:
    data = Table((Column("区域", Kind.TEXT),), (("华东",),), AT_NINE)
    assert [field.label for _group, field in every_field(data)][:1] == ["行数"]
