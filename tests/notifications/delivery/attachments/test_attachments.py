"""Pictures and files on the pages of messages: for their recipients, as long as the message exists."""

import csv
import io
import json
import zlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

import openpyxl
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import User
from integrations.clients.snapshots import PictureOptions
from integrations.data.table import Column, Kind, Table
from notifications.delivery.attachments import count_overdue, make_from_recipe
from notifications.delivery.spreadsheets import cut_parts, write_file, write_file_name
from notifications.models import Channel, Delivery, Medium, MessageForm, new_mark
from notifications.sources import Content, PageView
from tests.notifications.admin.conftest import HOST, client_of
from tests.notifications.delivery.attachments.places import make_delivery, make_file_recipe, make_medium, make_run
from tests.notifications.factories import NOW, make_corp, make_person, make_superuser

pytestmark = pytest.mark.django_db

PNG = b"\x89PNG\r\n\x1a\n"

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture
def delivery() -> Delivery:
    """A message in file form: its page shows the chart (0) and the file (1)."""
    found = make_delivery(make_corp(), MessageForm.XLSX)
    pictures = Medium.objects.filter(pk__in=[pk for pk, _title in found.shown_media], kind=Medium.Kind.PICTURE)
    pictures.update(status="ready", content=PNG, svg=zlib.compress(SVG), made_at=timezone.now())
    Medium.objects.exclude(kind=Medium.Kind.PICTURE).update(status="ready", content=b"a,b", made_at=timezone.now())
    return found


@pytest.fixture
def person(delivery: Delivery) -> User:
    someone = make_person(delivery.corp, "li")
    delivery.receipts.create(run=delivery.run, user=someone, channel=Channel.WECOM, address=f"{delivery.corp_id}:li")
    return someone


def make_address(delivery: Delivery, position: int = 0, extension: str = "svg", mark: str = "") -> str:
    return reverse("attachment", args=[mark or delivery.mark, position, extension])


def fetch(person: User | None, path: str) -> Any:
    return (client_of(person) if person else Client(headers=HOST)).get(path)


def test_who_got_the_message_sees_its_picture_and_downloads_its_file(person: User, delivery: Delivery) -> None:
    svg, png = (fetch(person, make_address(delivery, extension=extension)) for extension in ("svg", "png"))
    file = fetch(person, make_address(delivery, 1, "xlsx"))

    assert (svg.status_code, svg.content, svg["Content-Type"]) == (200, SVG, "image/svg+xml")
    assert (png.status_code, png.content, png["Content-Type"]) == (200, PNG, "image/png")
    assert (file.status_code, file.content) == (200, b"a,b")
    assert quote("销售日报 2026-11-24.xlsx") in file["Content-Disposition"]
    for answer in (svg, png, file):
        assert set(answer["Cache-Control"].split(", ")) == {"private", "no-store"}
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert "sandbox" in answer["Content-Security-Policy"]
        assert answer["Referrer-Policy"] == "no-referrer"


def test_the_picture_is_there_for_dark_pages_too(person: User, delivery: Delivery) -> None:
    Medium.objects.update(svg=zlib.compress(b'<svg><rect fill="#ffffff"/><text fill="#1F2329">#ffffff</text></svg>'))

    dark = fetch(person, make_address(delivery, extension="dark.svg"))
    page = fetch(person, reverse("message", args=[delivery.mark])).content.decode()

    assert (dark.status_code, dark["Content-Type"]) == (200, "image/svg+xml")
    assert dark.content == b'<svg><rect fill="#1c1e21"/><text fill="#e8eaed">#ffffff</text></svg>'
    assert (
        f'<source media="(prefers-color-scheme: dark)" srcset="{make_address(delivery, extension="dark.svg")}">' in page
    )


def test_nobody_else_gets_anything(delivery: Delivery) -> None:
    paths = [
        make_address(delivery),
        make_address(delivery, extension="dark.svg"),
        make_address(delivery, extension="png"),
        make_address(delivery, 1, "xlsx"),
    ]
    colleague, administrator = make_person(delivery.corp, "han"), make_superuser()
    other = make_delivery(delivery.corp, MessageForm.XLSX, run=delivery.run)  # of the same run
    other.receipts.create(run=other.run, user=colleague, channel=Channel.WECOM, address=f"{other.corp_id}:han")

    assert fetch(colleague, make_address(other)).status_code == 200
    for path in paths:
        assert fetch(colleague, path).status_code == 404
        assert fetch(administrator, path).status_code == 404
        answer = fetch(None, path)
        assert (answer.status_code, b"svg" in answer.content) == (302, False)


def test_what_is_not_there_is_not_found(person: User, delivery: Delivery) -> None:
    for path in (
        make_address(delivery, 2),
        make_address(delivery, 1, "svg"),
        make_address(delivery, 1, "csv"),
        make_address(delivery, 0, "xlsx"),
        make_address(delivery, 0, "html"),
        make_address(delivery, mark=new_mark()),
        make_address(delivery, mark="x"),
        make_address(delivery, mark="%00"),
    ):
        assert fetch(person, path).status_code == 404, path
    for status in ("waiting", "failed"):
        Medium.objects.update(status=status)
        assert fetch(person, make_address(delivery)).status_code == 404, status


