"""Downloaded sheets: they contain no formula, and change nothing when uploaded again."""

import io
from typing import Any, cast

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from openpyxl import load_workbook

from accounts.admin import imports
from accounts.importexport import jobs, sheets
from accounts.importexport.sheets import PeopleSheet, make_csv_response, write_xlsx
from accounts.models import Attribute, AuditEntry, User, WeComAccount
from accounts.users.attributes import set_values
from integrations.jobs.requests import request_job
from integrations.models import Corp, Job
from tests.accounts.conftest import make_person
from tests.accounts.importexport.files import upload_and_read
from tests.accounts.people import LIST, signed_in
from tests.jobs import do_jobs

DANGEROUS = ["=1+1", "+1", "-1", "@x", "'=1", "''-1", '=HYPERLINK("http://x")', "1.5", "00123", "a;b", '"', "甲,乙"]


def xlsx_of(sheet: PeopleSheet) -> bytes:
    with write_xlsx(sheet) as file:
        return file.read()


def csv_of(sheet: PeopleSheet) -> bytes:
    return make_csv_response("people.csv", [sheet.list_titles(), *sheet.iterate_rows()]).getvalue()


def keys_of(people: QuerySet[User]) -> list[int]:
    return list(people.values_list("pk", flat=True))


@pytest.fixture
def people(corp: Corp, person: User, number: Attribute, region: Attribute, login: Attribute) -> None:
    """People with every value that Excel could spoil."""
    note = Attribute.objects.create(key="note", name="备注")
    amount = Attribute.objects.create(key="amount", name="额度", kind="number")
    for index, text in enumerate(DANGEROUS):
        who = make_person(
            f"p{index}", corp, f"U{index}", name=text, email=f"p{index}@example.com", mobile="013800138000"
        )
        set_values(attribute=note, values={who.pk: [text]})
        set_values(attribute=number, values={who.pk: [f"00{index}"]})
        set_values(attribute=amount, values={who.pk: [str(-index)]})
    set_values(attribute=region, values={person.pk: ["华东", "华北"]})
    set_values(attribute=login, values={person.pk: ["lilei@bi"]})
    make_person("half", None, "only-userid")
    WeComAccount.objects.create(user=make_person("company-only"), corp=corp)


@pytest.mark.usefixtures("people")
class TestBackAgain:
    @pytest.mark.parametrize("language", ["zh-hans", "en"])
    @pytest.mark.parametrize("make", [xlsx_of, csv_of])
    @pytest.mark.parametrize("clears_empty", [False, True])
    def test_an_export_changes_nothing(self, editor: User, language: str, make: Any, clears_empty: bool) -> None:
        with translation.override(language):
            content = make(PeopleSheet(people=keys_of(User.objects.all()), reader=editor))
        User.objects.filter(pk=editor.pk).update(is_staff=False, is_superuser=False)
        superuser = User.objects.create(username="zz", is_staff=True, is_superuser=True)

        run = upload_and_read(superuser, content, clears_empty=clears_empty)

        assert (run.status, run.counts) == ("asking", {"same": len(DANGEROUS) + 4})

    def test_gbk_as_excel_saves_it_changes_nothing_either(self, editor: User) -> None:
        content = csv_of(PeopleSheet(people=keys_of(User.objects.exclude(pk=editor.pk)), reader=editor))
        assert content.startswith(b"\xef\xbb\xbf")  # Excel recognises UTF-8 by this

        run = upload_and_read(editor, content.decode("utf-8-sig").encode("gbk"))

        assert run.counts == {"same": len(DANGEROUS) + 3}

    def test_who_sees_some_companies_gets_their_people(self, limited: User, other_corp: Corp) -> None:
        stranger = make_person("stranger", other_corp, "stranger")
        WeComAccount.objects.create(
            user=stranger, corp=Corp.objects.get(name="北山制造"), userid="both", is_primary=False
        )

        rows = list(PeopleSheet(people=[stranger.pk], reader=limited).iterate_rows())

        assert [row[4:6] for row in rows] == [["", ""]]
        assert PeopleSheet(people=[stranger.pk], reader=limited).companies == ["北山制造"]


class TestXlsx:
    @pytest.mark.usefixtures("people")
    def test_no_cell_is_a_formula_or_a_number(self, editor: User) -> None:
        make_person("odd", name="a\x07b")
        book = load_workbook(io.BytesIO(xlsx_of(PeopleSheet(people=keys_of(User.objects.all()), reader=editor))))

        cells = [cell for row in book.worksheets[0].iter_rows() for cell in row if cell.value is not None]
        assert {cell.data_type for cell in cells} == {"s"}
        assert {cell.number_format for cell in cells} == {"@"}
        assert {"=1+1", "00123", "+1", "ab"} <= {cell.value for cell in cells}

    def test_companies_and_choices_are_lists_to_choose_from(
        self, editor: User, corp: Corp, other_corp: Corp, region: Attribute
    ) -> None:
        Attribute.objects.create(key="level", name="级别", kind="choice", choices=["=高", "低"])
        book = load_workbook(io.BytesIO(xlsx_of(PeopleSheet(people=keys_of(User.objects.all()), reader=editor))))

        people, lists = book.worksheets
        titles = [cell.value for cell in people[1]]
        found = {
            titles[next(iter(cast("Any", rule.sqref).ranges)).min_col - 1]: (rule.formula1, rule.showErrorMessage)
            for rule in people.data_validations.dataValidation
        }
        assert found == {
            "企业微信公司名称": ("lists!$A$1:$A$2", True),
            "区域": ("lists!$B$1:$B$3", False),
            "级别": ("lists!$C$1:$C$2", True),
        }
        assert [[cell.value for cell in row] for row in lists] == [
            ["北山制造", "华东", "=高"],
            ["南湖贸易", "华北", "低"],
            [None, "East", None],
        ]
        assert (lists.sheet_state, lists["C1"].data_type) == ("hidden", "s")


def test_the_queries_grow_with_the_thousands_only(editor: User, corp: Corp, number: Attribute) -> None:
    made = User.objects.bulk_create(User(username=f"p{one}") for one in range(60))
    WeComAccount.objects.bulk_create(
        WeComAccount(user=one, corp=corp, userid=one.username, userid_folded=one.username) for one in made
    )
    counts = []

    for some in (made[:2], made):
        sheet = PeopleSheet(people=[one.pk for one in some], reader=editor)
        with CaptureQueriesContext(connection) as queries:
            assert len(list(sheet.iterate_rows())) == len(some)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def make_sheet(reader: User, *people: User, language: str = "zh-hans") -> Job:
    keys = [one.pk for one in people]
    payload = {"user_ids": keys, "language": language}
    job = request_job(jobs.EXPORT_KIND, payload=payload, subject=len(keys), by=reader, now=timezone.now())
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

    content = bytes(job.file or b"")
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
    assert not Job.objects.exclude(file=None).exists()


def test_a_large_list_is_made_after_a_click_and_downloaded_by_who_asked_while_they_may(
    editor: User, corp: Corp, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PEOPLE_AT_ONCE", 1)
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
    assert AuditEntry.objects.get(note__startswith="人员已导出为表格：").actor == editor
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
    monkeypatch.setattr(imports, "PEOPLE_AT_ONCE", 1)
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
    assert usernames(bytes(make_sheet(limited, seen, stranger).file or b"")) == ["lilei"]


def test_without_the_permission_no_sheet_is_made(editor: User, person: User) -> None:
    editor.groups.clear()
    job = make_sheet(editor, person)
    assert (job.status, job.problem) == ("failed", "not_allowed")
    assert not Job.objects.exclude(file=None).exists()
