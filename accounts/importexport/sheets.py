"""Reads and writes sheets of people: xlsx, and csv in UTF-8, UTF-16 with a byte order mark, or GB 18030 (with GBK).

What is written can be edited and uploaded again; no cell of it is a formula.
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
from typing import IO, TYPE_CHECKING, Any

from django.db.models import Prefetch
from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _

from accounts.audit.signals import label_of_field
from accounts.models import Attribute, User, WeComAccount
from accounts.users.attributes import shown, values_of
from accounts.users.roles import people_visible_to
from integrations.clients.late import Late
from integrations.models import Corp
from integrations.models.fields import Person

if TYPE_CHECKING:
    import openpyxl
    import openpyxl.styles
    import openpyxl.utils
    import openpyxl.worksheet.datavalidation
    from openpyxl.workbook import Workbook
else:
    openpyxl = Late("openpyxl")


# Sheets of people are neither longer nor wider.
ROWS_AT_MOST = 100_000
COLUMNS_AT_MOST = 200
CELL_CHARACTERS = 2000
# Notes may stand before the header; WeCom's console writes ten of them.
HEADER_WITHIN = 30
# What Excel makes of a long number in a cell that is not text.
_SCIENTIFIC = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d+")


class FileRefusedError(Exception):
    """The whole file cannot be read. `reason`: a word of accounts.explanations; `words`: what fills its
    sentence.
    """

    def __init__(self, reason: str, **words: Any) -> None:
        super().__init__(reason)
        self.reason, self.words = reason, words


@dataclass(slots=True)
class Line:
    """`number`: as the sheet's program counts. `problems`: by the column, why its cell cannot be taken."""

    number: int
    texts: list[str]
    problems: dict[int, str] = field(default_factory=dict)


def text_problem(text: str) -> str | None:
    """Why a text cannot be taken from a cell, whatever the column."""
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
# As headers are written, in whatever letters and with whatever spaces. WeCom's console has written both 帐号 and 账号.
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
# Marks of columns that must be filled in.
_MARKS = re.compile(r"[*＊]|[(（](必填|选填|required)[)）]")  # noqa: RUF001  # full-width on purpose
_BLANK = re.compile(r"[\s\u200b\ufeff]")


class Layout(StrEnum):
    OWN = "own"
    WECOM = "wecom"
    BI = "bi"


@dataclass(frozen=True, slots=True)
class Header:
    """`columns`: by what it means, the column. `titles`: the headers as they stand there, with what they mean."""

    line: int
    layout: Layout
    columns: dict[str, int]
    titles: list[tuple[str, str]]


def folded(title: str) -> str:
    """A column's title for comparison: in lower case, without blanks and marks."""
    return _BLANK.sub("", _MARKS.sub("", title)).lower()


def target_of(attribute: Attribute) -> str:
    """What a column of `attribute` means, as Header.columns names it."""
    return f"{ATTRIBUTE}{attribute.key}"


class Recogniser:
    """Knows the attributes of one moment."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self._targets = dict(_TARGETS)
        self._login = ""
        for attribute in attributes:
            names = [attribute.key, attribute.name]
            if attribute.is_bi_login_id:
                names += BI_LOGIN_NAMES
                self._login = target_of(attribute)
            for name in names:
                self._targets.setdefault(folded(name), target_of(attribute))

    def header(self, line: int, texts: Sequence[str]) -> Header | None:
        """None where the row is no header: whom it is about, and one thing more, have to be there.

        Raises FileRefusedError for a column that comes twice.
        """
        titles = [(text, self._targets.get(folded(text), "")) for text in texts]
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
    """Map what a column means to the name of its attribute."""
    return {f"{ATTRIBUTE}{key}": name for key, name in Attribute.objects.values_list("key", "name")}


def name_column(target: str, attribute_names: dict[str, str]) -> str:
    """Say what a column means, in the active language. `attribute_names`: of read_attribute_names()."""
    if target in attribute_names:
        return attribute_names[target]
    if target in {COMPANY, USERID}:
        return label_of_field(WeComAccount, "corp" if target == COMPANY else "userid")
    if target == BIZ_MAIL:
        return _("business e-mail")
    return target.removeprefix(ATTRIBUTE) if target.startswith(ATTRIBUTE) else label_of_field(User, target)


SEPARATORS = (",", "\t", ";", "，", "|")  # noqa: RUF001  # the Chinese comma is meant
# Excel takes a cell with such a beginning for a formula. Our own files put a ' before it, which is taken away again.
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def decoded(content: bytes) -> str:
    """Raises FileRefusedError where it is no text."""
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


def lines_of(text: str, separator: str) -> Iterator[Line]:
    """Raises FileRefusedError where a cell never ends. `number` is that of the line in which a row begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    number = 1
    try:
        for row in reader:
            yield _line(number, row)
            number = reader.line_num + 1
    except csv.Error:
        raise FileRefusedError("broken", line=number) from None


