"""Tables as files."""

from __future__ import annotations

import csv
import io
import json
import zlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from django.utils import timezone, translation
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.data.table import Column, Kind, Table, to_document
from notifications.delivery.attachments import file_recipe, make_from_recipe
from notifications.delivery.spreadsheets import cut_parts, write_csv, write_file_name, write_xlsx

AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
STARTS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "=cmd|' /C calc'!A0", "'=1"]

WHAT_TO_DO = "减少卡片的列或行，或减少报告中的卡片，即可容下更多。"


def table_of(*rows: tuple[Any, ...], kinds: tuple[Kind, ...], is_cut: bool = False) -> Table:
    return Table(tuple(Column(f"c{i}", kind) for i, kind in enumerate(kinds)), rows, AS_OF, is_cut)


def xlsx(tables: list[tuple[str, Table]]) -> bytes:
    return write_xlsx(cut_parts(tables))


def csv_text(table: Table) -> bytes:
    return write_csv(cut_parts([("x", table)])[0])


def opened(content: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(content))


def test_a_workbook_has_typed_cells_a_frozen_head_and_fitting_widths() -> None:
    table = Table(
        (Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER, "元"), Column("城市", Kind.TEXT)),
        ((date(2026, 11, 23), Decimal("1234567.50"), "上海"), (None, 12, None)),
        AS_OF,
    )

    sheet = opened(xlsx([("销售日报", table)]))["销售日报"]

    assert [cell.value for cell in sheet[1]] == ["日期", "销售额 (元)", "城市"]
    assert [(cell.value, cell.number_format) for cell in sheet[2]] == [
        (datetime(2026, 11, 23), "yyyy-mm-dd"),  # noqa: DTZ001  # a spreadsheet knows no zones
        (1234567.5, "#,##0.00"),
        ("上海", "General"),
    ]
    assert [(cell.value, cell.number_format) for cell in sheet[3]][1] == (12, "#,##0")
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:C3")
    assert all(cell.font.bold for cell in sheet[1])
    assert sheet.column_dimensions["B"].width == 16  # 16 letters and their margin


@pytest.mark.parametrize("text", STARTS)
def test_nothing_in_a_workbook_is_a_formula(text: str) -> None:
    table = Table((Column(text, Kind.TEXT),), ((text,),), AS_OF)

    sheet = opened(xlsx([(text, table)])).worksheets[0]

    assert {cell.data_type for row in sheet.rows for cell in row} == {"s"}
    assert sheet["A2"].quotePrefix == text.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", STARTS[:-1])
def test_nothing_in_a_csv_is_a_formula(text: str) -> None:
    made = csv_text(Table((Column(text, Kind.TEXT),), ((text,),), AS_OF))

    assert made.startswith(b"\xef\xbb\xbf")
    [[head], [cell]] = csv.reader(io.StringIO(made.decode("utf-8-sig"), newline=""))
    assert cell == f"'{text}"
    assert head.startswith("'")


def test_numbers_of_a_csv_stay_numbers() -> None:
    made = csv_text(table_of((-5, Decimal("1.50"), None, float("nan")), kinds=(Kind.NUMBER,) * 4))

    assert made.decode("utf-8-sig").splitlines()[1] == "-5,1.50,,"


def test_what_a_spreadsheet_cannot_hold_is_text_or_empty() -> None:
    old = datetime(1850, 1, 1, tzinfo=UTC)
    row = (12345678901234567890, float("inf"), Decimal("NaN"), "a\x00\x07b", old, "长" * 40_000)
    kinds = (Kind.NUMBER, Kind.NUMBER, Kind.NUMBER, Kind.TEXT, Kind.DATETIME, Kind.TEXT)

    values = [cell.value for cell in opened(xlsx([("x", table_of(row, kinds=kinds))])).worksheets[0][2]]

    assert values == [
        "12345678901234567890",
        None,
        None,
        "ab",
        f"1850-01-01 {timezone.localtime(old):%H:%M:%S}",
        "长" * 32_767,
    ]


def test_nothing_in_a_file_turns_the_direction_of_reading() -> None:
    table = table_of(("fdp\u202eexe", "\u2066=1+1"), kinds=(Kind.TEXT, Kind.TEXT))

    cells = [cell.value for cell in opened(xlsx([("x", table)])).worksheets[0][2]]

    assert cells == ["fdpexe", "=1+1"]
    assert csv_text(table).decode("utf-8-sig").splitlines()[1] == "fdpexe,'=1+1"


def test_each_table_has_a_sheet_with_a_name_that_a_spreadsheet_takes() -> None:
    table = table_of((1,), kinds=(Kind.NUMBER,))

    names = opened(xlsx([("a/b:[c]*?", table), ("A/B:[C]", table), ("x" * 50, table), ("History", table)])).sheetnames

    assert names == ["a b c", "A B C 2", "x" * 31, "History 2"]


