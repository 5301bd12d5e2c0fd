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
from accounts.users.roles import find_visible_people
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
# The header must be within so many rows. In files of WeCom's console ten rows of notes precede it.
HEADER_WITHIN = 30
# Excel's notation for a long number in a cell that is not text.
_SCIENTIFIC = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d+")


class FileRefusedError(Exception):
    """A file cannot be read. `reason`: a key in accounts.explanations; `words`: values for its sentence."""

    def __init__(self, reason: str, **words: Any) -> None:
        super().__init__(reason)
        self.reason, self.words = reason, words


@dataclass(slots=True)
class SheetRow:
    """A row of a sheet. `number`: the row's number in the spreadsheet. `problems`: why a cell cannot be used, by
    column."""

    number: int
    texts: list[str]
    problems: dict[int, str] = field(default_factory=dict)


def find_text_problem(text: str) -> str | None:
    """Return why the text of a cell cannot be used (a key in accounts.explanations), or None."""
    if len(text) > CELL_CHARACTERS:
        return "long_cell"
    if _SCIENTIFIC.fullmatch(text):
        return "scientific"
    return None


# Meanings of columns, called targets. The target of a user attribute is this prefix with its key.
ATTRIBUTE = "a:"
USERNAME, NAME, EMAIL, BIZ_MAIL, MOBILE, COMPANY, USERID = (
    *("username", "name", "email", "biz_mail", "mobile"),
    *("company", "userid"),
)
# Titles of columns by target, compared without case and spaces. WeCom's console uses both 帐号 and 账号.
TITLES = {
    USERNAME: ("用户名", "username", "user name"),
    NAME: ("姓名", "full name", "name"),
    EMAIL: ("邮箱", "个人邮箱", "电子邮箱", "电子邮件", "电子邮件地址", "email", "e-mail", "email address"),
    BIZ_MAIL: ("企业邮箱", "business e-mail"),
    MOBILE: ("手机", "手机号", "手机号码", "mobile"),
    COMPANY: ("企业微信公司名称", "wecom company name"),
    USERID: ("帐号", "账号", "企业微信账号", "企业微信帐号", "wecom account", "userid"),
}
BI_LOGIN_NAMES = ("loginid", "login id", "bi loginid")
_TARGETS = {re.sub(r"\s", "", title): target for target, titles in TITLES.items() for title in titles}
RESERVED_TITLES = frozenset(_TARGETS)  # no attribute may have such a name
# Marks in titles of required columns.
_MARKS = re.compile(r"[*＊]|[(（](必填|选填|required)[)）]")  # full-width on purpose
_BLANK = re.compile(r"[\s\u200b\ufeff]")


class Layout(StrEnum):
    """The kinds of files: our own sheets, files of WeCom's console, and lists of the BI's users."""

    OWN = "own"
    WECOM = "wecom"
    BI = "bi"


@dataclass(frozen=True, slots=True)
class Header:
    """A header row. `columns`: maps targets to columns, from 0. `titles`: pairs of title and target, empty if
    unused."""

    line: int
    layout: Layout
    columns: dict[str, int]
    titles: list[tuple[str, str]]


def fold_header(title: str) -> str:
    """Fold a column's title for comparison: lower case, without blanks and marks."""
    return _BLANK.sub("", _MARKS.sub("", title)).lower()


def make_target(attribute: Attribute) -> str:
    """Return the target of an attribute's column."""
    return f"{ATTRIBUTE}{attribute.key}"


class HeaderReader:
    """Finds the header of a sheet, and the target of each column. `attributes`: the attributes that columns may
    have."""

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

    def find_header(self, line: int, texts: Sequence[str]) -> Header | None:
        """Return the header, or None. A header has a column that names the row's person, and at least one more. Raises
        FileRefusedError if two columns have the same target."""
        titles = [(text, self._targets.get(fold_header(text), "")) for text in texts]
        known = [target for _title, target in titles if target]
        layouts = {USERNAME: Layout.OWN, USERID: Layout.WECOM, self._login: Layout.BI}
        layout = next((one for target, one in layouts.items() if target in known), None)
        if layout is None or len(set(known)) < 2:
            return None
        twice = next((title for title, target in titles if target and known.count(target) > 1), None)
        if twice is not None:
            raise FileRefusedError("column_twice", column=twice)
        columns = {target: column for column, (_title, target) in enumerate(titles) if target}
        return Header(line, layout, columns, [(title, target) for title, target in titles if title])


def read_attribute_names() -> dict[str, str]:
    """Map the targets of attributes to the attributes' names."""
    return {f"{ATTRIBUTE}{key}": name for key, name in Attribute.objects.values_list("key", "name")}


def name_column(target: str, attribute_names: dict[str, str]) -> str:
    """Name a column in the active language. `attribute_names`: the result of read_attribute_names()."""
    if target in attribute_names:
        return attribute_names[target]
    if target in {COMPANY, USERID}:
        return label_field(WeComAccount, "corp" if target == COMPANY else "userid")
    if target == BIZ_MAIL:
        return _("business e-mail")
    return target.removeprefix(ATTRIBUTE) if target.startswith(ATTRIBUTE) else label_field(User, target)