def _line(number: int, row: list[str]) -> Line:
    # A cell of csv without the mark that guarded() put before it.
    texts = [cell[1:] if _GUARDED.match(cell) else cell for cell in map(str.strip, row[:COLUMNS_AT_MOST])]
    return Line(number, texts, {column: why for column, text in enumerate(texts) if (why := text_problem(text))})


def guarded(text: str) -> str:
    """Guard a text that is written into csv: Excel must not take it for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} or _GUARDED.match(text) else text


# --- Finds the one list of people in an uploaded file, whatever kind it is ---


def read_table(content: bytes, recogniser: Recogniser) -> tuple[Header, Iterator[Line]]:
    """The header, and the lines below it without blank ones, read as one asks for them.

    Raises FileRefusedError, also while the lines are read.
    """
    stream = io.BytesIO(content)
    ways: list[tuple[str, Callable[[], Iterator[Line]]]]
    if is_workbook(stream):
        opened, merged = open_workbook(stream)
        visible = [sheet for sheet in opened.worksheets if sheet.sheet_state == "visible"]
        ways = [(sheet.title, partial(read_sheet, sheet, merged)) for sheet in visible]
    else:
        ways = [("", partial(lines_of, decoded(content), separator)) for separator in SEPARATORS]
    found = []
    for name, read in ways:
        beginning = (recogniser.header(line.number, line.texts) for line in islice(read(), HEADER_WITHIN))
        header = next(filter(None, beginning), None)
        if header is not None:
            found.append((name, header, read))
        if found and not name:
            break  # of a text the first separator that gives a header
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


UNPACKED_AT_MOST = 256 * 2**20
STRINGS_AT_MOST = 48 * 2**20
# Of any part that is no sheet; and of a sheet without the beginning of a row.
PART_AT_MOST = 2 * 2**20
PARTS_AT_MOST = 1000
SHEETS_AT_MOST = 50
MERGES_AT_MOST = 20_000
# A row's number in xlsx is not larger; openpyxl counts up to it, whatever it is.
LAST_ROW = 2**20
# Excel keeps so many digits of a number.
DIGITS_KEPT = 15
_OLD_EXCEL = bytes.fromhex("d0cf11e0a1b11ae1")
_PASSWORD = "EncryptedPackage".encode("utf-16-le")
_BEGINNING = re.compile(rb"<(?:\w+:)?(?:row|si)\b|</(?:\w+:)?sheetData>")
_MERGE = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]{0,200}?ref=[\"']([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})[\"']")
_ZEROS = re.compile(r"0{2,64}")
# What openpyxl raises for files that are none, or broken.
BROKEN = (
    *(ArithmeticError, AttributeError, AssertionError, EOFError, LookupError, OSError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)


def is_workbook(content: IO[bytes]) -> bool:
    """Whether it is a zip archive. Raises FileRefusedError for what Excel has written, but not as xlsx."""
    content.seek(0)
    beginning = content.read(8)
    if beginning == _OLD_EXCEL:
        content.seek(0)
        raise FileRefusedError("password" if _PASSWORD in content.read() else "old_excel")
    return beginning.startswith(b"PK")


def open_workbook(content: IO[bytes]) -> tuple[Workbook, dict[str, list[tuple[int, int, int, int]]]]:
    """The workbook, and by the path of each sheet its merged ranges. Raises FileRefusedError."""
    try:
        with zipfile.ZipFile(content) as archive:
            merged = _inspect(archive)
        workbook = openpyxl.load_workbook(content, read_only=True, keep_links=False)
    except BROKEN:
        raise FileRefusedError("no_xlsx") from None
    if len(workbook.worksheets) > SHEETS_AT_MOST:
        raise FileRefusedError("many_sheets", count=SHEETS_AT_MOST)
    return workbook, merged


def _inspect(archive: zipfile.ZipFile) -> dict[str, list[tuple[int, int, int, int]]]:
    """Raises FileRefusedError for an archive that unfolds to too much. Each part is unpacked a piece at a time."""
    parts = archive.infolist()
    if len(parts) > PARTS_AT_MOST or sum(part.file_size for part in parts) > UNPACKED_AT_MOST:
        raise FileRefusedError("too_big")
    if any(part.flag_bits & 1 for part in parts):
        raise FileRefusedError("password")
    merged = {}
    for part in parts:
        if part.filename.endswith("sharedStrings.xml") and part.file_size > STRINGS_AT_MOST:
            raise FileRefusedError("too_big")
        is_sheet = part.filename.startswith("xl/worksheets/")
        if is_sheet or part.file_size > PART_AT_MOST:
            merged[part.filename] = _scanned(archive.open(part))
    return merged


def _scanned(part: IO[bytes]) -> list[tuple[int, int, int, int]]:
    """The merged ranges of a sheet. Raises FileRefusedError where one row, or anything else, is too long."""
    merged: list[tuple[int, int, int, int]] = []
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
                # First and last column, counted from 0, first and last row.
                left, top, right, bottom = openpyxl.utils.range_boundaries(match[1].decode())
                merged.append(((left or 1) - 1, (right or 1) - 1, top or 1, bottom or 1))
                ends = match.end()
            if len(merged) > MERGES_AT_MOST:
                raise FileRefusedError("too_big")
            rest = text[max(ends, len(text) - 300) :]
    return merged


def read_sheet(sheet: Any, merged: dict[str, list[tuple[int, int, int, int]]]) -> Iterator[Line]:
    """Raises FileRefusedError where the sheet is broken."""
    ranges = sorted(merged.get(str(sheet._worksheet_path).lstrip("/"), []), key=lambda one: one[2])
    sheet.reset_dimensions()
    open_ranges: list[tuple[int, int, int, int]] = []
    following = 0
    former: Any = None
    try:
        for number, cells in enumerate(sheet.iter_rows(max_col=COLUMNS_AT_MOST), 1):
            if number > LAST_ROW:
                return
            # Up to a stray cell far below, which Excel leaves easily, openpyxl gives one empty row a million times.
            line = Line(number, []) if cells is former else _sheet_line(number, cells)
            former = cells
            while following < len(ranges) and ranges[following][2] <= number:
                open_ranges.append(ranges[following])
                following += 1
            open_ranges = [one for one in open_ranges if one[3] >= number]
            for left, right, _top, _bottom in open_ranges:
                line.problems |= dict.fromkeys(range(left, min(right, COLUMNS_AT_MOST) + 1), "merged")
            yield line
    except BROKEN:
        raise FileRefusedError("no_xlsx") from None


def _sheet_line(number: int, cells: tuple[Any, ...]) -> Line:
    line = Line(number, [""] * len(cells))
    for column, cell in enumerate(cells):
        if cell.value is None:
            continue
        text, problem = _cell_text(cell)
        line.texts[column] = text
        if problem:
            line.problems[column] = problem
    while line.texts and not line.texts[-1]:
        line.texts.pop()
    return line


def _cell_text(cell: Any) -> tuple[str, str | None]:
    """A cell as a person reads it, and why it cannot be taken."""
    value = cell.value
    if cell.data_type == "f":
        return "=", "formula"
    if cell.data_type == "e":
        return str(value), "error_cell"
    if isinstance(value, bool):
        return str(value).upper(), None
    if isinstance(value, int | float):
        return _number_text(value, str(cell.number_format))
    if isinstance(value, datetime.datetime):
        has_time = (value.hour, value.minute, value.second) != (0, 0, 0)
        return value.isoformat(" ", "seconds") if has_time else value.date().isoformat(), None
    text = str(value).strip()
    return text, text_problem(text)


def _number_text(value: float, number_format: str) -> tuple[str, str | None]:
    """Excel keeps fifteen digits: of longer ones, such as an employee number typed without quotes, the rest is lost."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.15g}", None if "e" not in f"{value:.15g}" else "rounded"
    digits = str(int(value))
    if len(digits.lstrip("-")) > DIGITS_KEPT:
        return digits[:40], "rounded"
    return digits.zfill(len(number_format)) if _ZEROS.fullmatch(number_format) else digits, None


