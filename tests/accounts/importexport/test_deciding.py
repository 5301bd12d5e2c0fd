"""The meaning of rows: finding people, the differences, and reasons for refusal. Nothing is written."""

from typing import Any

import pytest
from django.utils import translation

from accounts.explanations import explain_import
from accounts.models import Attribute, ImportRow, PeopleImport, User, WeComAccount
from accounts.users.attributes import find_values, set_values
from integrations.models import Corp
from tests.accounts.conftest import make_person
from tests.accounts.importexport.files import (
    confirm_and_write,
    csv_bytes,
    finish_work,
    read_changes,
    read_refusals,
    upload,
    upload_and_read,
    wecom_file,
    wecom_row,
    xlsx,
)
from tests.statements import count_statements

Status = PeopleImport.Status


def reason_of(run: PeopleImport) -> str:
    ((_number, reason),) = read_refusals(run)
    return reason


class TestOurOwnSheet:
    HEADER = ("用户名", "姓名", "电子邮件地址", "手机号", "企业微信公司名称", "企业微信账号", "工号", "区域")

    def test_shows_each_difference_and_writes_nothing(
        self, editor: User, corp: Corp, other_corp: Corp, person: User, number: Attribute, region: Attribute
    ) -> None:
        row = ["lilei", "李雷雷", "a@example.com", "138", other_corp.name, "LiLei2", "A1", "华东；华北"]

        run = upload_and_read(editor, xlsx(self.HEADER, row))

        assert (run.status, run.row_count, run.counts) == (Status.UNCONFIRMED, 1, {"same": 0, "change": 1})
        assert read_changes(run) == [
            (
                2,
                [
                    ["name", "李雷", "李雷雷"],
                    ["email", None, "a@example.com"],
                    ["mobile", None, "138"],
                    ["company", "北山制造", "南湖贸易"],
                    ["userid", "LiLei", "LiLei2"],
                    ["a:employee_number", None, "A1"],
                    ["a:region", None, "华东; 华北"],
                ],
            )
        ]
        person.refresh_from_db()
        account = WeComAccount.objects.get(user=person)
        assert (person.name, account.corp, account.userid) == ("李雷", corp, "LiLei")
        assert find_values(attribute=number) == {}

    def test_what_is_so_already_is_counted_only(self, editor: User, corp: Corp, person: User) -> None:
        run = upload_and_read(editor, xlsx(self.HEADER[:6], ["lilei", "李雷", "", "", corp.name, "LiLei"]))

        assert (run.status, run.counts) == (Status.UNCONFIRMED, {"same": 1})
        assert not ImportRow.objects.exists()

    def test_an_empty_cell_leaves_what_is_there_unless_asked_to_clear(
        self, editor: User, person: User, number: Attribute
    ) -> None:
        set_values(attribute=number, values={person.pk: ["A1"]})
        content = csv_bytes(["用户名", "姓名", "工号", "企业微信账号"], ["lilei", "", "", ""])

        assert upload_and_read(editor, content).counts == {"same": 1}
        assert read_changes(upload_and_read(editor, content, clears_empty=True)) == [
            (2, [["name", "李雷", None], ["userid", "LiLei", None], ["a:employee_number", "A1", None]])
        ]

    def test_usernames_are_found_in_whatever_letters_but_the_exact_one_first(self, editor: User) -> None:
        make_person("Hanmei"), make_person("hanmei")
        make_person("LiLei")
        content = csv_bytes(["用户名", "姓名"], ["hanmei", "小写"], ["lilei", "李雷"], ["HANMEI", "x"])

        run = upload_and_read(editor, content)

        assert [number for number, _changes in read_changes(run)] == [2, 3]
        assert ImportRow.objects.get(number=2).name == "hanmei"
        assert read_refusals(run) == [(4, "several")]

    @pytest.mark.parametrize(
        ("header", "row", "reason"),
        [
            (("用户名", "姓名"), ("nobody", "x"), "nobody"),
            (("用户名", "姓名"), ("", "x"), "no_key"),
            (("用户名", "姓名"), ("lilei", "x" * 65), "bad_text"),
            (("用户名", "姓名"), ("lilei", "a\x07b"), "bad_text"),
            (("用户名", "邮箱"), ("lilei", "no address"), "bad_email"),
            (("用户名", "企业微信公司名称"), ("lilei", "不存在"), "unknown_company"),
            (("用户名", "企业微信账号"), ("lilei", "x" * 65), "bad_text"),
            (("用户名", "企业微信账号"), ("lilei", "HanMei"), "account_taken"),
            (("用户名", "区域"), ("lilei", "华南"), "bad_value"),
            (("用户名", "工号"), ("lilei", "b7"), "value_taken"),
            (("用户名", "工号"), ("lilei", "1.38E+10"), "scientific"),
        ],
    )
    def test_a_row_is_refused_with_its_reason(
        self,
        editor: User,
        corp: Corp,
        person: User,
        number: Attribute,
        region: Attribute,
        header: tuple[str, ...],
        row: tuple[str, ...],
        reason: str,
    ) -> None:
        set_values(attribute=number, values={make_person("hanmei", corp, "hanmei").pk: ["B7"]})

        run = upload_and_read(editor, csv_bytes(header, row))

        assert read_refusals(run) == [(2, reason)]
        assert run.counts == {"same": 0, "refused": 1}

    def test_a_formula_is_refused_in_a_used_column_only(self, editor: User, person: User) -> None:
        run = upload_and_read(editor, xlsx(["用户名", "姓名", "备注"], ["lilei", "=A2", "x"], ["lilei", "李雷", "=A2"]))

        assert read_refusals(run) == [(2, "formula")]
        assert run.counts == {"same": 1, "refused": 1}

    def test_nobody_comes_twice(self, editor: User, corp: Corp, person: User, number: Attribute) -> None:
        make_person("hanmei")
        make_person("jim")
        header = ["用户名", "企业微信公司名称", "企业微信账号", "工号"]

        run = upload_and_read(
            editor,
            csv_bytes(
                header,
                ["hanmei", corp.name, "same", "A1"],
                ["hanmei", corp.name, "other", "A2"],
                ["jim", corp.name, "SAME", ""],
                ["lilei", "", "", "a1"],
            ),
        )

        assert read_refusals(run) == [(3, "twice_person"), (4, "twice_account"), (5, "twice_value")]
        assert [number for number, _changes in read_changes(run)] == [2]

    def test_another_account_in_that_company_is_in_the_way(
        self, editor: User, corp: Corp, other_corp: Corp, person: User
    ) -> None:
        WeComAccount.objects.create(user=person, corp=other_corp, userid="second", is_primary=False)

        run = upload_and_read(editor, csv_bytes(["用户名", "企业微信公司名称"], ["lilei", other_corp.name]))

        assert reason_of(run) == "other_account"


