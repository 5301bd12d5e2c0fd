"""Writes workbooks (Office Open XML) row by row. Pure.

Why by ourselves? For a library each cell is an object and then an element: 100,000 rows of twelve columns took longer
than what makes files may take. Here a cell is a piece of text. Source: ECMA-376, part 1, chapter 18 (SpreadsheetML).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from itertools import islice

CELL_CHARACTERS = 32_767

_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# The day before the first one, as spreadsheets count from March 1900 on.
_DAY_ZERO = date(1899, 12, 30).toordinal()
_DAY_SECONDS = 86_400
_ROWS_AT_ONCE = 1000

Plain = str | float | int | bool | date | None


class Style(IntEnum):
    """How a cell looks: its place among `_CELL_STYLES`."""

    PLAIN = 0
    HEAD = 1
    HEAD_OF_NUMBERS = 2
    # Text that begins as a formula does, and stays text when somebody edits it.
    QUOTED = 3
    DAY = 4
    MINUTE = 5
    SECOND = 6
    WHOLE = 7
    FRACTION = 8


@dataclass(frozen=True, slots=True)
class Sheet:
    """`rows`: as `row` writes them; the first one is the head, and stays in sight. `filter_rows`: how many, with the
    head, can be filtered; 0: none. `widths`: of the columns, in letters."""

    name: str
    widths: Sequence[int]
    rows: Iterable[str]
    filter_rows: int


def row(number: int, cells: Iterable[tuple[Plain, Style]]) -> str:
    """A row of a sheet; `number` counts from 1. Texts are texts whatever they begin with."""
    written = "".join(
        _cell(f"{letters}{number}", value, style)
        for letters, (value, style) in zip(_LETTERS, cells, strict=False)
        if value is not None
    )
    return f'<row r="{number}">{written}</row>'


def written(sheets: Sequence[Sheet]) -> bytes:
    """The file. Of its sheets no more is held at once than some rows."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for name, text in _parts(sheets).items():
            file.writestr(name, f"{_XML}{text}")
        for number, sheet in enumerate(sheets, start=1):
            with file.open(f"xl/worksheets/sheet{number}.xml", "w") as part:
                for text in _sheet(sheet):
                    part.write(text.encode())
    return output.getvalue()


def column_letters(position: int) -> str:
    """A, B … Z, AA …; `position` counts from 1."""
    letters = ""
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


_LETTERS = [column_letters(position) for position in range(1, 16_385)]


# --- Cells ---


def _cell(place: str, value: Plain, style: Style) -> str:
    if isinstance(value, str):
        return _text_cell(place, value, style)
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{value:d}</v></c>'
    shown = _serial(value) if isinstance(value, date) else value
    return f'<c r="{place}" s="{style:d}"><v>{shown!r}</v></c>'


def _text_cell(place: str, text: str, style: Style) -> str:
    shown = _UNWRITABLE.sub("", text)[:CELL_CHARACTERS]
    if style == Style.PLAIN and shown.startswith(_FORMULA_STARTS):
        style = Style.QUOTED
    return f'<c r="{place}" s="{style:d}" t="inlineStr"><is><t xml:space="preserve">{_escaped(shown)}</t></is></c>'


def _escaped(text: str) -> str:
    if "&" in text or "<" in text or ">" in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text


def _serial(value: date) -> float | int:
    """Days of the calendar of spreadsheets, with the time of day as a part of one."""
    days = value.toordinal() - _DAY_ZERO
    if not isinstance(value, datetime):
        return days
    seconds = value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    return days + seconds / _DAY_SECONDS


# --- Parts of the file ---

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"

# The numbers from 164 on are free for formats of one's own.
_FORMATS = {164: "yyyy-mm-dd", 165: "yyyy-mm-dd hh:mm", 166: "yyyy-mm-dd hh:mm:ss", 167: "#,##0.00##"}


def _number_style(number_format: int) -> str:
    return f'<xf numFmtId="{number_format}" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'


