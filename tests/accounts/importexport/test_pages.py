"""The pages of imports and downloads."""

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone, translation

from accounts.admin import imports
from accounts.explanations import explain_import
from accounts.importexport import jobs, planner, sheets
from accounts.importexport.sheets import name_column, read_attribute_names
from accounts.models import Attribute, AuditEntry, ImportRow, PeopleImport, User
from accounts.users.roles import Role
from integrations.models import Corp, Job
from tests.accounts.conftest import make_person
from tests.accounts.importexport.files import csv_bytes, upload_and_read, wecom_file, wecom_row
from tests.accounts.people import LIST, signed_in, with_role
from tests.jobs import do_jobs

IMPORTS = "/admin/accounts/peopleimport/"
HEADER = ["用户名", "姓名"]
Status = PeopleImport.Status


def upload(client: Client, content: bytes, name: str = "people.csv", **values: Any) -> Any:
    sent = {"file": SimpleUploadedFile(name, content), "match_by": "username", **values}
    return client.post(f"{IMPORTS}add/", sent)


def page_of(run: PeopleImport) -> str:
    return f"{IMPORTS}{run.pk}/change/"


def answer(client: Client, run: PeopleImport, word: str) -> Any:
    return client.post(f"{IMPORTS}{run.pk}/answer/", {"answer": word}, follow=True)


class TestWhereNobodyIsYet:
    """An import with nobody to match. It creates nobody: the page says what to do first, with a link."""

    def test_a_company_is_to_be_connected_first(self, root: User) -> None:
        run = upload_and_read(root, csv_bytes(HEADER, ["lilei", "李雷"]))
        without_company = upload_and_read(root, csv_bytes(["姓名", "账号"], ["李雷", "lilei"]))
        client = signed_in(root)

        pages = [client.get(path).text for path in (f"{IMPORTS}add/", page_of(run), page_of(without_company))]

        for page in pages:
            assert (
                '公司的通讯录会自动新建人员：<a href="/admin/integrations/corp/">请先接入企业微信公司并启用</a>' in page
            )
        assert "没有匹配到您有权修改的人员。如需新建，请在上传文件时勾选“新建缺少的人员”。" in pages[1]
        assert "文件中没有说明账号属于哪家公司" in pages[2]

    def test_then_its_directory_is_to_be_read(self, editor: User, corp: Corp) -> None:
        corp.is_enabled = True
        corp.save()
        start = f"/admin/integrations/syncrun/start/{corp.pk}/"

        assert f'<a href="{start}">立即同步通讯录</a>' in signed_in(editor).get(f"{IMPORTS}add/").text
        everybody_is_here = upload_and_read(editor, csv_bytes(HEADER, [editor.username, "李"]))
        assert "用户由公司的通讯录创建" not in signed_in(editor).get(page_of(everybody_is_here)).text


