"""A number is the same wherever it is shown: in a text, an alert and a table."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.data import figures
from integrations.data.figures import read_number
from integrations.data.table import DASH, Column, Kind, Table, format_number
from notifications.alerts import verdicts
from notifications.alerts.conditions import Aggregate, Comparison, Condition
from notifications.charts import drawing
from notifications.reports.templates import renderer
from notifications.reports.templates.renderer import RenderContext

NOW = datetime(2026, 12, 1, 1, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
COLUMNS = st.sampled_from(
    [Column("值", Kind.NUMBER), Column("值", Kind.NUMBER, "元", 2), Column("值", Kind.PERCENT, "%", 1, 100)]
)
NUMBERS = st.one_of(st.none(), st.integers(-(10**9), 10**9), st.decimals(-(10**6), 10**6, places=3))
TABLES = st.builds(
    lambda column, cells: Table((column,), tuple((cell,) for cell in cells), NOW),
    COLUMNS,
    st.lists(NUMBERS, min_size=1, max_size=12),
)
AGGREGATES = {"sum": Aggregate.SUM, "avg": Aggregate.AVERAGE, "min": Aggregate.LEAST, "max": Aggregate.MOST}


def in_text(table: Table, measure: str) -> str:
    return renderer.render_template(
        f"{{{{ c.{measure}('值')|thousands }}}}", RenderContext(NOW, SHANGHAI, {"c": table}), ""
    )


def in_alert(table: Table, measure: str) -> Decimal | None:
    condition = Condition(AGGREGATES[measure], "值", Comparison.UNEQUAL, ("123456789123",))
    [found] = verdicts.evaluate_conditions([condition], verdicts.Join.ALL, table).results
    return found.value


@given(TABLES, st.sampled_from(list(AGGREGATES)))
def test_a_figure_of_a_text_is_that_of_an_alert(table: Table, measure: str) -> None:
    numbers = figures.read_column_numbers(table, "值")
    known: dict[str, Any] = {"sum": figures.total, "avg": figures.average, "min": min, "max": max}
    figure = known[measure](numbers) if numbers else None
    decimals = None if measure == "avg" else table.columns[0].decimals
    unit = "%" if table.columns[0].kind is Kind.PERCENT else ""

    assert in_alert(table, measure) == figure
    assert in_text(table, measure) == (DASH if figure is None else f"{format_number(figure, decimals)}{unit}")


@given(TABLES)
def test_a_cell_of_a_table_is_the_value_of_a_text_and_reads_back(table: Table) -> None:
    [column], given_tables = table.columns, RenderContext(NOW, SHANGHAI, {"c": table})

    for row, (value,) in enumerate(table.rows):
        in_table, number = drawing.write_cell(value, column), figures.to_decimal(value)

        assert renderer.render_template(f"{{{{ c.value('值', {row})|thousands }}}}", given_tables, "") == in_table
        read = read_number(in_table)
        assert (read is None) == (number is None) == (in_table == DASH)
        if read is not None and number is not None:
            decimals = 2 if column.decimals is None else column.decimals
            assert abs(Decimal(read.value) - number) <= Decimal("0.5").scaleb(-decimals)


@pytest.mark.parametrize("measure", AGGREGATES)
@given(table=TABLES, data=st.data())
def test_an_unknown_row_and_another_order_change_nothing(measure: str, table: Table, data: st.DataObject) -> None:
    rows = data.draw(st.permutations([*table.rows, (None,)]))
    changed = table.replace_rows(rows)

    assert in_text(changed, measure) == in_text(table, measure)
    assert in_alert(changed, measure) == in_alert(table, measure)
