"""Uploaded files: what is read from them, and which are refused with which sentence."""

import contextlib
import csv
import io
import zipfile
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.chart import BarChart

from accounts.importexport import sheets
from accounts.importexport.sheets import (
    FileRefusedError,
    Header,
    HeaderReader,
    Layout,
    SheetRow,
    format_csv_line,
    read_table,
)
from accounts.models import Attribute
from tests.accounts.importexport.files import WECOM_HEADER, csv_bytes, wecom_file, wecom_row, xlsx

ATTRIBUTES = [
    Attribute(key="bi_login_id", name="BI loginId", is_bi_login_id=True),
    Attribute(key="employee_number", name="工号", is_employee_number=True),
]
HEADER = ["用户名", "工号"]


def header_of(content: bytes) -> Header:
    return read_table(content, HeaderReader(ATTRIBUTES))[0]


def lines_of(content: bytes) -> list[SheetRow]:
    return list(read_table(content, HeaderReader(ATTRIBUTES))[1])


def rows(content: bytes) -> list[list[str]]:
    return [line.texts for line in lines_of(content)]


def refusal(content: bytes) -> str:
    with pytest.raises(FileRefusedError) as refused:
        lines_of(content)
    return refused.value.reason


def only(content: bytes) -> SheetRow:
    (line,) = lines_of(content)
    return line


class TestHeaders:
    @pytest.mark.parametrize("account", ["帐号", "账号", "帐号*", "账 号", "帐号（必填）"])
    def test_the_file_of_wecom_s_console_is_found_below_its_notes(self, account: str) -> None:
        header = [account if title == "帐号" else title for title in WECOM_HEADER]
        content = wecom_file(wecom_row("李雷", "LiLei", "13800138000"), header=header)

        found = header_of(content)

        assert (found.layout, found.line) == (Layout.WECOM, 5)
        assert found.columns == {"name": 0, "userid": 1, "mobile": 6, "email": 8}
        assert [texts[:2] for texts in rows(content)] == [["李雷", "LiLei"]]

    def test_newer_consoles_the_list_of_the_bi_s_users_and_attributes_by_name_and_by_key(self) -> None:
        newer = header_of(wecom_file(["李雷", "LiLei"], header=["姓名", "账号", "别名", "邮箱", "企业邮箱", "视频号"]))
        bi = header_of(csv_bytes(["loginId", "姓名", "邮箱"], ["lilei", "李雷", "lilei@example.com"]))
        named = [header_of(csv_bytes(row)) for row in (["用户名", "工 号"], ["username", "EMPLOYEE_NUMBER"])]

        assert newer.columns == {"name": 0, "userid": 1, "email": 3, "biz_mail": 4}
        assert (bi.layout, bi.columns) == (Layout.BI, {"a:bi_login_id": 0, "name": 1, "email": 2})
        assert named[0].columns == named[1].columns == {"username": 0, "a:employee_number": 1}

    def test_a_column_twice_is_refused(self) -> None:
        assert refusal(csv_bytes(["用户名", "工号", "工号"])) == "column_twice"

    @pytest.mark.parametrize(
        "content",
        [
            csv_bytes(["用户名"], ["lilei"]),
            csv_bytes(["姓名", "部门"], ["李雷", "研发部"]),
            csv_bytes(*[["note"]] * 30, HEADER),
            xlsx(["用户名"]),
            b"",
            "<html>登录</html>".encode(),
        ],
    )
    def test_without_a_header_nothing_is_read(self, content: bytes) -> None:
        assert refusal(content) == "no_header"


