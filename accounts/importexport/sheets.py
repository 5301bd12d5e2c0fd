"""Reads and writes sheets of people: xlsx, and csv in UTF-8, UTF-16 with a byte order mark, or GB 18030 (with GBK).

Written sheets can be edited and uploaded again; none of their cells is a formula.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from django.db.models import Prefetch
from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _

from accounts.audit.signals import label_field
from accounts.models import Attribute, User, WeComAccount
from accounts.users.attributes import find_values, join_values
from accounts.users.roles import people_visible_to
from integrations.clients.late import LazyModule
from integrations.models import Corp
from integrations.models.fields import Person

if TYPE_CHECKING:
    import openpyxl
    import openpyxl.styles
    import openpyxl.utils
    import openpyxl.worksheet.datavalidation
    from openpyxl.workbook import Workbook
else:
    openpyxl = LazyModule("openpyxl")


# Longer or wider sheets are not read.
ROWS_AT_MOST = 100_000
COLUMNS_AT_MOST = 200
CELL_CHARACTERS = 2000
# Notes may precede the header within so many rows; WeCom's console writes ten of them.
HEADER_WITHIN = 30
# Excel's notation for a long number in a cell that is not text.
_SCIENTIFIC = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d+")


class FileRefusedError(Exception):
    """A file that cannot be read. `reason`: a key in accounts.explanations; `words`: values for its sentence."""

    def __init__(self, reason: str, **words: Any) -> None:
        super().__init__(reason)
        self.reason, self.words = reason, words


@dataclass(slots=True)
class Line:
    """A row of a sheet. `number`: as the spreadsheet shows it. `problems`: by column, why its cell cannot be used."""

    number: int
    texts: list[str]
    problems: dict[int, str] = field(default_factory=dict)


def find_text_problem(text: str) -> str | None:
    """Return why a text cannot be used in any column, or None."""
    if len(text) > CELL_CHARACTERS:
        return "long_cell"
    if _SCIENTIFIC.fullmatch(text):
        return "scientific"
    return None


ATTRIBUTE = "a:"
USERNAME, NAME, EMAIL, BIZ_MAIL, MOBILE, COMPANY, USERID = (
    *("username", "name", "email", "biz_mail", "mobile"),
    *("company", "userid"),
)
# Titles of columns, compared without case and spaces. WeCom's console has written both 帐号 and 账号.
NAMES = {
    USERNAME: ("用户名", "username", "user name"),
    NAME: ("姓名", "full name", "name"),
    EMAIL: ("邮箱", "个人邮箱", "电子邮箱", "电子邮件", "电子邮件地址", "email", "e-mail", "email address"),
    BIZ_MAIL: ("企业邮箱", "business e-mail"),
    MOBILE: ("手机", "手机号", "手机号码", "mobile"),
    COMPANY: ("企业微信公司名称", "wecom company name"),
    USERID: ("帐号", "账号", "企业微信账号", "企业微信帐号", "wecom account", "userid"),
}
BI_LOGIN_NAMES = ("loginid", "login id", "bi loginid")
_TARGETS = {re.sub(r"\s", "", name): target for target, names in NAMES.items() for name in names}
RESERVED = frozenset(_TARGETS)
# Marks in titles of required columns.
_MARKS = re.compile(r"[*＊]|[(（](必填|选填|required)[)）]")  # full-width on purpose
_BLANK = re.compile(r"[\s\u200b\ufeff]")


class Layout(StrEnum):
    OWN = "own"
    WECOM = "wecom"
    BI = "bi"


@dataclass(frozen=True, slots=True)
class Header:
    """A header row. `columns`: from meaning to column. `titles`: pairs of the written title and its meaning."""

    line: int
    layout: Layout
    columns: dict[str, int]
    titles: list[tuple[str, str]]


def fold_header(title: str) -> str:
    """Fold a column's title for comparison: lower case, without blanks and marks."""
    return _BLANK.sub("", _MARKS.sub("", title)).lower()


def make_target(attribute: Attribute) -> str:
    """Return the meaning of an attribute's column, as in Header.columns."""
    return f"{ATTRIBUTE}{attribute.key}"


