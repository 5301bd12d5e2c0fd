"""Running imports: all or nothing, skipping, the trail, killed workers, and changes by others meanwhile."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.importexport import jobs
from accounts.models import Attribute, AuditEntry, ImportRow, PeopleImport, User, WeComAccount
from accounts.users.attributes import find_values, set_values
from accounts.users.roles import Role
from integrations.jobs.runner import JobRun
from integrations.models import Corp, Job
from tests.accounts.conftest import make_person
from tests.accounts.importexport.files import (
    NOW,
    confirm_and_write,
    csv_bytes,
    finish_work,
    read_changes,
    read_refusals,
    upload_and_read,
    wecom_file,
    wecom_row,
    xlsx,
)
from tests.accounts.people import signed_in, with_role
from tests.between import just_before
from tests.statements import count_statements

Status = PeopleImport.Status
HEADER = ["用户名", "姓名", "企业微信公司名称", "企业微信账号", "工号", "区域"]


def accounts_of(user: User) -> list[tuple[str | None, str, str, bool]]:
    rows = WeComAccount.objects.filter(user=user).order_by("pk")
    return list(rows.values_list("corp__name", "userid", "userid_folded", "is_primary"))


@pytest.fixture
def hanmei(db: None) -> User:
    return make_person("hanmei")


@pytest.fixture
def sheet(corp: Corp, person: User, hanmei: User, number: Attribute, region: Attribute) -> bytes:
    return xlsx(
        HEADER,
        ["lilei", "李雷雷", corp.name, "LiLei2", "A1", "华东;华北"],
        ["hanmei", "韩梅梅", corp.name, "HanMei", "A2", ""],
    )


class TestWriting:
    @pytest.mark.parametrize("mode", ["all", "skip"])
    def test_everything_that_was_shown_is_written(
        self,
        editor: User,
        corp: Corp,
        person: User,
        hanmei: User,
        number: Attribute,
        region: Attribute,
        sheet: bytes,
        mode: str,
    ) -> None:
        run = confirm_and_write(upload_and_read(editor, sheet), mode)

        assert (run.status, run.counts) == (Status.DONE, {"same": 0, "applied": 2})
        assert run.confirmed_at == NOW
        person.refresh_from_db()
        hanmei.refresh_from_db()
        assert (person.name, hanmei.name) == ("李雷雷", "韩梅梅")
        assert accounts_of(person) == [("北山制造", "LiLei2", "lilei2", True)]
        assert accounts_of(hanmei) == [("北山制造", "HanMei", "hanmei", True)]
        assert find_values(attribute=number) == {person.pk: ["A1"], hanmei.pk: ["A2"]}
        assert find_values(attribute=region) == {person.pk: ["华东", "华北"]}

    def test_the_trail_names_the_administrator_and_the_company(
        self, editor: User, corp: Corp, hanmei: User, sheet: bytes
    ) -> None:
        confirm_and_write(upload_and_read(editor, sheet))

        entries = AuditEntry.objects.filter(actor=editor).order_by("pk")
        said = {(entry.subject, entry.action, str(entry.changes)) for entry in entries}
        assert ("hanmei / HanMei", "created", "[['corp', None, '北山制造'], ['userid', None, 'HanMei']]") in said
        assert ("李雷雷 (lilei)", "changed", "[['name', '李雷', '李雷雷']]") in said
        assert ("李雷雷 (lilei)", "changed", "[['区域', None, '华东; 华北']]") in said
        assert ("lilei / LiLei2", "changed", "[['userid', 'LiLei', 'LiLei2']]") in said
        assert {entry.corp_id for entry in entries if "lilei" in entry.subject} == {corp.pk}
        assert {entry.ip for entry in entries} == {"192.0.2.7"}

    def test_who_has_confirmed_and_may_no_more_writes_nothing(self, editor: User, person: User, sheet: bytes) -> None:
        chief = with_role("chief", Role.SYSTEM_ADMINISTRATOR)
        run = upload_and_read(editor, sheet)
        assert jobs.confirm_import(run=run, mode="skip", editor=chief, ip=None, now=NOW)
        User.objects.filter(pk=chief.pk).update(is_staff=False)

        run = finish_work(run)

        person.refresh_from_db()
        assert (run.status, run.reason, person.name) == (Status.STOPPED, "confirmer_not_allowed", "李雷")

    def test_an_account_of_a_second_company_does_not_receive_messages(
        self, editor: User, corp: Corp, other_corp: Corp, person: User
    ) -> None:
        confirm_and_write(upload_and_read(editor, wecom_file(wecom_row("李雷", "lilei")), corp=other_corp))

        assert accounts_of(person) == [("北山制造", "LiLei", "lilei", True), ("南湖贸易", "lilei", "lilei", False)]

    def test_accounts_of_many_are_made_in_as_many_queries_as_those_of_a_few(self, editor: User, corp: Corp) -> None:
        User.objects.bulk_create(User(username=f"p{one}") for one in range(44))
        counts = []
        for some in (range(2), range(2, 44)):
            rows = ([f"p{one}", corp.name, f"u{one}"] for one in some)
            run = upload_and_read(editor, csv_bytes(["用户名", "企业微信公司名称", "企业微信账号"], *rows))
            counts.append(count_statements(confirm_and_write, run))

        assert counts[0] == counts[1]
        assert WeComAccount.objects.filter(is_primary=True).count() == 44

    def test_refused_rows_are_skipped(self, editor: User, person: User) -> None:
        run = upload_and_read(editor, csv_bytes(["用户名", "姓名"], ["nobody", "x"], ["lilei", "李"]))

        assert not jobs.confirm_import(run=run, mode="all", editor=editor, ip=None, now=NOW)
        assert not jobs.confirm_import(run=run, mode="nonsense", editor=editor, ip=None, now=NOW)
        run = confirm_and_write(run, "skip")

        person.refresh_from_db()
        assert person.name == "李"
        assert run.counts == {"same": 0, "applied": 1, "refused": 1}

    def test_a_no_changes_nothing(self, editor: User, person: User, sheet: bytes) -> None:
        run = upload_and_read(editor, sheet)

        assert jobs.discard_import(run=run, now=NOW)
        assert not jobs.confirm_import(run=run, mode="all", editor=editor, ip=None, now=NOW)
        assert not jobs.discard_import(run=run, now=NOW)
        run = finish_work(run)

        assert run.status == Status.DISCARDED
        assert read_changes(run) != []
        person.refresh_from_db()
        assert person.name == "李雷"

    def test_old_rows_are_forgotten_and_counts_stay(self, editor: User, sheet: bytes) -> None:
        run = upload_and_read(editor, sheet)

        assert jobs.delete_old_rows(now=NOW + timedelta(days=90)) == 0
        assert jobs.delete_old_rows(now=NOW + timedelta(days=90, seconds=1)) == 2
        run.refresh_from_db()
        assert run.counts == {"same": 0, "change": 2}


class TestWhoseRightsCount:
    """A superuser's file, which changes somebody whom an administrator may not change."""

    @pytest.fixture
    def file(self, corp: Corp, person: User) -> bytes:
        make_person("boss", corp, "boss", is_staff=True, is_superuser=True)
        return csv_bytes(["用户名", "姓名"], ["boss", "别人"], ["lilei", "李雷雷"])

    @pytest.mark.parametrize("is_job_of_reading_first", [True, False])
    def test_of_who_confirms_even_if_the_job_of_the_reading_writes(
        self, root: User, editor: User, person: User, file: bytes, is_job_of_reading_first: bool
    ) -> None:
        run = upload_and_read(root, file)
        # The worker died between finishing the reading and finishing the job.
        reading = Job.objects.filter(asked_by_id=root.pk)
        reading.update(status="running", lease_token="dead", due_at=NOW, finished_at=None)
        assert jobs.confirm_import(run=run, mode="skip", editor=editor, ip="192.0.2.8", now=NOW)
        if not is_job_of_reading_first:
            reading.update(status="done")

        run = finish_work(run)

        person.refresh_from_db()
        assert (run.status, person.name, read_refusals(run)) == (Status.DONE, "李雷雷", [(2, "nobody")])
        assert (run.confirmed_by, run.confirmed_by_name, run.requested_by) == (editor, "editor", root)
        assert not Job.objects.exclude(file=None).exists()
        entry = AuditEntry.objects.get(object_id=person.pk, changes=[["name", "李雷", "李雷雷"]])
        assert (entry.actor, entry.ip) == (editor, "192.0.2.8")
        assert set(Job.objects.values_list("status", flat=True)) == {"done"}