class TestTheFileOfWeComsConsole:
    def test_people_who_are_linked_already_stay(self, editor: User, corp: Corp, person: User) -> None:
        run = upload_and_read(editor, wecom_file(wecom_row("谁也不是", "lilei")), corp=corp)

        assert (run.layout, run.counts) == ("wecom", {"same": 1})

    @pytest.mark.parametrize(
        ("match_by", "row"),
        [
            ("username", wecom_row("韩梅梅", "HANMEI")),
            ("email", wecom_row("韩梅梅", "h", email="Han@example.com")),
            ("mobile", wecom_row("韩梅梅", "h", mobile="13900139000")),
        ],
    )
    def test_others_are_found_by_what_was_chosen(self, editor: User, corp: Corp, match_by: str, row: list[str]) -> None:
        make_person("hanmei", email="han@example.com", mobile="13900139000")

        run = upload_and_read(editor, wecom_file(row), corp=corp, match_by=match_by)

        assert read_changes(run) == [(6, [["company", None, "北山制造"], ["userid", None, row[1]]])]

    def test_by_an_employee_number_that_the_company_has_added_as_a_column(
        self, editor: User, corp: Corp, number: Attribute
    ) -> None:
        hanmei = make_person("somebody")
        set_values(attribute=number, values={hanmei.pk: ["A0042"]})

        run = upload_and_read(
            editor, xlsx(["姓名", "帐号", "工号"], ["韩梅梅", "HanMei", "a0042"]), corp=corp, match_by="attribute"
        )

        assert ImportRow.objects.get(run=run).user_id == hanmei.pk

    def test_who_has_another_account_there_is_left(self, editor: User, corp: Corp, person: User) -> None:
        run = upload_and_read(editor, wecom_file(wecom_row("李雷", "x", mobile="1")), corp=corp, match_by="mobile")
        assert reason_of(run) == "nobody"
        User.objects.filter(pk=person.pk).update(mobile="1")

        run = upload_and_read(editor, wecom_file(wecom_row("李雷", "x", mobile="1")), corp=corp, match_by="mobile")

        assert reason_of(run) == "other_account"

    def test_two_people_with_one_mobile_are_refused(self, editor: User, corp: Corp) -> None:
        make_person("a", mobile="1"), make_person("b", mobile="1")

        run = upload_and_read(editor, wecom_file(wecom_row("x", "x", mobile="1")), corp=corp, match_by="mobile")

        assert reason_of(run) == "several"

    @pytest.mark.parametrize(
        ("content", "options", "reason"),
        [
            (wecom_file(wecom_row("x", "x")), {}, "company_missing"),
            (csv_bytes(["姓名", "账号"], ["x", "x"]), {"match_by": "mobile"}, "match_missing"),
            (csv_bytes(["用户名", "姓名"]), {}, "no_rows"),
        ],
    )
    def test_a_file_that_lacks_what_is_needed_is_refused(
        self, editor: User, corp: Corp, content: bytes, options: dict[str, Any], reason: str
    ) -> None:
        run = upload_and_read(editor, content, corp=corp if options else None, **options)

        assert (run.status, run.reason) == (Status.REFUSED, reason)

    def test_the_company_may_stand_in_a_column(self, editor: User, corp: Corp) -> None:
        make_person("hanmei")
        content = csv_bytes(["企业微信公司名称", "账号"], [corp.name, "hanmei"], ["", "x"])

        run = upload_and_read(editor, content)

        assert [number for number, _changes in read_changes(run)] == [2]
        assert read_refusals(run) == [(3, "no_company")]