def test_the_index_says_that_no_worker_makes_pictures() -> None:
    long_ago = timezone.now() - timedelta(minutes=3)
    run = make_run()

    make_medium(run, created_at=timezone.now())
    for _ in range(2):
        make_medium(run, created_at=long_ago)

    page = client_of(make_superuser()).get("/admin/").content.decode()

    assert "有 2 个图片或文件在等待" in page
    assert "status__exact=preparing" in page
    make_medium(run, status="ready", made_at=timezone.now())  # a worker has made one
    assert count_overdue("charts", now=timezone.now(), at_most=10) == 0


PAGE = Content("销售日报", "今天", page=PageView("page/p1", "lilei", "销售看板", NOW, PictureOptions()))


@pytest.fixture
def page_delivery() -> Delivery:
    return make_delivery(make_corp(), MessageForm.NEWS, content=PAGE)


def test_wecom_gets_the_cover_of_a_page_its_reader_the_whole_and_the_log_nothing(page_delivery: Delivery) -> None:
    """Editors of a push could otherwise look into the BI with each recipient's rights."""
    Medium.objects.update(status="ready", content=PNG, cover=b"cover", width=640, height=480)
    someone = make_person(page_delivery.corp, "li")
    page_delivery.receipts.create(run=page_delivery.run, user=someone, channel=Channel.WECOM, address="1:li")
    [article] = json.loads(bytes(page_delivery.body))["news"]["articles"]

    cover = fetch(None, urlsplit(article["picurl"]).path)
    whole = fetch(someone, make_address(page_delivery, extension="png"))
    page = fetch(someone, reverse("message", args=[page_delivery.mark])).content.decode()

    assert (cover.status_code, cover.content, cover["Content-Type"]) == (200, b"cover", "image/png")
    assert (whole.status_code, whole.content, whole["Content-Type"]) == (200, PNG, "image/png")
    assert f'src="{make_address(page_delivery, extension="png")}" width="640" height="480"' in page
    assert (
        fetch(make_person(page_delivery.corp, "han"), make_address(page_delivery, extension="png")).status_code == 404
    )
    root = make_superuser()
    log = fetch(root, reverse("admin:notifications_delivery_change", args=[page_delivery.pk])).content.decode()
    assert fetch(root, reverse("admin:notifications_delivery_picture", args=[page_delivery.pk])).status_code == 404
    assert '<img class="phone-picture"' not in log
    assert "picurl" not in log


@pytest.mark.parametrize(("status", "said"), [("waiting", "图片正在生成"), ("failed", "未能生成")])
def test_a_page_that_is_not_there_yet_or_never_will_be_is_said(page_delivery: Delivery, status: str, said: str) -> None:
    Medium.objects.update(status=status)
    someone = make_person(page_delivery.corp, "li")
    page_delivery.receipts.create(run=page_delivery.run, user=someone, channel=Channel.WECOM, address="1:li")

    page = fetch(someone, reverse("message", args=[page_delivery.mark])).content.decode()

    assert said in page
    assert "<img" not in page.partition('class="chart"')[2].partition("</figure>")[0]


AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)

STARTS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "=cmd|' /C calc'!A0", "'=1"]

WHAT_TO_DO = "减少数据的列或行，或减少内容中的数据，即可容下更多。"


def make_table(*rows: tuple[Any, ...], kinds: tuple[Kind, ...], is_cut: bool = False) -> Table:
    return Table(tuple(Column(f"c{i}", kind) for i, kind in enumerate(kinds)), rows, AS_OF, is_cut)


def write_workbook(tables: list[tuple[str, Table]]) -> bytes:
    return write_file("xlsx", cut_parts(tables))


def write_csv_text(table: Table) -> bytes:
    return write_file("csv", cut_parts([("x", table)]))


def open_workbook(content: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(content))


def test_a_workbook_has_typed_cells_a_frozen_head_and_fitting_widths() -> None:
    table = Table(
        (Column("日期", Kind.DATE), Column("销售额", Kind.NUMBER, "元"), Column("城市", Kind.TEXT)),
        ((date(2026, 11, 23), Decimal("1234567.50"), "上海"), (None, 12, None)),
        AS_OF,
    )

    sheet = open_workbook(write_workbook([("销售日报", table)]))["销售日报"]

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
def test_nothing_in_a_file_is_a_formula(text: str) -> None:
    table = Table((Column(text, Kind.TEXT),), ((text,),), AS_OF)

    sheet, made = open_workbook(write_workbook([(text, table)])).worksheets[0], write_csv_text(table)

    assert {cell.data_type for row in sheet.rows for cell in row} == {"s"}
    assert sheet["A2"].quotePrefix == text.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert made.startswith(b"\xef\xbb\xbf")
    for [cell] in csv.reader(io.StringIO(made.decode("utf-8-sig"), newline="")):
        assert cell.startswith("'")