class TestCsv:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
    @pytest.mark.parametrize("separator", [",", ";", "\t", "，"])
    def test_is_read_in_every_encoding_and_with_every_separator(self, encoding: str, separator: str) -> None:
        content = csv_bytes(HEADER, ["李雷", "00123"], [], ["韩梅梅", " 7 "], encoding=encoding, separator=separator)

        assert rows(content) == [["李雷", "00123"], ["韩梅梅", "7"]]

    def test_numbers_of_lines_are_those_of_an_editor(self) -> None:
        found = [line.number for line in lines_of(csv_bytes(HEADER, ["a", "two\nlines"], ["b", "1"]))]

        assert found == [2, 4]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"\xff\xfe\x00", "no_text"),
            (b"\x80\x81\xff\xff", "no_text"),
            (csv_bytes(HEADER) + b"a,\x00\n", "no_text"),
            (csv_bytes(HEADER) + b'a,"' + b"x" * 200_000, "broken"),
        ],
    )
    def test_what_is_no_csv_is_refused(self, content: bytes, reason: str) -> None:
        assert refusal(content) == reason

    @pytest.mark.parametrize(
        ("text", "problem"), [("1.38E+10", "scientific"), ("2e+5", "scientific"), ("x" * 2001, "long_cell")]
    )
    def test_a_cell_is_no_value(self, text: str, problem: str) -> None:
        assert only(csv_bytes(HEADER, ["lilei", text])).problems == {1: problem}

    def test_more_than_a_hundred_thousand_rows_are_refused(self) -> None:
        content = csv_bytes(HEADER) + b"lilei,1\n" * 100_001

        assert refusal(content) == "many_rows"

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
    def test_what_is_guarded_is_read_as_it_was(self, text: str) -> None:
        ((found,),) = (line.texts for line in sheets.read_csv_lines(format_csv_line([text]), ","))

        assert found == text.strip()
        ((cell,),) = csv.reader([format_csv_line([text])])
        assert cell[:1] not in {"=", "+", "-", "@", "\t", "\r"}

    @settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)
    @given(st.binary(max_size=400))
    def test_any_bytes_are_read_or_refused(self, content: bytes) -> None:
        for some in (content, b"PK\x03\x04" + content, csv_bytes(HEADER) + content):
            with contextlib.suppress(FileRefusedError):
                lines_of(some)


class TestXlsx:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("00123", "00123"),
            (13800138000, "13800138000"),
            (13800138000.0, "13800138000"),
            (1.5, "1.5"),
            (0.1 + 0.2, "0.3"),
            (-7, "-7"),
            (True, "TRUE"),
            (date(2026, 11, 24), "2026-11-24"),
            (datetime(2026, 11, 24, 8, 30, 0, 250_000), "2026-11-24 08:30:00"),  # noqa: DTZ001  # Excel knows no zones
            ("  李雷 ", "李雷"),
        ],
    )
    def test_cells_are_read_as_one_sees_them(self, value: Any, text: str) -> None:
        line = only(xlsx(HEADER, ["lilei", value]))

        assert (line.texts, line.problems, line.number) == (["lilei", text], {}, 2)

    def test_a_number_shown_with_leading_zeros_has_them(self) -> None:
        def format_zeros(book: Workbook) -> None:
            book.active["B2"].number_format = "000000"  # type: ignore[index]  # a new workbook has a sheet

        assert only(xlsx(HEADER, ["lilei", 123], change=format_zeros)).texts == ["lilei", "000123"]

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("=A1", "formula"),
            ('=HYPERLINK("http://evil","x")', "formula"),
            (1234567890123456789, "rounded"),
            (1e300, "rounded"),
            (1.5e-9, "rounded"),
            ("1.38E+10", "scientific"),
            ("#N/A", "error_cell"),
            ("x" * 2001, "long_cell"),
        ],
    )
    def test_a_cell_is_no_value(self, value: Any, problem: str) -> None:
        assert only(xlsx(HEADER, ["lilei", value])).problems == {1: problem}

    def test_a_text_that_begins_like_a_formula_is_a_text(self) -> None:
        def make_text(book: Workbook) -> None:
            book.active["B2"].data_type = "s"  # type: ignore[index]  # a new workbook has a sheet

        line = only(xlsx(HEADER, ["lilei", "=1+1"], change=make_text))

        assert (line.texts, line.problems) == (["lilei", "=1+1"], {})

    def test_merged_cells_below_the_header_are_no_values(self) -> None:
        def merge(book: Workbook) -> None:
            book.active.merge_cells("B2:B3")  # type: ignore[union-attr]  # a new workbook has a sheet

        lines = lines_of(xlsx(HEADER, ["a", "1"], ["b", ""], ["c", "2"], change=merge))

        assert [(line.number, line.problems) for line in lines] == [(2, {1: "merged"}), (3, {1: "merged"}), (4, {})]

    def test_rows_far_below_are_found(self) -> None:
        def far(book: Workbook) -> None:
            book.active["A90000"] = "far"  # type: ignore[index]  # a new workbook has a sheet

        found = lines_of(xlsx(HEADER, ["a", "1"], change=far))

        assert [(line.number, line.texts) for line in found] == [(2, ["a", "1"]), (90000, ["far"])]

    def test_of_twenty_sheets_the_visible_one_with_people_is_read(self) -> None:
        def add(book: Workbook) -> None:
            for number in range(17):
                book.create_sheet(f"附表{number}").append(["说明", number])
            book.create_chartsheet("图").add_chart(BarChart())
            hidden = book.create_sheet("lists")
            hidden.append(HEADER)
            hidden.sheet_state = "hidden"

        assert rows(xlsx(HEADER, ["lilei", "1"], change=add)) == [["lilei", "1"]]

    def test_two_sheets_with_people_are_refused(self) -> None:
        def add(book: Workbook) -> None:
            book.create_sheet("第二张").append(HEADER)

        with pytest.raises(FileRefusedError) as refused:
            header_of(xlsx(HEADER, change=add))

        assert (refused.value.reason, refused.value.words) == ("several_sheets", {"sheets": "Sheet, 第二张"})

    def test_more_than_fifty_sheets_are_refused(self) -> None:
        def add(book: Workbook) -> None:
            for number in range(50):
                book.create_sheet(str(number))

        assert refusal(xlsx(HEADER, change=add)) == "many_sheets"


