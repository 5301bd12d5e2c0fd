"""A card's answer in each layout: single titles, levels of a pivot, merged cells, pages, units and kinds."""

from typing import Any

import pytest

from integrations.clients.sources.guandata_card import read_card
from integrations.data import Problem, SourceError
from integrations.data.table import Column, Kind, Table
from tests.guandata import GuandataAnswers
from tests.integrations.clients.guandata.test_client import open_client
from tests.integrations.clients.sources.place import NOW


def chart(data: list[list[Any]], values: Any, meta: list[str] | None = None, **further: Any) -> dict[str, Any]:
    row = {"meta": [{"alias": name} for name in meta or []], **further.pop("row", {})}
    main = {"data": data, "column": {"values": values}, "row": row, "hasMoreData": False, **further}
    return {"result": "ok", "response": {"view": "GRID", "chartType": "X", "cardType": "CHART", "chartMain": main}}


def titles(*names: str) -> list[list[dict[str, str]]]:
    return [[{"title": name}] for name in names]


def cells(*values: Any) -> list[dict[str, Any]]:
    return [{"v": value} for value in values]


def read(**values: Any) -> Table:
    rows_at_most = values.pop("rows_at_most", 1000)
    return read_card(open_client().card_data("c1", **values), rows_at_most=rows_at_most, seconds=5, now=NOW)


def test_titles_one_by_one(bi: GuandataAnswers) -> None:
    bi.gives("card_data", chart([cells("2026-11-01", 3), cells("2026-11-02", None)], titles("日期", "销售额")))

    table = read()

    assert [(one.name, one.kind) for one in table.columns] == [("日期", Kind.DATE), ("销售额", Kind.NUMBER)]
    assert table.rows[1][1] is None


LEVELS: list[list[dict[str, Any]]] = [
    [{"title": "华东", "colSpan": 2}, {"title": "华南", "colSpan": 2}],
    [{"title": "销售额"}, {"title": "订单"}, {"title": "销售额"}, {"title": "订单"}],
]
CORNER: list[list[dict[str, Any]]] = [[{"title": ""}, *LEVELS[0]], [{"title": "月份"}, *LEVELS[1]]]
PIVOT = ("华东 / 销售额", "华东 / 订单", "华南 / 销售额", "华南 / 订单")


@pytest.mark.parametrize(
    ("values", "meta", "row", "names"),
    [
        (LEVELS, ["月份"], ("一月", 1, 2, 3, 4), ("月份", *PIVOT)),
        # Levels that also count the corner.
        (CORNER, ["月份"], ("一月", 1, 2, 3, 4), ("月份", *PIVOT)),
        # A single metric below several levels.
        (
            [[{"title": "合计", "colSpan": 2}], [{"title": "甲"}, {"title": "乙"}]],
            [],
            (5, 6),
            ("合计 / 甲", "合计 / 乙"),
        ),
        (titles("日期", "额"), [], None, ("日期", "额")),
        ([[], []], ["月份", "区域"], None, ("月份", "区域")),
    ],
)
def test_levels_of_a_pivot_stand_behind_the_dimensions_of_its_rows(
    bi: GuandataAnswers, values: list[list[Any]], meta: list[str], row: tuple[Any, ...] | None, names: tuple[str, ...]
) -> None:
    bi.gives("card_data", chart([cells(*row)] if row else [], values, meta))

    table = read()

    assert (table.names, table.rows) == (names, (row,) if row else ())


def test_dimensions_that_come_apart_from_the_data(bi: GuandataAnswers) -> None:
    row = {"values": [[{"title": "一月"}], [{"title": "二月"}]]}
    bi.gives("card_data", chart([cells(1), cells(2)], titles("销售额"), ["月份"], row=row))

    table = read()

    assert (table.names, table.rows) == (("月份", "销售额"), (("一月", 1), ("二月", 2)))


def test_merged_cells_have_the_value_of_the_cell_that_they_point_at(bi: GuandataAnswers) -> None:
    data: list[list[Any]] = [
        cells("华东", 1),
        [{"t_idx": "0:0"}, {"v": 2}],
        [{"t_idx": "1:0"}, {"v": 3}],
        [{"t_idx": "3:0"}, {"v": 4}],
    ]
    bi.gives("card_data", chart(data, titles("区域", "额")))

    assert [row[0] for row in read().rows] == ["华东", "华东", "华东", None]


def test_merged_cells_of_dimensions_that_come_apart_point_within_the_dimensions(bi: GuandataAnswers) -> None:
    row = {"values": [[{"title": "华东"}, {"title": "一月"}], [{"t_idx": "0:0"}, {"title": "二月"}]]}
    data: list[list[Any]] = [cells(1, 2), [{"v": 3}, {"t_idx": "0:1"}]]
    bi.gives("card_data", chart(data, titles("额", "目标"), ["区域", "月份"], row=row))

    assert read().rows == (("华东", "一月", 1, 2), ("华东", "二月", 3, 2))