# --- Writing ----------------------------------------------------------------------------------------------------------

STEP = 1000


class Sheet:
    """Those of `people` (keys) whom `reader` sees, as many as an import takes, with the attributes of this moment.

    `progress` is told after every thousand how many rows there are so far.
    """

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

    def titles(self) -> list[str]:
        """As accounts.importexport.sheets knows them, in the active language."""
        fixed = [_("username"), _("full name"), _("email address"), _("mobile"), _("WeCom company name")]
        return [*fixed, _("WeCom account"), *(one.name for one in self.attributes)]

    def rows(self) -> Iterator[list[str]]:
        """Read a thousand people at a time: three queries, and one for each attribute."""
        accounts = WeComAccount.objects.visible_to(self._reader).filter(is_primary=True).select_related("corp")
        primary = Prefetch("wecom_accounts", accounts, to_attr="primary_accounts")
        count = 0
        for start in range(0, len(self._keys), STEP):
            keys = self._keys[start : start + STEP]
            people: list[Any] = list(
                people_visible_to(self._reader).filter(pk__in=keys).order_by("pk").prefetch_related(primary)
            )
            values = {one.pk: values_of(attribute=one, users=keys) for one in self.attributes}
            for user in people:
                account = user.primary_accounts[0] if user.primary_accounts else None
                company = account.corp.name if account and account.corp else ""
                own = [user.username, user.name, user.email, user.mobile, company, account.userid if account else ""]
                yield [*own, *(shown(values[one.pk].get(user.pk, [])) for one in self.attributes)]
            count += len(people)
            self._progress(count)


