"""Sheets of many people: requested, made in the background, shown to their owner only, and gone after a day."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.utils import timezone, translation
from openpyxl import load_workbook

from accounts.admin import imports
from accounts.importexport import jobs, sheets
from accounts.models import AuditEntry, User
from integrations.models import Corp, Job, JobFile
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, signed_in
from tests.jobs import do_jobs


def make_sheet(reader: User, *people: User, language: str = "zh-hans") -> Job:
    keys = [one.pk for one in people]
    job = jobs.request_export(reader=reader, user_ids=keys, language=language, now=timezone.now())
    do_jobs()
    return Job.objects.get(pk=job.pk)


def download(person: User, job: Job) -> Any:
    return signed_in(person).get(f"{LIST}export/{job.pk}/people.xlsx")


def usernames(content: bytes) -> list[str]:
    sheet: Any = load_workbook(io.BytesIO(content)).active
    return [row[0].value for row in sheet.iter_rows(min_row=2)]


def test_a_sheet_holds_those_who_were_asked_for_in_the_language_of_the_page(editor: User, person: User) -> None:
    with translation.override("zh-hans"):
        job = make_sheet(editor, make_person("b"), person, language="en")

    content = bytes(job.file.content)
    assert usernames(content) == ["lilei", "b"]
    first: Any = load_workbook(io.BytesIO(content)).active
    assert first["A1"].value == "username"
    assert (job.status, job.done_count, job.total_count, job.result) == ("done", 2, 2, {"count": 2})


def test_a_worker_that_was_overtaken_keeps_nothing(editor: User, person: User, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sheets.write_xlsx

    def slow(sheet: Any) -> Any:
        Job.objects.update(lease_token="another")
        return real(sheet)

    monkeypatch.setattr(jobs, "write_xlsx", slow)

    assert make_sheet(editor, person).status == "running"
    assert not JobFile.objects.exists()


def test_a_large_list_is_made_after_a_click_and_downloaded_by_who_asked_while_they_may(
    editor: User, corp: Corp, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "AT_ONCE", 1)
    make_person("hanmei", corp, "hanmei")
    make_person("elsewhere")
    client, address = signed_in(editor), f"{LIST}export.xlsx?company={corp.pk}"

    assert "将在后台生成 2 人的表格" in client.get(address).content.decode()
    assert not Job.objects.exists()
    answer: Any = client.post(address)
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/admin/integrations/job/{job.pk}/change/"
    assert download(editor, job).status_code == 404
    do_jobs()
    assert f"{LIST}export/{job.pk}/people.xlsx" in client.get(f"/admin/integrations/job/{job.pk}/change/").text
    file = download(editor, job)

    assert usernames(file.content) == ["lilei", "hanmei"]
    assert "attachment" in file.headers["Content-Disposition"]
    assert AuditEntry.objects.get(note__startswith="用户已导出为表格：").actor == editor
    editor.groups.clear()
    assert download(editor, job).status_code == 403


def test_a_sheet_that_is_made_anew_or_over_is_not_handed_out(editor: User, person: User) -> None:
    for changes in ({"status": "waiting", "result": {}}, {"forget_at": timezone.now()}):
        job = make_sheet(editor, person)
        assert download(editor, job).status_code == 200
        Job.objects.filter(pk=job.pk).update(**changes)

        assert download(editor, job).status_code == 404


def test_a_list_beyond_one_sheet_is_cut_and_says_so_and_of_strangers_nobody_stands_there(
    limited: User, corp: Corp, other_corp: Corp, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave out people who became invisible after the request."""
    monkeypatch.setattr(imports, "AT_ONCE", 1)
    monkeypatch.setattr(imports, "ROWS_AT_MOST", 2)
    for number in range(3):
        make_person(f"p{number}", corp, f"p{number}")
    make_person("stranger", other_corp, "stranger")
    client = signed_in(limited)

    assert "超出一个表格的上限" in client.get(f"{LIST}export.xlsx").content.decode()
    client.post(f"{LIST}export.xlsx")
    job = Job.objects.get()
    assert len(job.payload["user_ids"]) == 2
    stranger, seen = User.objects.get(username="stranger"), person
    assert usernames(bytes(make_sheet(limited, seen, stranger).file.content)) == ["lilei"]


def test_without_the_permission_no_sheet_is_made(editor: User, person: User) -> None:
    editor.groups.clear()
    job = make_sheet(editor, person)
    assert (job.status, job.problem) == ("failed", "not_allowed")
    assert not JobFile.objects.exists()
