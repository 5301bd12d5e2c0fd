"""Files as people upload them, and their results."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from openpyxl import Workbook

from accounts.importexport import jobs
from accounts.models import ImportRow, PeopleImport, User
from tests.jobs import do_jobs

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
# Notes and header of the file that WeCom's console exports; the wording changes between releases.
WECOM_NOTES = [
    "人员信息类",
    "填写须知：\n1、不能在该Excel表中对成员信息类别进行增加、删除或修改；",
    "2、Excel中红色字段为必填字段，黑色字段为选填字段；",
    "3、账号：成员的唯一标识，由1-64个字母、数字、点(.)、减号(-)或下划线(_)组成；",
]
WECOM_HEADER = [
    *("姓名", "帐号", "别名", "职务", "部门", "性别", "手机", "座机", "个人邮箱", "地址"),
    *("激活状态", "禁用状态", "微信插件"),
]


def xlsx(*rows: Sequence[Any], change: Any = None) -> bytes:
    """Make a workbook. `change` is called with it before it is saved."""
    book = Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(list(row))
    if change is not None:
        change(book)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def csv_bytes(*rows: Sequence[Any], encoding: str = "utf-8", separator: str = ",") -> bytes:
    target = io.StringIO()
    csv.writer(target, delimiter=separator).writerows(rows)
    return target.getvalue().encode(encoding)


def wecom_row(name: str, userid: str, mobile: str = "", email: str = "") -> list[str]:
    return [name, userid, "", "", "北山制造/研发部", "男", mobile, "", email, "", "已激活", "启用", "未关注"]


def wecom_file(*rows: Sequence[Any], header: Sequence[str] = WECOM_HEADER) -> bytes:
    def merge(book: Workbook) -> None:
        for number in range(1, len(WECOM_NOTES) + 1):
            book.active.merge_cells(start_row=number, start_column=1, end_row=number, end_column=len(header))  # type: ignore[union-attr]  # a new workbook has one

    return xlsx(*([note] for note in WECOM_NOTES), header, *rows, change=merge)


def upload(editor: User, content: bytes, **values: Any) -> PeopleImport:
    options: dict[str, Any] = {"corp": None, "match_by": "username", "clears_empty": False, **values}
    return jobs.request_import(editor=editor, file_name="people.xlsx", content=content, now=NOW, **options)


def upload_and_read(editor: User, content: bytes, **values: Any) -> PeopleImport:
    return finish_work(upload(editor, content, **values))


def finish_work(run: PeopleImport) -> PeopleImport:
    do_jobs()
    return PeopleImport.objects.get(pk=run.pk)


def confirm_and_write(run: PeopleImport, mode: str = "skip", by: User | None = None) -> PeopleImport:
    editor = by or run.requested_by
    assert editor is not None
    assert jobs.confirm_import(run=run, mode=mode, editor=editor, ip="192.0.2.7", now=NOW)
    return finish_work(run)


def read_changes(run: PeopleImport) -> list[tuple[int, list[list[Any]]]]:
    rows = ImportRow.objects.filter(run=run, outcome="change").order_by("number")
    return list(rows.values_list("number", "changes"))


def read_refusals(run: PeopleImport) -> list[tuple[int, str]]:
    rows = ImportRow.objects.filter(run=run, outcome="refused").order_by("number")
    return list(rows.values_list("number", "reason"))
