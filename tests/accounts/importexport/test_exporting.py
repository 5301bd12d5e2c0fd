"""Sheets of many people: asked for, made in the background, handed to nobody else, gone after a day."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import translation
from openpyxl import load_workbook

from accounts import tasks
from accounts.admin import imports
from accounts.importexport import jobs, writers
from accounts.models import AuditEntry, ExportFile, PeopleExport, User
from accounts.users.roles import Role
from integrations.models import Corp
from tests.accounts.conftest import make_person
from tests.accounts.importexport.files import NOW, uploaded
from tests.accounts.people import LIST, signed_in, with_role

SHEETS = "/admin/accounts/peopleexport/"
Status = PeopleExport.Status
# By the clock on the wall, which the pages and the tick look at.
BEFORE, LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def requested(reader: User, *people: User, language: str = "zh-hans") -> PeopleExport:
    return jobs.request_export(reader=reader, user_ids=[one.pk for one in people], language=language, now=NOW)


def made(export: PeopleExport, moment: Any = NOW) -> PeopleExport:
    jobs.make_export(export_id=export.pk, clock=lambda: moment)
    return PeopleExport.objects.get(pk=export.pk)


def usernames(content: bytes) -> list[str]:
    sheet: Any = load_workbook(io.BytesIO(content)).active
    return [row[0].value for row in sheet.iter_rows(min_row=2)]


class TestMaking:
    def test_holds_those_who_were_asked_for_in_the_language_of_the_page(self, editor: User, person: User) -> None:
        export = requested(editor, make_person("b"), person, language="en")
        make_person("later")

        with translation.override("zh-hans"):
            export = made(export)

        content = jobs.read_export_file(export=export, now=NOW)
        assert content is not None
        assert usernames(content) == ["lilei", "b"]
        head: Any = load_workbook(io.BytesIO(content)).active
        assert head["A1"].value == "username"
        assert (export.status, export.done_count, export.row_count) == (Status.DONE, 2, 2)
        assert (export.user_ids, export.lease_token, export.finished_at) == ([], "", NOW)

    def test_uploaded_again_changes_nothing(self, editor: User, corp: Corp, person: User) -> None:
        export = made(requested(editor, person, make_person("b")))

        content = jobs.read_export_file(export=export, now=NOW)

        assert content is not None
        assert uploaded(editor, content).counts == {"same": 2}

    def test_whom_one_does_not_see_any_more_is_left_out(
        self, limited: User, corp: Corp, other_corp: Corp, person: User
    ) -> None:
        stranger = make_person("stranger", other_corp, "stranger")

        content = jobs.read_export_file(export=made(requested(limited, person, stranger)), now=NOW)

        assert content is not None
        assert usernames(content) == ["lilei"]

    def test_who_may_import_no_more_gets_none(self, editor: User, person: User) -> None:
        export = requested(editor, person)
        editor.groups.clear()

        export = made(export)

        assert export.status == Status.FAILED
        assert not ExportFile.objects.exists()

    def test_a_killed_worker_s_is_begun_anew_and_given_up_after_three(
        self, editor: User, person: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class KilledError(Exception):
            """As if the worker were gone."""

        def die(*_args: object) -> None:
            raise KilledError

        export = requested(editor, person)
        with monkeypatch.context() as patched:
            patched.setattr("accounts.importexport.jobs.write_xlsx", die)
            with pytest.raises(KilledError):
                made(export)
        assert jobs.list_exports_to_queue(now=NOW) == []
        assert made(export).status == Status.RUNNING

        later = NOW + jobs.EXPORT_LEASE
        assert jobs.list_exports_to_queue(now=later) == [export.pk]
        assert made(export, later).status == Status.DONE

        PeopleExport.objects.update(status=Status.RUNNING, lease_until=NOW, try_count=jobs.EXPORT_TRIES)
        assert made(export).status == Status.FAILED

    def test_a_worker_that_was_overtaken_keeps_nothing(
        self, editor: User, person: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export, real = requested(editor, person), writers.write_xlsx

        def slow(sheet: Any) -> Any:
            PeopleExport.objects.update(lease_token="another")
            return real(sheet)

        monkeypatch.setattr("accounts.importexport.jobs.write_xlsx", slow)

        assert made(export).status == Status.RUNNING
        assert not ExportFile.objects.exists()

    def test_progress_is_told_by_the_thousand(self, editor: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("accounts.importexport.writers.STEP", 2)
        export = requested(editor, *(make_person(f"p{one}") for one in range(5)))
        seen = []

        def clock() -> Any:
            seen.append(PeopleExport.objects.get().done_count)
            return NOW

        jobs.make_export(export_id=export.pk, clock=clock)

        assert seen == [0, 0, 2, 4, 5]

    def test_after_a_day_it_is_gone(self, editor: User, person: User) -> None:
        export = made(requested(editor, person))
        last = NOW + timedelta(days=1)

        assert jobs.read_export_file(export=export, now=last - timedelta(seconds=1)) is not None
        assert jobs.read_export_file(export=export, now=last) is None
        assert jobs.delete_expired_exports(now=last - timedelta(seconds=1)) == 0
        assert jobs.delete_expired_exports(now=last) == 1
        assert not ExportFile.objects.exists()

    def test_the_tick_queues_what_waits_and_forgets_what_is_over(self, editor: User, person: User) -> None:
        export, over = requested(editor, person), requested(editor, person)
        PeopleExport.objects.filter(pk=export.pk).update(expires_at=LATER)
        PeopleExport.objects.filter(pk=over.pk).update(expires_at=BEFORE)

        tasks.people_import_tick()

        assert set(PeopleExport.objects.values_list("pk", "status")) == {(export.pk, Status.DONE)}
        assert not PeopleExport.objects.filter(pk=over.pk).exists()


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "AT_ONCE", 1)


@pytest.mark.usefixtures("few_at_once")
class TestThePages:
    def test_a_large_list_is_made_after_a_click_and_downloaded(
        self, editor: User, corp: Corp, person: User, django_capture_on_commit_callbacks: Any
    ) -> None:
        make_person("hanmei", corp, "hanmei")
        make_person("elsewhere")
        client, address = signed_in(editor), f"{LIST}export.xlsx?company={corp.pk}"

        question = client.get(address).content.decode()
        assert "将在后台生成 2 人的表格" in question
        assert not PeopleExport.objects.exists()
        with django_capture_on_commit_callbacks(execute=True):
            answer: Any = client.post(address)
        export = PeopleExport.objects.get()
        assert answer.headers["Location"] == f"{SHEETS}{export.pk}/change/"
        page = client.get(f"{SHEETS}{export.pk}/change/").content.decode()
        assert f"{SHEETS}{export.pk}/people.xlsx" in page
        assert client.get(f"{SHEETS}{export.pk}/state/").json()["is_unfinished"] is False
        file = client.get(f"{SHEETS}{export.pk}/people.xlsx")

        assert usernames(file.content) == ["lilei", "hanmei"]
        assert "attachment" in file.headers["Content-Disposition"]
        assert AuditEntry.objects.get(note__startswith="用户已导出为表格：").actor == editor

    def test_what_is_being_made_shows_its_progress(self, editor: User, person: User) -> None:
        export = requested(editor, person)
        PeopleExport.objects.update(status=Status.RUNNING, row_count=9, done_count=4, expires_at=LATER)
        client = signed_in(editor)

        state = client.get(f"{SHEETS}{export.pk}/state/").json()

        assert state["is_unfinished"] is True
        assert "已完成 4 / 9 人" in state["html"]
        answer: Any = client.get(f"{SHEETS}{export.pk}/people.xlsx")
        assert answer.headers["Location"] == f"{SHEETS}{export.pk}/change/"

    def test_a_list_beyond_one_sheet_is_cut_and_says_so(self, editor: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(imports, "ROWS_AT_MOST", 2)
        for number in range(3):
            make_person(f"p{number}")
        client = signed_in(editor)

        assert "超出一个表格的上限" in client.get(f"{LIST}export.xlsx").content.decode()
        client.post(f"{LIST}export.xlsx")
        assert PeopleExport.objects.get().row_count == 2

    def test_one_s_sheet_is_nobody_else_s(self, editor: User, person: User) -> None:
        export = made(requested(editor, person))
        PeopleExport.objects.update(expires_at=LATER)
        other = signed_in(User.objects.create(username="root", is_staff=True, is_superuser=True))

        assert other.get(f"{SHEETS}{export.pk}/people.xlsx").status_code == 404
        assert other.get(f"{SHEETS}{export.pk}/state/").status_code == 404
        assert signed_in(editor).get(f"{SHEETS}{export.pk}/people.xlsx").status_code == 200

    def test_the_link_needs_the_permission_and_its_day(self, editor: User, person: User) -> None:
        export = made(requested(editor, person))
        client = signed_in(editor)

        PeopleExport.objects.update(expires_at=BEFORE)
        assert client.get(f"{SHEETS}{export.pk}/people.xlsx").status_code == 404
        PeopleExport.objects.update(expires_at=LATER)
        assert client.get(f"{SHEETS}{export.pk}/people.xlsx").status_code == 200
        editor.groups.clear()
        assert client.get(f"{SHEETS}{export.pk}/people.xlsx").status_code == 403

    def test_without_the_permission_none_is_made(self, corp: Corp, person: User) -> None:
        client = signed_in(with_role("reader", Role.READ_ONLY, corp))

        assert client.post(f"{LIST}export.xlsx").status_code == 403
        assert not PeopleExport.objects.exists()
