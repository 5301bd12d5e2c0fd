"""Report templates: times, cells, aggregates, changes and formats, and the line of an error."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from integrations.data.table import Column, Kind, Table
from integrations.data.table_builder import build_table
from notifications.reports.templates import renderer
from notifications.reports.templates.renderer import RenderContext
from notifications.reports.templates.values import TemplateError
from tests.notifications.reports.tables import SLOT, ZONE, given, one_cell, sales


def said(source: str, form: str = "text", **of: object) -> str:
    return renderer.render_template(source, given(**of), form)  # type: ignore[arg-type]  # of given()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ today }}", "2026-11-24"),
        ("{{ 昨天|日期('M月D日') }}", "11月23日"),
        ("{{ last_week }}", "2026-11-16 至 2026-11-22"),
        ("{{ month_to_date.start }} {{ month_to_date.days }}", "2026-11-01 24"),
        ("{{ last_month|date('YYYY年M月D日') }}", "2026年10月1日 至 2026年10月31日"),
        ("{{ same_day_last_year }} {{ same_day_last_month }}", "2025-11-24 2026-10-24"),
        ("{{ slot }} {{ slot|date('HH:mm ddd W Q') }}", "2026-11-24 09:00 09:00 周二 48 4"),
        ("{{ today - 3 }} {{ today|days(10) }}", "2026-11-21 2026-12-04"),
        ("{{ month_of(today - 30).start }} {{ week_of(sales.latest()).end }}", "2026-10-01 2026-11-29"),
    ],
)
def test_knows_times_of_the_slot(source: str, text: str) -> None:
    assert said(source) == text


@pytest.mark.parametrize(
    ("source", "slot", "text"),
    [
        ("{{ today }}", datetime(2026, 11, 24, 17, tzinfo=UTC), "2026-11-25"),
        ("{{ same_day_last_year }}", datetime(2028, 2, 29, 4, tzinfo=UTC), "2027-02-28"),
        (
            "{{ last_workday }} {{ 上一工作日|date('M月D日') }}",
            datetime(2026, 11, 30, 1, tzinfo=UTC),
            "2026-11-27 11月27日",
        ),
        ("{{ today|date('YYYY年第W周') }}", datetime(2027, 1, 1, 1, tzinfo=UTC), "2026年第53周"),
    ],
    ids=["the day in the zone", "a leap day", "after a weekend", "a week of another year"],
)
def test_knows_times_of_other_slots(source: str, slot: datetime, text: str) -> None:
    assert said(source, slot_at=slot) == text
    assert said("{{ today }}", slot_at=slot, zone=ZoneInfo("America/New_York")) == f"{slot - timedelta(hours=5):%F}"


@pytest.mark.parametrize("source", ["", "日报 <b>*1*", "a\r\nb\rc\n\n", "{ 100 % }", "}}", "%}"])
def test_a_text_that_computes_nothing_stays_as_it_is(source: str) -> None:
    line_ends = source.replace("\r\n", "\n").replace("\r", "\n")

    # The result is the same if something computed follows.
    assert said(source) == line_ends == said(source + "{{ today }}").removesuffix("2026-11-24")


def test_even_a_text_that_computes_nothing_may_be_too_long() -> None:
    with pytest.raises(TemplateError):
        said("x" * 10_001)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ sales.sum('销售额') }}", "20040"),
        ("{{ sales.avg('销售额') }} {{ sales.min('销售额') }} {{ sales.max('销售额') }}", "2505 1000 4010"),
        ("{{ sales.count }} {{ sales.distinct('区域') }} {{ sales.filled('区域') }}", "8 2 8"),
        ("{{ sales.value('区域') }} {{ sales.value('区域', 1) }} {{ sales.last('销售额') }}", "华东 华南 4010"),
        ("{{ sales.value('区域', 99) }}", "—"),
        ("{{ sales.max('日期') }} {{ sales.latest() }}", "2026-11-23 2026-11-23"),
        ("{{ sales.where('区域', '华南').sum('销售额') }}", "10040"),
        ("{{ sales.where('销售额', '>=', 4000).count }}", "2"),
        ("{{ sales.on(yesterday).sum('销售额') }}", "8010"),
        ("{{ sales.within(this_week).sum('销售额') }}", "8010"),
        ("{{ sales.sum('销售额') }}{{ sales.unit('销售额') }}", "20040元"),
        ("{{ sales.as_of }}", "2026-11-24 09:00"),
        ("{% for row in sales.top(2, '销售额').rows %}{{ loop.index }}{{ row.区域 }}{{ row['销售额'] }};{% endfor %}", "1华南4010;2华东4000;"),  # noqa: E501  # one line, as it is written
        ("{% for x in sales.top(2, '销售额').rows %}{{ loop.revindex }}/{{ loop.length }}{{ loop.last }} {% endfor %}", "2/2否 1/2是 "),  # noqa: E501  # one line, as it is written
        ("{% for row in sales.on(yesterday).rows %}{{ sales.where('区域', row.区域).sum('销售额') }} {% endfor %}", "10000 10040 "),  # noqa: E501  # as it is written
        ("{% for row in sales.rows if row.销售额 > 4000 %}{{ row.区域 }}{% endfor %}", "华南"),
        ("{% if sales.avg('销售额') > 2000 %}好{% else %}差{% endif %}", "好"),
        ("{% set n = sales.count * 2 %}{{ n + 1 }}", "17"),
        ("{{ sales.columns|join('/') }}", "日期/区域/销售额"),
    ],
)  # fmt: skip
def test_knows_cells_and_aggregates(source: str, text: str) -> None:
    assert said(source) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ sales.change('销售额') }}", "↑33.3%"),
        ("{{ sales.change('销售额', on=today - 2) }}", "↑49.9%"),
        ("{{ sales.change('销售额').arrow }} {{ sales.change('销售额').difference }}", "↑ 2000"),
        ("{{ sales.change('销售额', of='max').percent|percent(2) }}", "33.22%"),
        (
            "{{ change(90, 100) }} {{ change(100, 100) }} {{ change(1, 0) }} {{ change(0, 0) }}",
            "↓10.0% →0.0% 由 0 增至 1 →0.0%",
        ),
        ("{{ change(-5, -10) }}", "由 -10 升至 -5"),
    ],
)
def test_shows_changes_with_arrows(source: str, text: str) -> None:
    assert said(source) == text


def test_compares_with_the_same_day_of_the_week_and_year_before() -> None:
    table = sales(days=400)

    assert said("{{ sales.change('销售额', 'week').before }}", table=table) == "786010"
    assert said("{{ sales.change('销售额', 'year').before }}", table=table) == "70010"
    assert said("{{ sales.change('销售额', 'month').before }}", table=table) == "738010"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 1234567.891|千分位 }} {{ 1234567.891|千分位(1) }}", "1,234,567.89 1,234,567.9"),
        ("{{ (-1234)|thousands }}", "-1,234"),
        ("{{ 1234567|万 }} {{ 1234567890|亿 }} {{ 1234567890|short }} {{ 12345|short }} {{ 999|short }}", "123.5万 12.35亿 12.35亿 1.2万 999"),  # noqa: E501  # one template
        ("{{ 255|wan }} {{ (-255.5)|万 }} {{ 9999.999|wan(3) }} {{ 12345|yi }} {{ 0|yi }}", "255 -255.5 10000 12345 0"),
        ("{{ 12345|自动 }} {{ 12345|万亿 }} {{ 255|自动 }} {{ ''|wan }}", "1.2万 1.2万 255 —"),
        ("{{ 0.1234|百分比 }} {{ 0.1234|percent(0) }}", "12.3% 12%"),
        ("{{ 2.5|round }} {{ -0.001|round(2) }} {{ 3|signed }} {{ -3|abs }}", "3 0.00 +3.0 3"),
        ("{{ 1/3 }} {{ 1/0 }} {{ 7 % 4 }} {{ 0.1 + 0.2 }}", "0.33 — 3 0.3"),
        ("{{ '一二三四五'|clip(3) }} {{ sales.value('x' if false else '区域', 50)|default('无') }}", "一二… 无"),
    ],
)  # fmt: skip
def test_formats_numbers(source: str, text: str) -> None:
    assert said(source) == text


def test_computes_with_empty_cells_without_failing() -> None:
    empty = sales().replace_rows([])
    source = (
        "{{ sales.sum('销售额') }} {{ sales.avg('销售额') }} {{ sales.avg('销售额') + 1 }} {{ sales.first('区域') }}"
        "{% if sales.max('销售额') > 3 %}x{% endif %} {{ sales.change('销售额') }} {{ sales.avg('销售额')|wan }}"
    )

    assert said(source, table=empty) == "— — — — — —"


@pytest.mark.parametrize(
    ("names", "rows", "source", "text"),
    [
        (
            ["日", "值"],
            [("2026/11/23", "1,200.5"), ("20261122", "600.25"), ("2026年11月25日", "-")],
            "{{ sales.sum('值') }} {{ sales.on(yesterday, '日').sum('值') }} {{ sales.latest() }}",
            "1800.75 1200.50 2026-11-23",
        ),
        (["日", "值"], [(date.min, 3)], "{{ sales.latest() }} {{ sales.change('值') }}", "0001-01-01 —"),
        (["城市"], [("-",), ("上海",), ("N/A",)], "{{ sales.min('城市') }} {{ sales.max('城市') }}", "上海 上海"),
    ],
    ids=["numbers and days as text", "no day before the first", "what stands for unknown"],
)
def test_reads_what_a_source_knows_as_text(names: list[str], rows: list[Any], source: str, text: str) -> None:
    assert said(source, table=build_table(names, rows, fetched_at=SLOT)) == text


def test_a_percentage_is_shown_as_one_and_changes_in_points() -> None:
    columns = (Column("日期", Kind.DATE), Column("转化率", Kind.PERCENT, "%", 1, 100))
    table = Table(columns, ((date(2026, 11, 22), 11), (date(2026, 11, 23), Decimal("12.5"))), SLOT)
    source = "{{ sales.avg('转化率') }} {{ sales.last('转化率')|percent }} {{ sales.max('转化率')|thousands }}"

    assert (
        said(f"{source} {{{{ sales.change('转化率', of='avg') }}}}", table=table) == "11.75% 12.5% 12.5% +1.5 个百分点"
    )


def test_a_total_of_texts_is_refused() -> None:
    with pytest.raises(TemplateError, match="没有数字"):
        said("{{ sales.sum('名称') }}", table=one_cell("甲"))


def test_texts_are_compared_without_case_and_width() -> None:
    assert said("{{ sales.where('名称', 'ab').count }}", table=one_cell("ＡB")) == "1"  # full width


@pytest.mark.parametrize(
    ("form", "cell", "text"),
    [
        ("markdown", "**a** [b](http://x) `c` <font color='warning'>d</font>", "＊＊a＊＊ ［b］(http://x) ˋcˋ ＜font color='warning'＞d＜/font＞"),  # noqa: E501  # one cell
        ("markdown", "a\n# b\n> c", "a ＃ b ＞ c"),
        ("text", "<a href='http://x'>b</a> 1<2", "＜a href='http://x'>b＜/a> 1<2"),
        ("textcard", "a\n<br>\u202eb\x00", "a ＜br> b "),
        ("", "a\nb", "a b"),
    ],
)  # fmt: skip
def test_values_of_cells_are_no_markup(form: str, cell: str, text: str) -> None:
    assert said("{{ sales.value('名称') }}", form, table=one_cell(cell)) == text
    assert said("{{ '' ~ sales.value('名称') }}", form, table=one_cell(cell)) == text
    assert said("{% set x = sales.value('名称') %}{{ x|default('') }}", form, table=one_cell(cell)) == text


def kinds() -> Table:
    columns = (
        *(Column("编号", Kind.TEXT), Column("时间", Kind.DATETIME), Column("天", Kind.DATE)),
        *(Column("值", Kind.NUMBER), Column("有效", Kind.BOOLEAN)),
    )
    noon = datetime(2026, 11, 24, 4, tzinfo=UTC)
    rows = (("7", noon, noon.date(), Decimal(7), True), ("A8", noon - timedelta(days=1), None, Decimal(8), False))
    return Table(columns, rows, SLOT)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("where('编号', 7)", 1),
        ("where('编号', 'A8')", 1),
        ("where('值', '7')", 1),
        ("where('值', '>=', '7.5')", 1),
        ("where('时间', today)", 1),
        ("where('时间', '<', today)", 1),
        ("where('时间', slot)", 0),
        ("where('天', today)", 1),
        ("where('天', '2026-11-24')", 1),
        ("where('有效', true)", 1),
        ("on(slot, '时间')", 1),
        ("on(today, '天')", 1),
        ("on('2026-11-23', '时间')", 1),
        ("where('天', sales.value('天', 1))", 1),
        ("where('天', sales.value('天', 99))", 1),
    ],
)
def test_compares_what_means_the_same(source: str, count: int) -> None:
    assert said(f"{{{{ sales.{source}.count }}}}", table=kinds()) == str(count)


def test_a_change_counts_on_the_day_of_a_moment() -> None:
    assert said("{{ sales.change('值', on=slot, by='时间') }}", table=kinds()) == "↓12.5%"


@pytest.mark.parametrize(
    "source", ["where('值', 'x')", "where('天', 7)", "where('有效', 'x')", "where('时间', 'x')", "where('编号', true)"]
)
def test_refuses_a_comparison_that_no_row_could_fit(source: str) -> None:
    with pytest.raises(TemplateError, match="列的值不能与这个值比较"):
        said(f"{{{{ sales.{source}.count }}}}", table=kinds())


def test_a_table_of_the_most_rows_has_room_for_a_whole_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "STEPS_AT_MOST", renderer.STEPS_AT_MOST // 50)  # the rows are fewer, too
    table = sales(days=1000)
    source = "{{ sales.change('销售额', AGAINST) }}{{ sales.sum('销售额') }}{{ sales.avg('销售额') }}"
    source = "".join(source.replace("AGAINST", f"'{against}'") for against in ("day", "week", "month", "year") * 2)

    assert said(source, table=table).startswith("↑0.1%")


def test_marks_of_the_author_stay() -> None:
    assert said("**{{ sales.count }}** [看](http://x)", "markdown") == "**8** [看](http://x)"


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("一\n二 {{ foo }}", 2, "这里没有叫做“foo”的内容。"),
        ("{{ sales.sum('没有') }}", 1, "没有“没有”这一列。现有：日期, 区域, 销售额。"),
        ("\n\n{{ sales.nope }}", 3, "这里没有叫做“nope”的内容。"),
        ("{% if 1 %}", 1, "无法作为模板读取"),
        ("a\n{{ 1|center }}", 2, "没有格式“center”。"),
        ("{{ sales.value() }}", 1, "这些值不能这样一起使用，或者缺少参数。"),
        ("{{ sales }}", 1, "该值不能直接显示"),
        ("{% set today = 1 %}", 1, "“today”已有含义，请换一个名称。"),
        ("{{ 1|round(99) }}", 1, "小数位数为 0 到 10。"),
        ("{{ 'a' + 'b' }}", 1, "只有数字可以计算"),
        ("{{ 1e9999 }}", 1, "该数字过大。"),
        ("一\n{% if -1e9999 < sales.count %}{% endif %}", 2, "该数字过大。"),
    ],
)
def test_says_line_and_reason(source: str, line: int, reason: str) -> None:
    with pytest.raises(TemplateError) as refused:
        said(source)

    assert refused.value.line == line
    assert str(refused.value).startswith(f"第 {line} 行：{reason}")


def test_checks_names_without_data() -> None:
    renderer.compile_template("{{ sales.sum('x') }}", frozenset({"sales"}))
    with pytest.raises(TemplateError):
        renderer.compile_template("{{ sales.sum('x') }}", frozenset())


def tried(source: str) -> str:
    """Render over a card of which nothing was fetched yet."""
    return renderer.render_template(source, RenderContext(SLOT, ZONE, {"sales": None}), "text")


@pytest.mark.parametrize(
    "source",
    [
        "{{ sales.summ('x') }}",
        "{{ sales.sum(5) }}",
        "{{ sales.change('x', 'decade') }}",
        "{{ sales.where('x', '~', 1).count }}",
        "{{ sales.within('x').count }}",
        "{% for row in sales.top(3, 'x').rows %}{{ row.x|round(99) }}{% endfor %}",
        "{% if sales.is_empty %}无{% else %}{{ sales.nope }}{% endif %}",
        "{{ sales.value('x')|round('y') }}",
        "{{ sales.head(-1).count }}",
    ],
)
def test_without_data_refuses_what_no_card_can_do(source: str) -> None:
    with pytest.raises(TemplateError):
        tried(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ sales.sum('a')|千分位 }} {{ sales.avg('a') + 1 }} {{ sales.unit('a') }} {{ sales.columns|join }}",
        "{{ sales.change('a', 'week').arrow }} {{ sales.change('a', on=slot, by='d', of='max').percent|percent }}",
        "{% for row in sales.where('a', '>', 5).top(3, 'b').rows %}{{ loop.index }} {{ row.c }} {{ row['d'] }}{% endfor %}",  # noqa: E501  # one line, as it is written
        "{{ sales.where('d', '<', today).count }} {{ sales.where('a', true).count }} {{ sales.where('a', 'x').count }}",
        "{{ sales.within(last_week, 'd').sum('a') }} {{ sales.on(yesterday).count }} {{ week_of(sales.latest()).end }}",
        "{{ sales.value('a', 3)|clip(5) }} {{ sales.rows[0].a }} {{ sales.as_of }} {{ sales.first('d')|date }}",
    ],
)
def test_without_data_takes_what_some_card_could_do(source: str) -> None:
    tried(source)


def test_decimals_stay_exact() -> None:
    table = Table((Column("值", Kind.NUMBER),), ((Decimal("0.1"),), (0.2,)), SLOT)

    assert said("{{ sales.sum('值')|round(10) }}", table=table) == "0.3000000000"