class TestTheListOfTheBi:
    def test_fills_the_login_id(self, editor: User, login: Attribute, person: User) -> None:
        make_person("other", email="li@example.com")
        content = csv_bytes(["loginId", "姓名", "邮箱"], ["LiLei", "李雷", "li@example.com"])

        by_username, by_email = upload_and_read(editor, content), upload_and_read(editor, content, match_by="email")

        assert read_changes(by_username) == [(2, [["a:bi_login_id", None, "LiLei"]])]
        assert ImportRow.objects.get(run=by_username).name == "李雷 (lilei)"
        assert ImportRow.objects.get(run=by_email).name == "other"

    def test_a_made_username_is_no_account_there(self, editor: User, login: Attribute) -> None:
        make_person("lilei-2", made_username="lilei-2")

        assert reason_of(upload_and_read(editor, csv_bytes(["loginId", "姓名"], ["lilei-2", "李雷"]))) == "nobody"

    def test_is_refused_from_who_sees_some_companies_only_where_it_changes_something(
        self, limited: User, login: Attribute, person: User
    ) -> None:
        content = csv_bytes(["loginId", "姓名"], ["lilei", "李雷"])
        assert reason_of(upload_and_read(limited, content)) == "not_yours"

        set_values(attribute=login, values={person.pk: ["lilei"]})

        assert upload_and_read(limited, content).counts == {"same": 1}