class Recogniser:
    """Recogniser of headers for the present attributes."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self._targets = dict(_TARGETS)
        self._login = ""
        for attribute in attributes:
            names = [attribute.key, attribute.name]
            if attribute.is_bi_login_id:
                names += BI_LOGIN_NAMES
                self._login = make_target(attribute)
            for name in names:
                self._targets.setdefault(fold_header(name), make_target(attribute))

    def recognise_header(self, line: int, texts: Sequence[str]) -> Header | None:
        """Return the header, or None: a header names the row's person and at least one thing more. Raises
        FileRefusedError for a column that comes twice."""
        titles = [(text, self._targets.get(fold_header(text), "")) for text in texts]
        known = [target for _title, target in titles if target]
        subjects = {USERNAME: Layout.OWN, USERID: Layout.WECOM, self._login: Layout.BI}
        layout = next((one for target, one in subjects.items() if target in known), None)
        if layout is None or len(set(known)) < 2:
            return None
        twice = next((title for title, target in titles if target and known.count(target) > 1), None)
        if twice is not None:
            raise FileRefusedError("column_twice", column=twice)
        columns = {target: column for column, (_title, target) in enumerate(titles) if target}
        return Header(line, layout, columns, [(title, target) for title, target in titles if title])


def read_attribute_names() -> dict[str, str]:
    """Map meanings of attribute columns to the attributes' names."""
    return {f"{ATTRIBUTE}{key}": name for key, name in Attribute.objects.values_list("key", "name")}


def name_column(target: str, attribute_names: dict[str, str]) -> str:
    """Name a column in the active language. `attribute_names`: of read_attribute_names()."""
    if target in attribute_names:
        return attribute_names[target]
    if target in {COMPANY, USERID}:
        return label_field(WeComAccount, "corp" if target == COMPANY else "userid")
    if target == BIZ_MAIL:
        return _("business e-mail")
    return target.removeprefix(ATTRIBUTE) if target.startswith(ATTRIBUTE) else label_field(User, target)


SEPARATORS = (",", "\t", ";", "，", "|")  # the Chinese comma is meant
# Excel reads a cell with such a beginning as a formula. Our own files put a ' before it, which reading removes.
_FORMULA_STARTS = frozenset("=+-@\t\r")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def decode_text(content: bytes) -> str:
    """Decode a csv file. Raises FileRefusedError if it is not text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise FileRefusedError("no_text")


def read_csv_lines(text: str, separator: str) -> Iterator[Line]:
    """Read csv. `number` is the first line of a row. Raises FileRefusedError if a cell never ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    number = 1
    try:
        for row in reader:
            # Remove the mark that format_csv_line adds.
            texts = [cell[1:] if _GUARDED.match(cell) else cell for cell in map(str.strip, row[:COLUMNS_AT_MOST])]
            problems = {column: why for column, cell in enumerate(texts) if (why := find_text_problem(cell))}
            yield Line(number, texts, problems)
            number = reader.line_num + 1
    except csv.Error:
        raise FileRefusedError("broken", line=number) from None


# --- The one list of people in an uploaded file of either kind ---


def read_table(content: bytes, recogniser: Recogniser) -> tuple[Header, Iterator[Line]]:
    """Return the header and an iterator over the filled lines below. Both may raise FileRefusedError."""
    if content.startswith(_OLD_EXCEL):
        raise FileRefusedError("password" if _PASSWORD in content else "old_excel")
    # Each sheet of a workbook by its title, or the csv split at each separator.
    readers: list[tuple[str, Callable[[], Iterator[Line]]]]
    if content.startswith(b"PK"):
        workbook, merged_ranges = _open_workbook(io.BytesIO(content))
        visible = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        readers = [(sheet.title, partial(_read_sheet, sheet, merged_ranges)) for sheet in visible]
    else:
        readers = [("", partial(read_csv_lines, decode_text(content), separator)) for separator in SEPARATORS]
    found = []
    for name, read in readers:
        beginning = (recogniser.recognise_header(line.number, line.texts) for line in islice(read(), HEADER_WITHIN))
        header = next(filter(None, beginning), None)
        if header is not None:
            found.append((name, header, read))
        if found and not name:
            break  # csv: use the first separator that gives a header
    if not found:
        raise FileRefusedError("no_header", count=HEADER_WITHIN)
    if len(found) > 1:
        raise FileRefusedError("several_sheets", sheets=", ".join(name for name, _header, _read in found[:10]))
    _name, header, read = found[0]
    return header, _read_rows(read(), header)