def test_dimensions_that_come_apart_on_each_page_stand_before_their_rows(bi: GuandataAnswers) -> None:
    merged = {"values": [[{"title": "华南"}], [{"t_idx": "0:0"}]]}
    first = {"values": [[{"title": "华东"}]]}
    bi.gives("card_data", chart([cells(1)], titles("额"), ["区域"], row=first, hasMoreData=True))
    bi.gives("card_data", chart([cells(2), cells(3)], titles("额"), ["区域"], row=merged))

    assert read().rows == (("华东", 1), ("华南", 2), ("华南", 3))


@pytest.mark.parametrize("pointer", ["0:9", "9:0", "x", "", 7, "0:1:2", "0:2"])
def test_a_pointer_to_nowhere_or_in_a_circle_is_an_empty_cell(bi: GuandataAnswers, pointer: Any) -> None:
    bi.gives("card_data", chart([[{"t_idx": pointer}, {"v": 2}, {"t_idx": "0:0"}]], titles("区域", "额", "目标")))

    assert read().rows == ((None, 2, None),)


def test_all_pages_are_read_with_filters_and_parameters(bi: GuandataAnswers) -> None:
    chosen = {"name": "城市", "filterType": "IN", "filterValue": ["北京"]}
    asked = {"view": "GRAPH", "limit": 200, "filters": [chosen], "dynamicParams": [{"name": "年", "value": 2026}]}
    bi.gives("card_data", chart([cells(1)], titles("n"), hasMoreData=True), body={**asked, "offset": 0})
    bi.gives("card_data", chart([cells(2)], titles("n")), body={**asked, "offset": 1})

    table = read(view="GRAPH", filters=[chosen], parameters=[{"name": "年", "value": 2026}])

    assert (table.rows, table.is_cut) == (((1,), (2,)), False)


def test_no_more_pages_are_read_than_are_wanted(bi: GuandataAnswers) -> None:
    bi.gives("card_data", chart([cells(1), cells(2)], titles("n"), hasMoreData=True))

    table = read(rows_at_most=2)

    assert (table.rows, table.is_cut, bi.calls("card_data")) == (((1,), (2,)), True, 1)


def test_pages_of_very_long_texts_are_not_read_to_their_end(bi: GuandataAnswers) -> None:
    for _page in range(3):
        bi.gives("card_data", chart([cells("x" * 12 * 2**20)], titles("n"), hasMoreData=True))

    with pytest.raises(SourceError) as found:
        read()

    assert (found.value.problem, found.value.facts) == (Problem.TOO_BIG, {"megabytes": 32})
    assert bi.calls("card_data") == 3


def test_an_answer_without_end_is_too_big(bi: GuandataAnswers) -> None:
    bi.gives("card_data", b" " * (32 * 2**20 + 1))

    with pytest.raises(SourceError) as found:
        read()

    assert (found.value.problem, found.value.facts) == (Problem.TOO_BIG, {"megabytes": 32})


def test_a_percentage_keeps_its_scale_beside_an_empty_cell(bi: GuandataAnswers) -> None:
    shown = [(0.0683, "6.83%"), (None, "-"), (0, "0.00%"), (0.125, "12.50%")]
    bi.gives("card_data", chart([[{"v": raw, "d": text}] for raw, text in shown], titles("转化率")))

    table = read()

    assert table.columns == (Column("转化率", Kind.PERCENT, "%", 2, 100),)
    assert table.list_values("转化率") == [6.83, None, 0, 12.5]


@pytest.mark.parametrize("values", [titles("a"), titles("a", "b", "c"), None, "x", [[]]])
def test_a_header_that_fits_no_column_is_said(bi: GuandataAnswers, values: Any) -> None:
    bi.gives("card_data", chart([cells(1, 2)], values))

    with pytest.raises(SourceError) as found:
        read()

    assert (found.value.problem, found.value.facts) == (Problem.NOT_UNDERSTOOD, {"what": "header"})


def test_equal_and_empty_titles_are_told_apart(bi: GuandataAnswers) -> None:
    bi.gives("card_data", chart([cells(1, 2, 3)], titles("额", "额", "")))

    assert read().names == ("额", "额 (2)", "#3")


def test_a_bi_that_counts_questions_is_busy(bi: GuandataAnswers) -> None:
    bi.gives("card_data", b"slow down", status=429)

    with pytest.raises(SourceError) as found:
        read()

    assert (found.value.problem, found.value.is_temporary) == (Problem.BUSY, True)