class TestUploading:
    def test_leads_to_the_page_of_the_import_and_on_to_its_end(self, editor: User, corp: Corp) -> None:
        person, client = make_person("hanmei"), signed_in(editor)

        response = upload(client, wecom_file(wecom_row("韩梅梅", "HanMei")), "通讯录.xlsx", corp=corp.pk)
        do_jobs()

        run = PeopleImport.objects.get()
        assert response.headers["Location"] == page_of(run)
        assert (run.file_name, run.corp, run.requested_by, run.status) == (
            "通讯录.xlsx",
            corp,
            editor,
            Status.UNCONFIRMED,
        )
        text = client.get(page_of(run)).content.decode()
        assert "<ins>HanMei</ins>" in text
        assert "修改 1 人：全部成功才生效" in text
        assert "<dt>已修改</dt><dd>0</dd>" in text
        assert "<dt>未通过</dt><dd>0</dd>" in text

        answer(client, run, "all")
        do_jobs()

        run.refresh_from_db()
        assert run.status == Status.DONE
        assert person.wecom_accounts.get().userid == "HanMei"
        assert "完成" in client.get(page_of(run)).content.decode()
        notes = AuditEntry.objects.filter(model="accounts.peopleimport").order_by("pk").values_list("note", flat=True)
        assert list(notes) == ["已上传待导入。", "已确认。"]

    def test_nonsense_is_refused_at_its_field(
        self, limited: User, other_corp: Corp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = signed_in(limited)

        def errors(content: bytes = csv_bytes(HEADER), **values: Any) -> dict[str, list[str]]:
            return dict(upload(client, content, **values).context["form"].errors)

        assert list(errors(match_by="name")) == ["match_by"]
        # Neither a company that does not exist, nor an invisible one.
        assert list(errors(corp="999999")) == list(errors(corp=other_corp.pk)) == ["corp"]
        assert list(errors(file="")) == list(errors(b"")) == ["file"]
        monkeypatch.setattr(imports, "FILE_BYTES", 10)
        assert errors() == {"file": ["文件超过 20 MB，请拆分后再上传。"]}
        assert not PeopleImport.objects.exists()


class TestTheResult:
    def test_says_why_the_file_was_refused(self, editor: User) -> None:
        run = upload_and_read(editor, b"PK\x03\x04")

        text = signed_in(editor).get(page_of(run)).content.decode()

        assert "无法读取该 xlsx 文件" in text
        assert '/admin/accounts/peopleimport/add/">上传另一个文件…' in text
        assert "answer" not in text

    def test_refused_rows_say_why_and_are_offered_to_be_skipped_only(self, editor: User, person: User) -> None:
        run = upload_and_read(editor, csv_bytes(HEADER, ["<b>nobody</b>", "x"], ["lilei", "李"]))
        client = signed_in(editor)

        text = client.get(page_of(run)).content.decode()

        assert "没有匹配到您有权修改的人员。" in text
        assert "&lt;b&gt;nobody&lt;/b&gt;" in text
        assert ('value="skip"' in text, 'value="all"' in text) == (True, False)
        assert "<ins>李</ins>" in client.get(page_of(run), {"show": "change"}).content.decode()
        assert '<td class="field-refused_count">1</td>' in client.get(IMPORTS).content.decode()
        assert "该导入已不再等待确认。" in answer(client, run, "all").content.decode()
        run.refresh_from_db()
        assert run.status == Status.UNCONFIRMED

    def test_rows_come_a_hundred_at_a_time(self, editor: User) -> None:
        run = upload_and_read(editor, csv_bytes(HEADER, *([f"nobody{one}", "x"] for one in range(250))))
        client = signed_in(editor)

        pages = [client.get(page_of(run), {"p": number}).content.decode() for number in ("", "3", "99", "x")]

        assert [page.count("没有匹配到您有权修改的人员。") for page in pages] == [100, 50, 50, 100]
        assert "1 / 3" in pages[0]

    def test_the_state_follows_the_work(self, editor: User, person: User) -> None:
        client = signed_in(editor)
        run = upload_and_read(editor, csv_bytes(HEADER, ["lilei", "李"]))
        Job.objects.update(status="running")
        reading = client.get(f"{IMPORTS}{run.pk}/state/").json()
        Job.objects.update(status="done")
        shown = client.get(f"{IMPORTS}{run.pk}/state/").json()

        assert (reading["is_unfinished"], reading["parts"]["import-rows"]) == (True, "")
        assert "<progress" in reading["html"]
        assert shown["is_unfinished"] is False
        assert "<ins>李</ins>" in shown["parts"]["import-rows"]

    def test_refused_rows_can_be_put_right_and_uploaded_again(self, editor: User, person: User) -> None:
        run = upload_and_read(editor, csv_bytes([*HEADER, "备注"], ["=cmd", "x", "n"], ["LILEY", "李", "n"]))

        response: Any = signed_in(editor).get(f"{IMPORTS}{run.pk}/refused.csv")
        content = b"".join(response.streaming_content)

        table = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        why = "没有匹配到您有权修改的人员。如需新建，请在上传文件时勾选“新建缺少的人员”。"
        assert table == [["行", "原因", *HEADER], ["2", why, "'=cmd", "x"], ["3", why, "LILEY", "李"]]
        again = upload_and_read(editor, content.replace(b"LILEY", b"lilei"))
        assert again.counts == {"same": 0, "change": 1, "refused": 1}

    def test_old_imports_say_that_their_rows_are_gone(self, editor: User, person: User) -> None:
        run = upload_and_read(editor, csv_bytes(HEADER, ["lilei", "李"]))
        jobs.delete_old_rows(now=timezone.now() + timedelta(days=9999))

        assert "较早的导入不再保留明细。" in signed_in(editor).get(page_of(run)).content.decode()

    def test_others_files_are_seen_by_those_who_see_everybody(self, editor: User, limited: User, corp: Corp) -> None:
        second = with_role("second", Role.SYSTEM_ADMINISTRATOR, corp)
        run = upload_and_read(limited, csv_bytes(HEADER, ["nobody", "x"]))

        assert signed_in(editor).get(page_of(run)).status_code == 200
        assert signed_in(limited).get(page_of(run)).status_code == 200
        assert signed_in(second).get(page_of(run)).status_code == 302
        for page in ("state/", "refused.csv"):
            assert signed_in(second).get(f"{IMPORTS}{run.pk}/{page}").status_code == 404
        assert answer(signed_in(second), run, "discard").status_code == 404
        run.refresh_from_db()
        assert run.status == Status.UNCONFIRMED
        assert list(signed_in(second).get(IMPORTS).context["cl"].result_list) == []


class TestDownloads:
    def test_hold_the_people_of_the_list(self, editor: User, corp: Corp, other_corp: Corp, person: User) -> None:
        make_person("stranger", other_corp, "stranger")
        client = signed_in(editor)

        page: Any = client.get(f"{LIST}export.csv", {"company": corp.pk})
        rows = list(csv.DictReader(io.StringIO(b"".join(page.streaming_content).decode("utf-8-sig"))))

        assert [(row["用户名"], row["企业微信公司名称"], row["企业微信账号"]) for row in rows] == [
            ("lilei", "北山制造", "LiLei")
        ]
        assert "attachment" in page.headers["Content-Disposition"]

    def test_are_noted_in_the_trail(self, editor: User) -> None:
        response: Any = signed_in(editor).get(f"{LIST}export.xlsx")

        assert b"".join(response.streaming_content)[:2] == b"PK"
        entry = AuditEntry.objects.get(action="done")
        assert entry.note == f"人员已导出为表格：{User.objects.count()} 人。"
        trail = signed_in(with_role("reader", Role.READ_ONLY)).get("/admin/accounts/auditentry/").content.decode()
        assert entry.note in trail
        assert "未知用户名" not in trail

    def test_are_linked_with_the_filters_of_the_list_but_for_those_who_only_look(
        self, editor: User, corp: Corp
    ) -> None:
        text = signed_in(editor).get(LIST, {"company": corp.pk}).content.decode()
        reader = signed_in(with_role("reader", Role.READ_ONLY, corp))

        assert f"/admin/accounts/user/export.xlsx?company={corp.pk}" in text
        assert "/admin/accounts/peopleimport/add/" in text
        assert "export.csv" not in reader.get(LIST).content.decode()


def words_of(module: Any) -> set[str]:
    source = Path(module.__file__).read_text(encoding="utf-8")
    return {part.split('"')[0] for part in source.split('RefusedError("')[1:]}


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_every_reason_has_its_sentence(language: str) -> None:
    values: dict[str, Any] = dict.fromkeys(("column", "row", "company", "person", "value", "count", "sheets"), "name")
    values |= {"line": "name", "code": "separator", "params": {}}

    with translation.override(language):
        for reason in words_of(planner) | {"twice_person", "twice_account", "twice_value"}:
            assert explain_import(reason, values) != reason
        for reason in words_of(jobs) | words_of(sheets):
            assert explain_import(reason, values) != ""


def test_columns_are_named(region: Attribute) -> None:
    names = read_attribute_names()

    labels = [
        name_column(target, names)
        for target in ("username", "company", "userid", "biz_mail", "mobile", "a:region", "a:gone")
    ]

    assert labels == ["用户名", "企业微信公司名称", "企业微信账号", "企业邮箱", "手机号", "区域", "gone"]
    assert not ImportRow.objects.exists()