def _read_rows(lines: Iterator[Line], header: Header) -> Iterator[Line]:
    filled = (line for line in lines if line.number > header.line and (line.problems or any(line.texts)))
    for count, line in enumerate(filled):
        if count == ROWS_AT_MOST:
            raise FileRefusedError("many_rows", count=ROWS_AT_MOST)
        yield line


class MergedRange(NamedTuple):
    """A range of merged cells. Columns are counted from 0, rows from 1."""

    first_column: int
    last_column: int
    first_row: int
    last_row: int


UNPACKED_AT_MOST = 256 * 2**20
STRINGS_AT_MOST = 48 * 2**20
# Limit for a part that is no sheet, and for the distance between two rows of a sheet.
PART_AT_MOST = 2 * 2**20
PARTS_AT_MOST = 1000
SHEETS_AT_MOST = 50
MERGES_AT_MOST = 20_000
# The largest row number of xlsx. openpyxl would count up to any number in the file.
LAST_ROW = 2**20
# Excel stores so many digits of a number.
DIGITS_KEPT = 15
_OLD_EXCEL = bytes.fromhex("d0cf11e0a1b11ae1")
_PASSWORD = "EncryptedPackage".encode("utf-16-le")
_BEGINNING = re.compile(rb"<(?:\w+:)?(?:row|si)\b|</(?:\w+:)?sheetData>")
_MERGE = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]{0,200}?ref=[\"']([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})[\"']")
_ZEROS = re.compile(r"0{2,64}")
# Exceptions of openpyxl for broken or foreign files.
BROKEN = (
    *(ArithmeticError, AttributeError, AssertionError, EOFError, LookupError, OSError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)


def _open_workbook(content: IO[bytes]) -> tuple[Workbook, dict[str, list[MergedRange]]]:
    """Return the workbook, and the merged ranges by the path of each sheet. Raises FileRefusedError. The archive's
    parts are unpacked in small pieces, so that a too large one is refused before it fills the memory."""
    merged_ranges = {}
    try:
        with zipfile.ZipFile(content) as archive:
            parts = archive.infolist()
            if len(parts) > PARTS_AT_MOST or sum(part.file_size for part in parts) > UNPACKED_AT_MOST:
                raise FileRefusedError("too_big")
            if any(part.flag_bits & 1 for part in parts):
                raise FileRefusedError("password")
            for part in parts:
                if part.filename.endswith("sharedStrings.xml") and part.file_size > STRINGS_AT_MOST:
                    raise FileRefusedError("too_big")
                if part.filename.startswith("xl/worksheets/") or part.file_size > PART_AT_MOST:
                    merged_ranges[part.filename] = _scan_sheet(archive.open(part))
        workbook = openpyxl.load_workbook(content, read_only=True, keep_links=False)
    except BROKEN:
        raise FileRefusedError("no_xlsx") from None
    if len(workbook.worksheets) > SHEETS_AT_MOST:
        raise FileRefusedError("many_sheets", count=SHEETS_AT_MOST)
    return workbook, merged_ranges


def _scan_sheet(part: IO[bytes]) -> list[MergedRange]:
    """Return the merged ranges of a sheet. Raises FileRefusedError if one row, or anything else, is too long."""
    merged: list[MergedRange] = []
    since, rest, count = 0, b"", 0
    with part:
        while piece := part.read(2**18):
            found = list(_BEGINNING.finditer(piece))
            since = len(piece) - found[-1].start() if found else since + len(piece)
            count += len(found)
            if since > PART_AT_MOST or count > 2 * LAST_ROW:
                raise FileRefusedError("too_big")
            text = rest + piece
            ends = 0
            for match in _MERGE.finditer(text):
                left, top, right, bottom = openpyxl.utils.range_boundaries(match[1].decode())
                merged.append(MergedRange((left or 1) - 1, (right or 1) - 1, top or 1, bottom or 1))
                ends = match.end()
            if len(merged) > MERGES_AT_MOST:
                raise FileRefusedError("too_big")
            rest = text[max(ends, len(text) - 300) :]
    return merged


def _read_sheet(sheet: Any, merged_ranges: dict[str, list[MergedRange]]) -> Iterator[Line]:
    """Yield the lines of a sheet. Raises FileRefusedError if the sheet is broken."""
    ranges = sorted(merged_ranges.get(str(sheet._worksheet_path).lstrip("/"), []), key=lambda one: one.first_row)
    sheet.reset_dimensions()
    open_ranges: list[MergedRange] = []
    following = 0
    former: Any = None
    try:
        for number, cells in enumerate(sheet.iter_rows(max_col=COLUMNS_AT_MOST), 1):
            if number > LAST_ROW:
                return
            # Before a stray cell far below, which Excel leaves easily, openpyxl yields the same empty row a million
            # times.
            line = Line(number, []) if cells is former else _read_row(number, cells)
            former = cells
            while following < len(ranges) and ranges[following].first_row <= number:
                open_ranges.append(ranges[following])
                following += 1
            open_ranges = [one for one in open_ranges if one.last_row >= number]
            for one in open_ranges:
                columns = range(one.first_column, min(one.last_column, COLUMNS_AT_MOST) + 1)
                line.problems |= dict.fromkeys(columns, "merged")
            yield line
    except BROKEN:
        raise FileRefusedError("no_xlsx") from None


def _read_row(number: int, cells: tuple[Any, ...]) -> Line:
    line = Line(number, [""] * len(cells))
    for column, cell in enumerate(cells):
        if cell.value is None:
            continue
        text, problem = _read_cell(cell)
        line.texts[column] = text
        if problem:
            line.problems[column] = problem
    while line.texts and not line.texts[-1]:
        line.texts.pop()
    return line


def _read_cell(cell: Any) -> tuple[str, str | None]:
    """Return a cell as a person reads it, and why it cannot be used."""
    value = cell.value
    if cell.data_type == "f":
        return "=", "formula"
    if cell.data_type == "e":
        return str(value), "error_cell"
    if isinstance(value, bool):
        return str(value).upper(), None
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.15g}", None if "e" not in f"{value:.15g}" else "rounded"
    if isinstance(value, int | float):
        digits, number_format = str(int(value)), str(cell.number_format)
        if len(digits.lstrip("-")) > DIGITS_KEPT:  # Excel has damaged it, unless it is text
            return digits[:40], "rounded"
        return digits.zfill(len(number_format)) if _ZEROS.fullmatch(number_format) else digits, None
    if isinstance(value, datetime.datetime):
        has_time = (value.hour, value.minute, value.second) != (0, 0, 0)
        return value.isoformat(" ", "seconds") if has_time else value.date().isoformat(), None
    text = str(value).strip()
    return text, find_text_problem(text)