SEPARATORS = (",", "\t", ";", "，", "|")  # the Chinese comma is meant
# Excel takes a cell that begins with one of these for a formula. Our own files put a ' before such a text, which is
# removed when they are read.
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


def read_csv_lines(text: str, separator: str) -> Iterator[SheetRow]:
    """Yield the rows of a csv file; the number of a row is that of its first line. Raises FileRefusedError for broken
    csv."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    number = 1
    try:
        for row in reader:
            # Remove the ' that format_csv_line adds.
            texts = [cell[1:] if _GUARDED.match(cell) else cell for cell in map(str.strip, row[:COLUMNS_AT_MOST])]
            problems = {column: why for column, cell in enumerate(texts) if (why := find_text_problem(cell))}
            yield SheetRow(number, texts, problems)
            number = reader.line_num + 1
    except csv.Error:
        raise FileRefusedError("broken", line=number) from None


# --- The list of people in an uploaded file --------------------------------------------------------------------------


def read_table(content: bytes, header_reader: HeaderReader) -> tuple[Header, Iterator[SheetRow]]:
    """Return the header, and an iterator over the filled rows below it. Raises FileRefusedError, also while
    iterating."""
    if content.startswith(_OLD_EXCEL):
        raise FileRefusedError("password" if _PASSWORD in content else "old_excel")
    # Functions that read a visible sheet, by its title; or the csv file with each separator.
    readers: list[tuple[str, Callable[[], Iterator[SheetRow]]]]
    if content.startswith(b"PK"):
        workbook, merged_ranges = _open_workbook(io.BytesIO(content))
        visible = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        readers = [(sheet.title, partial(_read_sheet, sheet, merged_ranges)) for sheet in visible]
    else:
        readers = [("", partial(read_csv_lines, decode_text(content), separator)) for separator in SEPARATORS]
    tables = []
    for name, read in readers:
        headers = (header_reader.find_header(line.number, line.texts) for line in islice(read(), HEADER_WITHIN))
        header = next(filter(None, headers), None)
        if header is not None:
            tables.append((name, header, read))
        if tables and not name:
            break  # csv: use the first separator that gives a header
    if not tables:
        raise FileRefusedError("no_header", count=HEADER_WITHIN)
    if len(tables) > 1:
        raise FileRefusedError("several_sheets", sheets=", ".join(name for name, _header, _read in tables[:10]))
    _name, header, read = tables[0]
    return header, _read_rows(read(), header)


def _read_rows(lines: Iterator[SheetRow], header: Header) -> Iterator[SheetRow]:
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


# Limits for xlsx files, in bytes: for all parts unpacked, and for the texts that cells share.
UNPACKED_AT_MOST = 256 * 2**20
STRINGS_AT_MOST = 48 * 2**20
# Limit for a part that is not a sheet, and for one row of a sheet, in bytes.
PART_AT_MOST = 2 * 2**20
PARTS_AT_MOST = 1000
SHEETS_AT_MOST = 50
MERGES_AT_MOST = 20_000
# The largest row number of xlsx. openpyxl would yield empty rows up to any number in the file.
LAST_ROW = 2**20
# Number of digits that Excel stores of a number.
DIGITS_KEPT = 15
_OLD_EXCEL = bytes.fromhex("d0cf11e0a1b11ae1")
_PASSWORD = "EncryptedPackage".encode("utf-16-le")
_BEGINNING = re.compile(rb"<(?:\w+:)?(?:row|si)\b|</(?:\w+:)?sheetData>")  # of a row or a shared text; or the end
_MERGE = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]{0,200}?ref=[\"']([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})[\"']")
_ZEROS = re.compile(r"0{2,64}")
# Exceptions that openpyxl raises for broken or foreign files.
READ_ERRORS = (
    *(ArithmeticError, AttributeError, AssertionError, EOFError, LookupError, OSError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)


def _open_workbook(content: IO[bytes]) -> tuple[Workbook, dict[str, list[MergedRange]]]:
    """Open a workbook. Return it with the merged ranges of each sheet, by the sheet's path. Raises FileRefusedError.
    The archive is scanned in small pieces first, so that a file that is too large is refused before it fills the
    memory."""
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
    except READ_ERRORS:
        raise FileRefusedError("no_xlsx") from None
    if len(workbook.worksheets) > SHEETS_AT_MOST:
        raise FileRefusedError("many_sheets", count=SHEETS_AT_MOST)
    return workbook, merged_ranges


def _scan_sheet(part: IO[bytes]) -> list[MergedRange]:
    """Return the merged ranges of a sheet. Raises FileRefusedError if there are too many rows or ranges, or a row is
    too long."""
    merged: list[MergedRange] = []
    row_bytes, rest, row_count = 0, b"", 0
    with part:
        while piece := part.read(2**18):
            beginnings = list(_BEGINNING.finditer(piece))
            row_bytes = len(piece) - beginnings[-1].start() if beginnings else row_bytes + len(piece)
            row_count += len(beginnings)
            if row_bytes > PART_AT_MOST or row_count > 2 * LAST_ROW:
                raise FileRefusedError("too_big")
            text = rest + piece
            ends = 0
            for match in _MERGE.finditer(text):
                left, top, right, bottom = openpyxl.utils.range_boundaries(match[1].decode())
                merged.append(MergedRange((left or 1) - 1, (right or 1) - 1, top or 1, bottom or 1))
                ends = match.end()
            if len(merged) > MERGES_AT_MOST:
                raise FileRefusedError("too_big")
            rest = text[max(ends, len(text) - 300) :]  # may hold the beginning of a range
    return merged


def _read_sheet(sheet: Any, merged_ranges: dict[str, list[MergedRange]]) -> Iterator[SheetRow]:
    """Yield the rows of a sheet. Raises FileRefusedError if the sheet is broken."""
    ranges = sorted(merged_ranges.get(str(sheet._worksheet_path).lstrip("/"), []), key=lambda one: one.first_row)
    sheet.reset_dimensions()
    open_ranges: list[MergedRange] = []
    next_range = 0
    previous: Any = None
    try:
        for number, cells in enumerate(sheet.iter_rows(max_col=COLUMNS_AT_MOST), 1):
            if number > LAST_ROW:
                return
            # openpyxl yields the same object for all empty rows, of which there may be a million.
            line = SheetRow(number, []) if cells is previous else _read_row(number, cells)
            previous = cells
            while next_range < len(ranges) and ranges[next_range].first_row <= number:
                open_ranges.append(ranges[next_range])
                next_range += 1
            open_ranges = [one for one in open_ranges if one.last_row >= number]
            for one in open_ranges:
                columns = range(one.first_column, min(one.last_column, COLUMNS_AT_MOST) + 1)
                line.problems |= dict.fromkeys(columns, "merged")
            yield line
    except READ_ERRORS:
        raise FileRefusedError("no_xlsx") from None


def _read_row(number: int, cells: tuple[Any, ...]) -> SheetRow:
    line = SheetRow(number, [""] * len(cells))
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
    """Return the text of a cell, and why it cannot be used (a key in accounts.explanations) or None."""
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
        if len(digits.lstrip("-")) > DIGITS_KEPT:  # Excel has rounded it
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
    """A sheet of the people with the keys `people` whom `reader` sees, at most ROWS_AT_MOST. `progress` is called after
    every thousand people with the number of rows so far."""

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
        """Return the titles of the columns in the active language, as a HeaderReader knows them."""
        fixed = [_("username"), _("full name"), _("email address"), _("mobile"), _("WeCom company name")]
        return [*fixed, _("WeCom account"), *(one.name for one in self.attributes)]

    def iterate_rows(self) -> Iterator[list[str]]:
        """Yield the rows. Two queries for each thousand people, and one more for each attribute."""
        accounts = WeComAccount.objects.visible_to(self._reader).filter(is_primary=True).select_related("corp")
        primary = Prefetch("wecom_accounts", accounts, to_attr="primary_accounts")
        count = 0
        for start in range(0, len(self._keys), STEP):
            keys = self._keys[start : start + STEP]
            people: list[Any] = list(
                find_visible_people(self._reader).filter(pk__in=keys).order_by("pk").prefetch_related(primary)
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
    """Return a response with `rows` as the csv file `name`, with the byte order mark that Excel needs for UTF-8."""
    lines = chain(["\ufeff"], map(format_csv_line, rows))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def format_csv_line(texts: Sequence[str]) -> str:
    """Return one line of csv with its line end. Excel reads no cell of it as a formula."""
    target = io.StringIO()
    csv.writer(target).writerow(
        f"'{text}" if text[:1] in _FORMULA_STARTS or _GUARDED.match(text) else text for text in texts
    )
    return target.getvalue()


# Width of each column, in characters.
WIDTH = 20
_COMPANY_COLUMN, _USERID_COLUMN = 4, 5


def write_xlsx(sheet: PeopleSheet) -> IO[bytes]:
    """Write the sheet to a temporary file, and return the file at its beginning. Every cell is text, so that Excel
    neither rounds nor computes it. Cells for companies and choices have drop-down lists."""
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
    first_attribute = _USERID_COLUMN + 2
    columns += [
        (first_attribute + number, one.choices, not one.is_many_valued)
        for number, one in enumerate(sheet.attributes)
        if one.kind == Attribute.Kind.CHOICE
    ]
    columns = [(column, choices, is_strict) for column, choices, is_strict in columns if choices]
    for number, (column, choices, is_strict) in enumerate(columns, 1):
        letter, source = openpyxl.utils.get_column_letter(column), openpyxl.utils.get_column_letter(number)
        rule = openpyxl.worksheet.datavalidation.DataValidation(
            "list", formula1=f"lists!${source}$1:${source}${len(choices)}", allow_blank=True
        )
        # Allow other texts for many-valued attributes: several values are joined by semicolons.
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
        # Close openpyxl's temporary files if writing a row fails.
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
        # Set the type last: assigning a text that begins with = makes the cell a formula.
        cell.data_type = "s"
    return cell