class TestGivenUp:
    def break_down(self, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
        def broken(*_args: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr(jobs, function, broken)

    def try_out(self, run: PeopleImport) -> PeopleImport:
        """Run after each ended lease, until the import is given up."""
        for _try in range(5):
            Job.objects.unfinished().update(due_at=NOW)
            run = finish_work(run)
        return run

    def test_an_import_ends_with_its_file(self, editor: User, sheet: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self.break_down(monkeypatch, "_read_step")
        run = upload_and_read(editor, sheet)
        assert (run.status, Job.objects.exclude(file=None).count()) == (Status.WAITING, 1)

        run = self.try_out(run)

        assert (run.status, run.reason, Job.objects.exclude(file=None).count()) == (Status.STOPPED, "gave_up", 0)
        assert run.finished_at is not None
        job, client = Job.objects.get(), signed_in(editor)
        assert job.status == "failed"
        page = client.get(f"/admin/accounts/peopleimport/{run.pk}/change/").text
        assert "已尝试多次" in page
        # An import that was given up cannot be retried.
        assert f"/admin/integrations/job/{job.pk}/retry/" not in page

    def test_a_writing_ends_and_says_so(self, editor: User, sheet: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        run = upload_and_read(editor, sheet)
        self.break_down(monkeypatch, "_write_step")
        assert confirm_and_write(run).status == Status.CONFIRMED

        run = self.try_out(run)

        assert (run.status, run.reason) == (Status.STOPPED, "gave_up")

    def test_an_import_that_another_job_goes_on_with_stays(self, editor: User, person: User, sheet: bytes) -> None:
        run = upload_and_read(editor, sheet)
        Job.objects.update(status="running", lease_token="dead", due_at=NOW, finished_at=None, try_count=5)

        run = confirm_and_write(run)

        person.refresh_from_db()
        assert (run.status, person.name) == (Status.DONE, "李雷雷")


class TestAWorldThatChangesMeanwhile:
    @pytest.fixture
    def taken(self, editor: User, number: Attribute, sheet: bytes) -> PeopleImport:
        """An import of two people, whose second person's number somebody else got after it was read."""
        run = upload_and_read(editor, sheet)
        set_values(attribute=number, values={make_person("jim").pk: ["a2"]})
        return run

    def test_all_or_nothing_is_nothing(self, editor: User, person: User, hanmei: User, taken: PeopleImport) -> None:
        run = confirm_and_write(taken, "all")

        person.refresh_from_db()
        assert (person.name, accounts_of(hanmei)) == ("李雷", [])
        assert (run.status, run.reason, run.words) == (Status.STOPPED, "row_refused", {"row": 3})
        assert run.counts == {"same": 0, "change": 1, "refused": 1}
        assert read_refusals(run) == [(3, "value_taken")]
        assert not AuditEntry.objects.filter(actor=editor, model="accounts.user").exists()

    def test_skipping_leaves_the_row_and_writes_the_rest(self, person: User, hanmei: User, taken: PeopleImport) -> None:
        run = confirm_and_write(taken, "skip")

        person.refresh_from_db()
        assert (person.name, accounts_of(hanmei)) == ("李雷雷", [])
        assert run.counts == {"same": 0, "applied": 1, "refused": 1}

    def test_what_is_no_more_what_was_shown_and_who_is_gone_is_left(
        self, editor: User, person: User, hanmei: User, sheet: bytes
    ) -> None:
        run = upload_and_read(editor, sheet)
        User.objects.filter(pk=person.pk).update(name="别人改的")
        hanmei.delete()

        run = confirm_and_write(run, "skip")

        person.refresh_from_db()
        assert person.name == "别人改的"
        assert read_refusals(run) == [(2, "changed_meanwhile"), (3, "nobody")]

    def test_an_account_taken_between_look_and_writing_is_seen_at_the_second_try(
        self, editor: User, corp: Corp, person: User, hanmei: User, sheet: bytes
    ) -> None:
        run = upload_and_read(editor, sheet)

        with just_before('^INSERT INTO "accounts_wecomaccount"', lambda: make_person("jim", corp, "hanmei")):
            run = confirm_and_write(run, "skip")

        # The other account was rolled back with our failed step, so the second try succeeds.
        assert run.counts == {"same": 0, "applied": 2}


class TestKilledWorkers:
    def later(self, run: PeopleImport) -> PeopleImport:
        assert finish_work(run).status == run.status
        Job.objects.update(due_at=NOW)
        return finish_work(run)

    def break_at(self, monkeypatch: pytest.MonkeyPatch, function: str, times: int) -> None:
        """Let the worker die at the `times`th call: no code of ours runs after it."""
        real, calls = getattr(jobs, function), []

        def dying(*args: Any, **kwargs: Any) -> Any:
            calls.append(True)
            if len(calls) == times:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        monkeypatch.setattr(jobs, function, dying)

    def test_a_reading_begins_anew(self, editor: User, sheet: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jobs, "STEP", 1)
        with monkeypatch.context() as patch:
            self.break_at(patch, "_read_step", 2)
            with pytest.raises(KeyboardInterrupt):
                upload_and_read(editor, sheet)
        run = PeopleImport.objects.get()
        assert (run.status, run.row_count) == (Status.WAITING, 1)

        run = self.later(run)

        assert (run.status, run.row_count, run.counts) == (Status.UNCONFIRMED, 2, {"same": 0, "change": 2})
        assert [number for number, _changes in read_changes(run)] == [2, 3]

    def test_a_skipping_one_goes_on_behind_the_last_step(
        self, editor: User, sheet: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "STEP", 1)
        run = upload_and_read(editor, sheet)
        with monkeypatch.context() as patch:
            self.break_at(patch, "_write_step", 2)
            with pytest.raises(KeyboardInterrupt):
                confirm_and_write(run, "skip")
        run.refresh_from_db()
        assert (run.status, run.counts["applied"]) == (Status.CONFIRMED, 1)

        run = self.later(run)

        assert (run.status, run.counts) == (Status.DONE, {"same": 0, "applied": 2})
        assert AuditEntry.objects.filter(actor=editor, changes=[["name", "李雷", "李雷雷"]]).count() == 1

    def test_all_or_nothing_leaves_nothing_half_done(
        self, editor: User, person: User, sheet: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "STEP", 1)
        run = upload_and_read(editor, sheet)
        with monkeypatch.context() as patch:
            self.break_at(patch, "_write_step", 2)
            with pytest.raises(KeyboardInterrupt):
                confirm_and_write(run, "all")
        person.refresh_from_db()
        run.refresh_from_db()
        assert (run.status, person.name, run.counts) == (Status.CONFIRMED, "李雷", {"same": 0, "change": 2})

        run = self.later(run)

        person.refresh_from_db()
        job = Job.objects.get(status="done", asked_by_id=editor.pk, total_count=2)
        assert (run.status, person.name, job.done_count) == (Status.DONE, "李雷雷", 2)

    def test_whom_another_worker_has_overtaken_writes_nothing(
        self, editor: User, person: User, sheet: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = upload_and_read(editor, sheet)
        real = jobs._find_next_rows

        def slow(run: JobRun) -> list[ImportRow]:
            Job.objects.filter(pk=run.job.pk).update(lease_token="another")
            return real(run)

        monkeypatch.setattr(jobs, "_find_next_rows", slow)
        run = confirm_and_write(run, "skip")

        person.refresh_from_db()
        assert (run.status, person.name) == (Status.CONFIRMED, "李雷")