def repack(content: bytes, **parts: bytes) -> bytes:
    """Replace parts of an archive; a `__` in a name stands for a slash, a `_` for a dot."""
    target = io.BytesIO()
    names = {name.replace("__", "/").replace("_", "."): part for name, part in parts.items()}
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in names:
                new.writestr(name, old.read(name))
        for name, part in names.items():
            new.writestr(name, part)
    return target.getvalue()


SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'


class TestHostileArchives:
    """Archives that are refused before they are unpacked."""

    @pytest.mark.parametrize(
        ("part", "head", "repeated", "times"),
        [
            ("xl__worksheets__sheet1_xml", SHEET + b"<row>", b"<c/>", 1_000_000),
            ("xl__worksheets__sheet1_xml", SHEET, b" ", 3_000_000),
            ("xl__sharedStrings_xml", b"<sst>", b"<si/>", 10_000_000),
            ("xl__styles_xml", b"<styleSheet>", b"<x/>", 1_000_000),
            ("xl__media__image1_png", b"", b"\0", 270_000_000),
        ],
    )
    def test_a_bomb(self, part: str, head: bytes, repeated: bytes, times: int) -> None:
        packed = repack(xlsx(HEADER), **{part: head + repeated * times})
        assert len(packed) < 1_000_000

        assert refusal(packed) == "too_big"

    def test_entities_are_not_expanded(self) -> None:
        bomb = (
            b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
            + SHEET
            + b'<row r="1"><c r="A1" t="inlineStr"><is><t>&b;</t></is></c></row></sheetData></worksheet>'
        )

        assert refusal(repack(xlsx(HEADER), xl__worksheets__sheet1_xml=bomb)) == "no_xlsx"

    def test_a_row_number_without_end_ends(self) -> None:
        sheet = (
            SHEET
            + b'<row r="1"><c r="A1" t="inlineStr"><is><t>username</t></is></c>'
            + b'<c r="B1" t="inlineStr"><is><t>employee_number</t></is></c></row>'
            + b'<row r="99999999999"><c r="A99999999999"><v>1</v></c></row></sheetData></worksheet>'
        )

        assert rows(repack(xlsx(HEADER), xl__worksheets__sheet1_xml=sheet)) == []

    def test_too_many_parts(self) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for number in range(1001):
                archive.writestr(f"xl/{number}.xml", b"")

        assert refusal(target.getvalue()) == "too_big"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 512, "old_excel"),
            (
                bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 512 + "EncryptedPackage".encode("utf-16-le"),
                "password",
            ),
            (b"PK\x03\x04 broken", "no_xlsx"),
            (xlsx(HEADER)[:-100], "no_xlsx"),
            (repack(xlsx(HEADER), xl__worksheets__sheet1_xml=SHEET + b"<row"), "no_xlsx"),
            (repack(xlsx(HEADER), xl__workbook_xml=b"<a/>"), "no_header"),
        ],
    )
    def test_what_is_no_xlsx(self, content: bytes, reason: str) -> None:
        assert refusal(content) == reason

    def test_another_kind_of_archive(self) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("content.xml", b"<office/>")

        assert refusal(target.getvalue()) == "no_xlsx"