_NORMAL = 'numFmtId="0" fontId="0" fillId="0" borderId="0"'
_ON_HEAD = 'numFmtId="0" fontId="1" fillId="2" borderId="0" applyFont="1" applyFill="1"'
_CELL_STYLES = {
    Style.PLAIN: f'<xf {_NORMAL} xfId="0"/>',
    Style.HEAD: f'<xf {_ON_HEAD} xfId="0"/>',
    Style.HEAD_OF_NUMBERS: f'<xf {_ON_HEAD} xfId="0" applyAlignment="1"><alignment horizontal="right"/></xf>',
    Style.QUOTED: f'<xf {_NORMAL} xfId="0" quotePrefix="1"/>',
    Style.DAY: _number_style(164),
    Style.MINUTE: _number_style(165),
    Style.SECOND: _number_style(166),
    # The spreadsheet's own #,##0.
    Style.WHOLE: _number_style(3),
    Style.FRACTION: _number_style(167),
}


def _parts(sheets: Sequence[Sheet]) -> dict[str, str]:
    """Everything but the sheets, by the names of the parts."""
    numbers = range(1, len(sheets) + 1)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
        for number in numbers
    )
    links = "".join(
        f'<Relationship Id="rId{number}" Type="{_LINKS}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in numbers
    )
    return {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>{overrides}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_LINKS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{links}'
        f'<Relationship Id="rId{len(sheets) + 1}" Type="{_LINKS}/styles" Target="styles.xml"/></Relationships>',
        "xl/workbook.xml": _workbook(sheets),
        "xl/styles.xml": _styles(),
    }


def _workbook(sheets: Sequence[Sheet]) -> str:
    named = "".join(
        f'<sheet name="{_attribute(sheet.name)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, sheet in enumerate(sheets, start=1)
    )
    # A filter works through a name that nobody sees.
    filters = "".join(
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{position}" hidden="1">'
        f"{_escaped(_quoted(sheet.name))}!{_filtered(sheet, '$')}</definedName>"
        for position, sheet in enumerate(sheets)
        if sheet.filter_rows
    )
    return (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_LINKS}"><bookViews><workbookView/></bookViews><sheets>{named}</sheets>'
        f"{_within('definedNames', filters)}</workbook>"
    )


def _styles() -> str:
    formats = "".join(
        f'<numFmt numFmtId="{number}" formatCode="{_attribute(code)}"/>' for number, code in _FORMATS.items()
    )
    cells = "".join(_CELL_STYLES[style] for style in Style)
    font = '<sz val="11"/><name val="Calibri"/><family val="2"/>'
    return (
        f'<styleSheet xmlns="{_MAIN}"><numFmts count="{len(_FORMATS)}">{formats}</numFmts>'
        f'<fonts count="2"><font>{font}</font><font><b/>{font}</font></fonts>'
        # The first two are the spreadsheet's own, whatever stands there.
        '<fills count="3"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill>'
        '<fill><patternFill patternType="solid"><fgColor rgb="FFE8EEF5"/></patternFill></fill></fills>'
        '<borders count="1"><border/></borders>'
        f'<cellStyleXfs count="1"><xf {_NORMAL}/></cellStyleXfs><cellXfs count="{len(Style)}">{cells}</cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    )


def _sheet(sheet: Sheet) -> Iterator[str]:
    widths = "".join(
        f'<col min="{position}" max="{position}" width="{width}" customWidth="1"/>'
        for position, width in enumerate(sheet.widths, start=1)
    )
    yield (
        f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
        f"{_within('cols', widths)}<sheetData>"
    )
    rows = iter(sheet.rows)
    while text := "".join(islice(rows, _ROWS_AT_ONCE)):
        yield text
    filtered = f'<autoFilter ref="{_filtered(sheet)}"/>' if sheet.filter_rows else ""
    yield f"</sheetData>{filtered}</worksheet>"


def _within(tag: str, inner: str) -> str:
    """An element, where there is something in it: an empty one is a broken file."""
    return f"<{tag}>{inner}</{tag}>" if inner else ""


def _filtered(sheet: Sheet, fixed: str = "") -> str:
    return f"{fixed}A{fixed}1:{fixed}{column_letters(len(sheet.widths))}{fixed}{sheet.filter_rows}"


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _attribute(text: str) -> str:
    return _escaped(_UNWRITABLE.sub("", text)).replace('"', "&quot;")