def csv_response(name: str, rows: Iterable[Sequence[str]]) -> StreamingHttpResponse:
    """Answer with a csv file `name` of `rows`, with the mark by which Excel knows UTF-8."""
    lines = chain(["\ufeff"], map(csv_line, rows))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def csv_line(texts: Sequence[str]) -> str:
    """One line of csv with its end, each text guarded against being read as a formula."""
    target = io.StringIO()
    csv.writer(target).writerow(guarded(text) for text in texts)
    return target.getvalue()


WIDTH = 20
_COMPANY_COLUMN, _USERID_COLUMN = 4, 5


def write_xlsx(sheet: Sheet) -> IO[bytes]:
    """A temporary file, to be read from its beginning. Every cell is text, so that nothing is rounded or computed;
    companies and choices are lists to choose from."""
    book = openpyxl.Workbook(write_only=True)
    people, lists = book.create_sheet(_("People")), book.create_sheet("lists")
    lists.sheet_state = "hidden"
    style = openpyxl.styles.NamedStyle("text", number_format="@", alignment=openpyxl.styles.Alignment(vertical="top"))
    book.add_named_style(style)
    titles = sheet.titles()
    for column in range(1, len(titles) + 1):
        people.column_dimensions[openpyxl.utils.get_column_letter(column)].width = WIDTH
    people.freeze_panes = "B2"
    _add_choices(people, lists, sheet)
    people.append([_head(people, title) for title in titles])
    with ExitStack() as unfinished:
        # Why? What was written so far stands in a temporary file, which an abandoned sheet would leave open.
        unfinished.callback(lists.close)
        unfinished.callback(people.close)
        for row in sheet.rows():
            people.append([_text(people, text) for text in row])
        unfinished.pop_all()
    target = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    book.save(target)
    target.seek(0)
    return target


def _head(sheet: Any, title: str) -> Any:
    cell = _text(sheet, title)
    cell.font, cell.fill = openpyxl.styles.Font(bold=True), openpyxl.styles.PatternFill("solid", fgColor="E6EEF8")
    return cell


def _text(sheet: Any, text: str) -> Any:
    cell = openpyxl.cell.WriteOnlyCell(sheet)
    cell.style = "text"
    if text:
        cell.value = openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", text)
        # Set afterwards, because a text that begins with = has made it a formula.
        cell.data_type = "s"
    return cell


def _add_choices(people: Any, lists: Any, sheet: Sheet) -> None:
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
        # Of several values, joined by semicolons, Excel offers one: others may be typed.
        rule.showErrorMessage = is_strict
        rule.add(f"{letter}2:{letter}{ROWS_AT_MOST}")
        people.data_validations.append(rule)
    for row in range(max((len(choices) for _column, choices, _strict in columns), default=0)):
        texts = [choices[row] if row < len(choices) else "" for _column, choices, _strict in columns]
        lists.append([_text(lists, text) for text in texts])