# --- Writing ----------------------------------------------------------------------------------------------------------

STEP = 1000


class PeopleSheet:
    """A sheet of those of `people` (keys) whom `reader` sees, at most ROWS_AT_MOST, with the present attributes.
    `progress` is called after every thousand with the number of rows so far."""

    def __init__(
        self,
        *,
        people: Iterable[int],
        reader: Person,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._keys, self._reader, self._progress = sorted(people)[:ROWS_AT_MOST], reader, progress
        self.attributes = list(Attribute.objects.by_name())
        self.companies = list(Corp.objects.visible_to(reader).order_by("name").values_list("name", flat=True))

    def list_titles(self) -> list[str]:
        """Return titles that a Recogniser knows, in the active language."""
        fixed = [_("username"), _("full name"), _("email address"), _("mobile"), _("WeCom company name")]
        return [*fixed, _("WeCom account"), *(one.name for one in self.attributes)]

    def iterate_rows(self) -> Iterator[list[str]]:
        """Yield the rows. Reads a thousand people at a time: three queries, and one for each attribute."""
        accounts = WeComAccount.objects.visible_to(self._reader).filter(is_primary=True).select_related("corp")
        primary = Prefetch("wecom_accounts", accounts, to_attr="primary_accounts")
        count = 0
        for start in range(0, len(self._keys), STEP):
            keys = self._keys[start : start + STEP]
            people: list[Any] = list(
                people_visible_to(self._reader).filter(pk__in=keys).order_by("pk").prefetch_related(primary)
            )
            values = {one.pk: find_values(attribute=one, users=keys) for one in self.attributes}
            for user in people:
                account = user.primary_accounts[0] if user.primary_accounts else None
                company = account.corp.name if account and account.corp else ""
                own = [user.username, user.name, user.email, user.mobile, company, account.userid if account else ""]
                yield [*own, *(join_values(values[one.pk].get(user.pk, [])) for one in self.attributes)]
            count += len(people)
            self._progress(count)


def make_csv_response(name: str, rows: Iterable[Sequence[str]]) -> StreamingHttpResponse:
    """Return a csv file `name` of `rows`, with the byte order mark by which Excel recognises UTF-8."""
    lines = chain(["\ufeff"], map(format_csv_line, rows))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def format_csv_line(texts: Sequence[str]) -> str:
    """Return one line of csv with its end, each text guarded against being read as a formula."""
    target = io.StringIO()
    csv.writer(target).writerow(
        f"'{text}" if text[:1] in _FORMULA_STARTS or _GUARDED.match(text) else text for text in texts
    )
    return target.getvalue()


WIDTH = 20
_COMPANY_COLUMN, _USERID_COLUMN = 4, 5


def write_xlsx(sheet: PeopleSheet) -> IO[bytes]:
    """Return a temporary file, positioned at its beginning. Every cell is text, so that nothing is rounded or computed;
    companies and choices are drop-down lists."""
    book = openpyxl.Workbook(write_only=True)
    people, lists = book.create_sheet(_("People")), book.create_sheet("lists")
    lists.sheet_state = "hidden"
    style = openpyxl.styles.NamedStyle("text", number_format="@", alignment=openpyxl.styles.Alignment(vertical="top"))
    book.add_named_style(style)
    titles = sheet.list_titles()
    for column in range(1, len(titles) + 1):
        people.column_dimensions[openpyxl.utils.get_column_letter(column)].width = WIDTH
    people.freeze_panes = "B2"
    # The drop-down lists: companies, and the choices of attributes.
    columns = [(_COMPANY_COLUMN + 1, sheet.companies, True)]
    fixed = _USERID_COLUMN + 2
    columns += [
        (fixed + number, one.choices, not one.is_many_valued)
        for number, one in enumerate(sheet.attributes)
        if one.kind == Attribute.Kind.CHOICE
    ]
    columns = [(column, choices, is_strict) for column, choices, is_strict in columns if choices]
    for number, (column, choices, is_strict) in enumerate(columns, 1):
        letter, source = openpyxl.utils.get_column_letter(column), openpyxl.utils.get_column_letter(number)
        rule = openpyxl.worksheet.datavalidation.DataValidation(
            "list", formula1=f"lists!${source}$1:${source}${len(choices)}", allow_blank=True
        )
        # Several values are joined by semicolons, but Excel offers single ones: allow typed ones, too.
        rule.showErrorMessage = is_strict
        rule.add(f"{letter}2:{letter}{ROWS_AT_MOST}")
        people.data_validations.append(rule)
    for line in range(max((len(choices) for _column, choices, _strict in columns), default=0)):
        texts = [choices[line] if line < len(choices) else "" for _column, choices, _strict in columns]
        lists.append([_make_text_cell(lists, text) for text in texts])
    head = [_make_text_cell(people, title) for title in titles]
    for cell in head:
        cell.font = openpyxl.styles.Font(bold=True)
        cell.fill = openpyxl.styles.PatternFill("solid", fgColor="E6EEF8")
    people.append(head)
    with ExitStack() as unfinished:
        # Rows written so far are in temporary files, which an abandoned sheet would leave open.
        unfinished.callback(lists.close)
        unfinished.callback(people.close)
        for row in sheet.iterate_rows():
            people.append([_make_text_cell(people, text) for text in row])
        unfinished.pop_all()
    target = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    book.save(target)
    target.seek(0)
    return target


def _make_text_cell(sheet: Any, text: str) -> Any:
    cell = openpyxl.cell.WriteOnlyCell(sheet)
    cell.style = "text"
    if text:
        cell.value = openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", text)
        # Set the type last, because a text that begins with = has made the cell a formula.
        cell.data_type = "s"
    return cell