class TestRights:
    def test_of_people_elsewhere_it_is_said_what_is_said_of_nobody(
        self, limited: User, corp: Corp, other_corp: Corp, person: User
    ) -> None:
        make_person("stranger", other_corp, "stranger")
        User.objects.create(username="boss", is_staff=True, is_superuser=True)
        header = ["用户名", "姓名"]

        run = upload_and_read(
            limited, csv_bytes(header, ["stranger", "x"], ["boss", "x"], ["nobody", "x"], ["lilei", "x"])
        )

        refused = ImportRow.objects.filter(run=run, outcome="refused").order_by("number")
        assert [(row.reason, row.words, row.user_id) for row in refused] == [("nobody", {}, None)] * 3
        assert [number for number, _changes in read_changes(run)] == [5]

    def test_other_companies_are_unknown_and_nobody_leaves_the_sight_of_who_sees_some(
        self, limited: User, other_corp: Corp, person: User
    ) -> None:
        contents = [csv_bytes(["用户名", "企业微信公司名称"], ["lilei", name]) for name in (other_corp.name, "")]

        reasons = [reason_of(upload_and_read(limited, content, clears_empty=True)) for content in contents]

        assert reasons == ["unknown_company", "company_needed"]

    def test_a_holder_who_may_not_be_seen_is_not_named(
        self, limited: User, editor: User, corp: Corp, person: User, number: Attribute
    ) -> None:
        stranger = make_person("stranger")
        set_values(attribute=number, values={stranger.pk: ["A1"]})
        content = csv_bytes(["用户名", "工号"], ["lilei", "A1"])

        words = [ImportRow.objects.get(run=upload_and_read(who, content)).words for who in (limited, editor)]

        assert words == [{"value": "A1"}, {"value": "A1", "person": "stranger"}]

    @pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
    def test_who_may_no_more_changes_nobody(self, editor: User, person: User, change: dict[str, Any]) -> None:
        run = upload(editor, csv_bytes(["用户名", "姓名"], ["lilei", "x"]))
        User.objects.filter(pk=editor.pk).update(**change)

        run = finish_work(run)

        assert (run.status, run.reason, run.row_count) == (Status.STOPPED, "not_allowed", 0)


def test_the_queries_do_not_grow_with_the_rows(editor: User, corp: Corp, number: Attribute, region: Attribute) -> None:
    User.objects.bulk_create(User(username=f"p{one}") for one in range(60))
    header = ["用户名", "姓名", "企业微信公司名称", "企业微信账号", "工号", "区域"]
    counts = []

    for some in (range(2), range(2, 60)):
        content = csv_bytes(header, *([f"p{one}", "x", corp.name, f"u{one}", f"N{one}", "华东"] for one in some))
        counts.append(count_statements(upload_and_read, editor, content))

    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("华东;华南", "“区域”: “华南” is not among the choices."),
        ("x" * 256, "“区域”: At most 255 characters."),
    ],
)
def test_why_a_value_is_refused_is_worded_for_who_reads(
    editor: User, person: User, region: Attribute, cells: str, said: str
) -> None:
    """Word the reason in the reader's language; the worker has another."""
    run = upload_and_read(editor, csv_bytes(["用户名", "区域"], ["lilei", cells]))
    row = ImportRow.objects.get(run=run)

    with translation.override("en"):
        assert explain_import(row.reason, row.words) == said
    assert "At most" not in str(row.words)
    assert "区域" in explain_import(row.reason, row.words)


def test_values_that_two_people_would_exchange_are_refused_with_what_to_do(
    editor: User, person: User, number: Attribute
) -> None:
    other = make_person("hanmei")
    set_values(attribute=number, values={person.pk: ["A1"], other.pk: ["A2"]})
    run = upload_and_read(editor, csv_bytes(["用户名", "工号"], ["lilei", "A2"], ["hanmei", "A1"]))

    assert read_refusals(run) == [(2, "value_taken"), (3, "value_taken")]
    with translation.override("en"):
        said = [explain_import(row.reason, row.words) for row in ImportRow.objects.filter(run=run).order_by("pk")]
    how = "To exchange values between people, empty them with one file and set them with the next."
    assert said == [f"“A2” belongs to hanmei already. {how}", f"“A1” belongs to 李雷 (lilei) already. {how}"]

    confirm_and_write(
        upload_and_read(editor, csv_bytes(["用户名", "工号"], ["lilei", ""], ["hanmei", ""]), clears_empty=True)
    )
    confirm_and_write(upload_and_read(editor, csv_bytes(["用户名", "工号"], ["lilei", "A2"], ["hanmei", "A1"])))
    assert find_values(attribute=number) == {person.pk: ["A2"], other.pk: ["A1"]}
