"""Writes sheets of people as xlsx, to be edited in Excel and uploaded again. No cell is a formula."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import IO, Any

from django.utils.translation import gettext as _
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, NamedStyle, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from accounts.importexport.rows import ROWS_AT_MOST
from accounts.importexport.writers import Sheet
from accounts.models import Attribute

WIDTH = 20
_COMPANY_COLUMN, _USERID_COLUMN = 4, 5


def write_xlsx(sheet: Sheet) -> IO[bytes]:
    """A temporary file, to be read from its beginning. Every cell is text, so that nothing is rounded or computed;
    companies and choices are lists to choose from."""
    book = Workbook(write_only=True)
    people, lists = book.create_sheet(_("People")), book.create_sheet("lists")
    lists.sheet_state = "hidden"
    style = NamedStyle("text", number_format="@", alignment=Alignment(vertical="top"))
    book.add_named_style(style)
    titles = sheet.titles()
    for column in range(1, len(titles) + 1):
        people.column_dimensions[get_column_letter(column)].width = WIDTH
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
    cell.font, cell.fill = Font(bold=True), PatternFill("solid", fgColor="E6EEF8")
    return cell


def _text(sheet: Any, text: str) -> Any:
    cell = WriteOnlyCell(sheet)
    cell.style = "text"
    if text:
        cell.value = ILLEGAL_CHARACTERS_RE.sub("", text)
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
        letter, source = get_column_letter(column), get_column_letter(number)
        rule = DataValidation("list", formula1=f"lists!${source}$1:${source}${len(choices)}", allow_blank=True)
        # Of several values, joined by semicolons, Excel offers one: others may be typed.
        rule.showErrorMessage = is_strict
        rule.add(f"{letter}2:{letter}{ROWS_AT_MOST}")
        people.data_validations.append(rule)
    for row in range(max((len(choices) for _column, choices, _strict in columns), default=0)):
        texts = [choices[row] if row < len(choices) else "" for _column, choices, _strict in columns]
        lists.append([_text(lists, text) for text in texts])