def test_what_a_spreadsheet_cannot_hold_is_text_or_empty() -> None:
    old = datetime(1850, 1, 1, tzinfo=UTC)
    row = (12345678901234567890, float("inf"), Decimal("NaN"), "a\x00\x07b", old, "长" * 40_000)
    kinds = (Kind.NUMBER, Kind.NUMBER, Kind.NUMBER, Kind.TEXT, Kind.DATETIME, Kind.TEXT)

    values = [
        cell.value for cell in open_workbook(write_workbook([("x", make_table(row, kinds=kinds))])).worksheets[0][2]
    ]

    assert values == [
        "12345678901234567890",
        None,
        None,
        "ab",
        f"1850-01-01 {timezone.localtime(old):%H:%M:%S}",
        "长" * 32_767,
    ]


def test_nothing_in_a_file_turns_the_direction_of_reading() -> None:
    table = make_table(("fdp\u202eexe", "\u2066=1+1"), kinds=(Kind.TEXT, Kind.TEXT))

    cells = [cell.value for cell in open_workbook(write_workbook([("x", table)])).worksheets[0][2]]

    assert cells == ["fdpexe", "=1+1"]
    assert write_csv_text(table).decode("utf-8-sig").splitlines()[1] == "fdpexe,'=1+1"


def test_each_table_has_a_sheet_with_a_name_that_a_spreadsheet_takes() -> None:
    table = make_table((1,), kinds=(Kind.NUMBER,))

    names = open_workbook(
        write_workbook([("a/b:[c]*?", table), ("A/B:[C]", table), ("x" * 50, table), ("History", table)])
    ).sheetnames

    assert names == ["a b c", "A B C 2", "x" * 31, "History 2"]


def test_what_has_no_room_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.spreadsheets.FILE_BYTES", 6000)
    table = make_table(*((f"{n:0100d}",) for n in range(1000)), kinds=(Kind.TEXT,))

    made = write_csv_text(table)

    rows = list(csv.reader(io.StringIO(made.decode("utf-8-sig"))))
    assert len(made) <= 6000
    assert rows[-1] == [f"共 1000 行，本文件只容得下前 {len(rows) - 2} 行。{WHAT_TO_DO}"]
    assert 30 < len(rows) < 60


def test_cells_are_shared_out_among_the_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.spreadsheets.CELLS_AT_MOST", 100)
    wide = make_table(*[(n,) * 4 for n in range(50)], kinds=(Kind.NUMBER,) * 4)
    narrow = make_table(*[(n,) for n in range(50)], kinds=(Kind.NUMBER,))
    short = make_table((7,), kinds=(Kind.NUMBER,))

    book = open_workbook(write_workbook([("wide", wide), ("narrow", narrow), ("short", short)]))

    # 19 x 4 + 19 + 1 cells; one row more would be 101.
    said = f"共 50 行，本文件只容得下前 19 行。{WHAT_TO_DO}"
    assert [sheet.max_row for sheet in book] == [21, 21, 2]
    assert [book[name].cell(21, 1).value for name in ("wide", "narrow")] == [said, said]
    assert [book[name].cell(20, 1).value for name in ("wide", "narrow")] == [18, 18]


def test_what_a_recipe_leaves_out_is_said_by_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(*[(n,) for n in range(50)], kinds=(Kind.NUMBER,))
    monkeypatch.setattr("notifications.delivery.spreadsheets.CELLS_AT_MOST", 10)
    recipe = make_file_recipe(MessageForm.XLSX, table)
    monkeypatch.undo()

    book = open_workbook(make_from_recipe("xlsx", recipe)["content"])
    text = make_from_recipe("csv", recipe)["content"].decode("utf-8-sig")

    said = f"共 50 行，本文件只容得下前 10 行。{WHAT_TO_DO}"
    assert [cell.value for cell in book.worksheets[0]["A"]][-2:] == [9, said]
    assert text.splitlines()[-2:] == ["9", said]


def test_data_that_was_cut_before_is_said_to_be() -> None:
    table = make_table((1,), kinds=(Kind.NUMBER,), is_cut=True)

    sheet = open_workbook(write_workbook([("x", table)])).worksheets[0]

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
    table = make_table(*rows, kinds=(Kind.TEXT, Kind.NUMBER, Kind.DATE, Kind.BOOLEAN))

    sheet = open_workbook(write_workbook([("x", table)])).worksheets[0]
    made = list(csv.reader(io.StringIO(write_csv_text(table).decode("utf-8-sig"), newline="")))

    assert sheet.max_row <= len(rows) + 1
    assert "f" not in {cell.data_type for row in sheet.rows for cell in row}
    assert len(made) == len(rows) + 1