def test_what_has_no_room_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.spreadsheets.FILE_BYTES", 6000)
    table = table_of(*((f"{n:0100d}",) for n in range(1000)), kinds=(Kind.TEXT,))

    with translation.override("zh-hans"):
        made = csv_text(table)

    rows = list(csv.reader(io.StringIO(made.decode("utf-8-sig"))))
    assert len(made) <= 6000
    assert rows[-1] == [f"共 1000 行，本文件只容得下前 {len(rows) - 2} 行。{WHAT_TO_DO}"]
    assert 30 < len(rows) < 60


def test_cells_are_shared_out_among_the_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.spreadsheets.CELLS_AT_MOST", 100)
    wide = table_of(*[(n,) * 4 for n in range(50)], kinds=(Kind.NUMBER,) * 4)
    narrow = table_of(*[(n,) for n in range(50)], kinds=(Kind.NUMBER,))
    short = table_of((7,), kinds=(Kind.NUMBER,))

    with translation.override("zh-hans"):
        book = opened(xlsx([("wide", wide), ("narrow", narrow), ("short", short)]))

    # 19 x 4 + 19 + 1 cells; one row more would be 101.
    said = f"共 50 行，本文件只容得下前 19 行。{WHAT_TO_DO}"
    assert [sheet.max_row for sheet in book] == [21, 21, 2]
    assert [book[name].cell(21, 1).value for name in ("wide", "narrow")] == [said, said]
    assert [book[name].cell(20, 1).value for name in ("wide", "narrow")] == [18, 18]


def test_what_a_recipe_leaves_out_is_said_by_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(*[(n,) for n in range(50)], kinds=(Kind.NUMBER,))
    monkeypatch.setattr("notifications.delivery.spreadsheets.CELLS_AT_MOST", 10)
    recipe = file_recipe([("x", table)], language="zh-hans")
    monkeypatch.undo()

    book = opened(make_from_recipe("xlsx", recipe).content)
    text = make_from_recipe("csv", recipe).content.decode("utf-8-sig")

    said = f"共 50 行，本文件只容得下前 10 行。{WHAT_TO_DO}"
    assert [cell.value for cell in book.worksheets[0]["A"]][-2:] == [9, said]
    assert text.splitlines()[-2:] == ["9", said]


def test_a_recipe_of_the_version_before_is_still_made() -> None:
    table = table_of((1,), (2,), kinds=(Kind.NUMBER,))
    before = {"version": 1, "tables": [["x", to_document(table)]], "language": "en", "time_zone": ""}

    book = opened(make_from_recipe("xlsx", zlib.compress(json.dumps(before).encode())).content)

    assert [cell.value for cell in book.worksheets[0]["A"]] == ["c0", 1, 2]


def test_letters_that_mean_something_in_a_workbook_are_letters() -> None:
    text = "<b>&amp;\"'</b> ]]> \ufffe\nx "

    book = opened(xlsx([("a&b<'c\">", table_of((text,), kinds=(Kind.TEXT,)))]))

    assert book.sheetnames == ["a&b<'c\">"]
    assert book.worksheets[0]["A2"].value == "<b>&amp;\"'</b> ]]> \nx "
    assert book.worksheets[0].auto_filter.ref == "A1:A2"


def test_data_that_was_cut_before_is_said_to_be() -> None:
    with translation.override("zh-hans"):
        sheet = opened(xlsx([("x", table_of((1,), kinds=(Kind.NUMBER,), is_cut=True))])).worksheets[0]

    assert sheet["A3"].value == "数据超过取数上限，其余未取。"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("销售日报", "销售日报 2026-11-24.xlsx"),
        ('a/b\\c:"d"?<x>|\r\n', "a b c d x 2026-11-24.xlsx"),
        ("..", "report 2026-11-24.xlsx"),
        ("x" * 100, f"{'x' * 60} 2026-11-24.xlsx"),
        ("a\u202egnp.exe", "a gnp.exe 2026-11-24.xlsx"),
    ],
)
def test_a_file_has_a_name_that_every_system_takes(title: str, name: str) -> None:
    with translation.override("en"):
        assert write_file_name(title, AS_OF, "xlsx") == name


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(),
            st.none() | st.floats() | st.integers() | st.decimals(),
            st.none() | st.dates(),
            st.none() | st.booleans(),
        ),
        max_size=5,
    )
)
def test_any_table_becomes_files(rows: list[tuple[Any, ...]]) -> None:
    table = table_of(*rows, kinds=(Kind.TEXT, Kind.NUMBER, Kind.DATE, Kind.BOOLEAN))

    sheet = opened(xlsx([("x", table)])).worksheets[0]
    made = list(csv.reader(io.StringIO(csv_text(table).decode("utf-8-sig"), newline="")))

    assert sheet.max_row <= len(rows) + 1
    assert "f" not in {cell.data_type for row in sheet.rows for cell in row}
    assert len(made) == len(rows) + 1
