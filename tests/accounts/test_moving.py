"""Moving people from one company to another: who moves, who is left and why, who may, and in how many queries."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import moving
from accounts.models import User, WeComAccount
from integrations.models import Corp
from tests.accounts.conftest import SITE, Visitor, make_corp, make_person
from tests.accounts.test_admin import LIST, accounts_of, administrator, root, signed_in
from tests.accounts.wecom import WeCom

__all__ = ["root"]  # a fixture
MOVE = f"{LIST}move/"


@pytest.fixture
def limited(corp: Corp, other_corp: Corp) -> User:
    """Manages the two companies between which is moved."""
    return administrator("limited", corp, other_corp)


def preview(client: Client, source: Corp, target: Corp) -> Any:
    return client.get(MOVE, {"source": source.pk, "target": target.pk})


def move(client: Client, source: Corp, target: Corp) -> Any:
    return client.post(MOVE, {"source": source.pk, "target": target.pk}, follow=True)


class TestPage:
    def test_first_asks_between_which_companies(self, corp: Corp, other_corp: Corp, person: User, root: User) -> None:
        page = signed_in(root).get(MOVE, {"source": corp.pk})

        text = page.content.decode()
        assert f'<option value="{corp.pk}" selected>北山制造</option>' in text
        assert f'<option value="{other_corp.pk}">南湖贸易</option>' in text
        assert "将转移" not in text

    def test_says_what_it_would_do_and_does_nothing(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        make_person("holder", other_corp, "TAKEN")
        make_person("taken", corp, "taken", name="韩梅梅")
        both = make_person("both", corp, "both")
        both.wecom_accounts.create(corp=other_corp, userid="b.oth", is_primary=False)
        before = [accounts_of(user) for user in User.objects.order_by("pk")]

        text = preview(signed_in(root), corp, other_corp).content.decode()

        assert "将转移 1 个账号。" in text
        assert "1 人保持不变，因为该企业微信账号在“南湖贸易”中已属于他人：韩梅梅 (taken)" in text
        assert "1 人保持不变，因为已在“南湖贸易”中有另一个账号：both" in text
        assert "通过“北山制造”登录的人员会退出登录。" in text
        assert "您无权修改" not in text
        assert "未启用" not in text
        assert [accounts_of(user) for user in User.objects.order_by("pk")] == before

    def test_does_what_it_said(self, corp: Corp, other_corp: Corp, person: User, root: User) -> None:
        make_person("holder", other_corp, "TAKEN")
        taken = make_person("taken", corp, "taken", name="韩梅梅")
        half = make_person("half", corp, "")
        second = make_person("second", other_corp, "zhang")
        third = make_person("third", make_corp("第三", 3), "third")
        third.wecom_accounts.create(corp=corp, userid="3", is_primary=False)
        WeComAccount.objects.filter(user=second).update(userid="Zhang")

        page = move(signed_in(root), corp, other_corp)

        text = page.content.decode()
        assert page.redirect_chain == [(f"{LIST}?company={other_corp.pk}", 302)]
        assert "已为 3 人设置“南湖贸易”。" in text
        assert "1 人保持不变，因为该企业微信账号在“南湖贸易”中已属于他人：韩梅梅 (taken)" in text
        assert accounts_of(person) == [("南湖贸易", "LiLei", True)]
        assert accounts_of(half) == [("南湖贸易", "", True)]
        assert accounts_of(third) == [("第三", "third", True), ("南湖贸易", "3", False)]
        assert accounts_of(taken) == [("北山制造", "taken", True)]
        assert accounts_of(second) == [("南湖贸易", "Zhang", True)]

    def test_says_that_the_other_company_is_disabled(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        Corp.objects.filter(pk=other_corp.pk).update(is_enabled=False)

        text = preview(signed_in(root), corp, other_corp).content.decode()

        assert "“南湖贸易”未启用：启用之前，这些人员既不能用企业微信登录，也收不到消息。" in text

    def test_offers_nothing_where_nobody_would_move(self, corp: Corp, other_corp: Corp, root: User) -> None:
        text = preview(signed_in(root), corp, other_corp).content.decode()

        assert "将转移 0 个账号。" in text
        assert 'value="转移"' not in text

    def test_refuses_one_company_twice_and_companies_that_are_none(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        client = signed_in(root)

        same = client.post(MOVE, {"source": corp.pk, "target": corp.pk})
        none = client.post(MOVE, {"source": corp.pk, "target": "x"})

        assert "请选择两家不同的公司。" in same.content.decode()
        assert list(none.context["form"].errors) == ["target"]
        assert accounts_of(person) == [("北山制造", "LiLei", True)]

    def test_stands_on_the_companys_page_and_on_the_list(self, corp: Corp, root: User) -> None:
        client = signed_in(root)

        assert f'href="{MOVE}?source={corp.pk}"' in client.get(f"/admin/integrations/corp/{corp.pk}/change/").text
        assert f'href="{MOVE}"' in client.get(LIST).text


class TestWhoMay:
    def test_somebody_who_manages_both_companies(
        self, corp: Corp, other_corp: Corp, person: User, limited: User
    ) -> None:
        boss = make_person("boss", corp, "boss", is_staff=True)
        elsewhere = make_person("elsewhere", corp, "e")
        elsewhere.wecom_accounts.create(corp=make_corp("第三", 3), userid="e", is_primary=False)
        client = signed_in(limited)

        text = preview(client, corp, other_corp).content.decode()
        move(client, corp, other_corp)

        assert "将转移 1 个账号。" in text
        assert "2 个账号不在其列：您无权修改这些人员。" in text
        assert accounts_of(person) == [("南湖贸易", "LiLei", True)]
        assert accounts_of(boss) == [("北山制造", "boss", True)]
        assert accounts_of(elsewhere)[0] == ("北山制造", "e", True)

    @pytest.mark.parametrize("managed", ["source", "target"])
    def test_nobody_who_manages_one_of_them(self, corp: Corp, other_corp: Corp, person: User, managed: str) -> None:
        one = administrator("one", corp if managed == "source" else other_corp)
        client = signed_in(one)

        asked = preview(client, corp, other_corp)
        refused = client.post(MOVE, {"source": corp.pk, "target": other_corp.pk})

        hidden = "target" if managed == "source" else "source"
        assert list(asked.context["form"].errors) == [hidden]
        assert list(refused.context["form"].errors) == [hidden]
        assert (other_corp if managed == "source" else corp).name not in asked.content.decode()
        assert accounts_of(person) == [("北山制造", "LiLei", True)]

    @pytest.mark.parametrize("missing", ["change_user", "change_wecomaccount"])
    def test_nobody_without_the_permissions(
        self, corp: Corp, other_corp: Corp, person: User, limited: User, missing: str
    ) -> None:
        limited.user_permissions.remove(Permission.objects.get(codename=missing))
        client = signed_in(limited)

        assert client.get(MOVE).status_code == 403
        assert client.post(MOVE, {"source": corp.pk, "target": other_corp.pk}).status_code == 403
        assert MOVE not in client.get(LIST).text
        client.post(LIST, {"action": "set_company", "_selected_action": person.pk, "apply": "1", "corp": other_corp.pk})
        assert accounts_of(person) == [("北山制造", "LiLei", True)]

    def test_nobody_who_is_not_signed_in(self, corp: Corp, other_corp: Corp, person: User) -> None:
        response = Client(SERVER_NAME="bi.example.com").post(MOVE, {"source": corp.pk, "target": other_corp.pk})

        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")
        assert accounts_of(person) == [("北山制造", "LiLei", True)]


def test_the_sessions_of_moved_people_end(
    corp: Corp, other_corp: Corp, person: User, root: User, phone: Visitor, wecom: WeCom
) -> None:
    wecom.gives("a-code-of-ten", userid="LiLei")
    phone.arrive(corp, code="a-code-of-ten", state=phone.begin(corp))
    assert phone.user_id == person.pk

    move(signed_in(root), corp, other_corp)

    answer = phone.get("/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(("/login/", f"{SITE}login/"))
    assert phone.user_id is None


class TestManyPeople:
    @pytest.fixture
    def in_steps_of_ten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(moving, "STEP", 10)

    def people(self, corp: Corp | None, count: int) -> list[User]:
        users = User.objects.bulk_create(User(username=f"p{number}") for number in range(count))
        if corp is not None:
            WeComAccount.objects.bulk_create(
                WeComAccount(user=user, corp=corp, userid=user.username, userid_folded=user.username) for user in users
            )
        return users

    @pytest.mark.parametrize("count", [10, 30])
    @pytest.mark.parametrize("way", ["move", "set", "new"])
    def test_each_step_takes_the_same_queries(
        self, corp: Corp, other_corp: Corp, in_steps_of_ten: None, count: int, way: str
    ) -> None:
        self.people(None if way == "new" else corp, count)

        with CaptureQueriesContext(connection) as queries:
            if way == "move":
                change = moving.move_people(people=User.objects.all(), source=corp, target=other_corp)
            else:
                change = moving.set_company(people=User.objects.all(), corp=other_corp)

        asked = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        assert change.changed_count == count
        assert WeComAccount.objects.filter(corp=other_corp, is_primary=True).count() == count
        assert (len(asked) - 1) % (count // 10) == 0
        assert (len(asked) - 1) // (count // 10) == {"move": 8, "set": 9, "new": 6}[way]  # with the audit trail

    @pytest.mark.parametrize("count", [1, 40])
    def test_the_preview_takes_the_same_queries(self, corp: Corp, other_corp: Corp, root: User, count: int) -> None:
        self.people(corp, count)
        client = signed_in(root)
        preview(client, corp, other_corp)

        with CaptureQueriesContext(connection) as queries:
            preview(client, corp, other_corp)

        assert len([query for query in queries if "wecomaccount" in query["sql"]]) == 6

    def test_one_userid_in_two_steps_is_given_once(self, corp: Corp, other_corp: Corp, in_steps_of_ten: None) -> None:
        make_person("first", corp, "twin")
        self.people(corp, 20)
        late = make_person("late", make_corp("第三", 3), "TWIN")

        change = moving.set_company(people=User.objects.all(), corp=other_corp)

        assert (change.changed_count, change.taken.count, change.taken.names) == (21, 1, ["late"])
        assert accounts_of(late) == [("第三", "TWIN", True)]

    def test_only_the_first_people_left_are_named(self, corp: Corp, other_corp: Corp, in_steps_of_ten: None) -> None:
        self.people(corp, 25)
        for number in range(25):
            make_person(f"holder{number}", other_corp, f"P{number}")

        asked = moving.preview_of_move(people=User.objects.all(), source=corp, target=other_corp)
        done = moving.move_people(people=User.objects.all(), source=corp, target=other_corp)

        first = [f"p{number}" for number in range(10)]
        for change in (asked, done):
            assert (change.changed_count, change.taken.count, change.taken.names) == (0, 25, first)

    def test_a_step_is_done_again_when_somebody_else_links_an_account_meanwhile(
        self, corp: Corp, other_corp: Corp, person: User
    ) -> None:
        holder = make_person("holder")
        refused: list[bool] = []

        def first_refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if not refused and sql.startswith('UPDATE "accounts_wecomaccount"'):
                refused.append(True)
                raise IntegrityError("one_account_per_wecom_identity")
            answer = execute(sql, params, many, context)
            if refused == [True] and sql.startswith("ROLLBACK TO SAVEPOINT"):
                refused.append(True)  # what the other administrator saved is there to be seen now
                WeComAccount.objects.create(user=holder, corp=other_corp, userid="lilei")
            return answer

        with connection.execute_wrapper(first_refuse):
            change = moving.move_people(people=User.objects.all(), source=corp, target=other_corp)

        assert (change.changed_count, change.taken.count) == (0, 1)
        assert accounts_of(person) == [("北山制造", "LiLei", True)]
        assert accounts_of(holder) == [("南湖贸易", "lilei", True)]

    def test_a_step_that_never_succeeds_says_so_and_leaves_the_others_done(
        self, corp: Corp, other_corp: Corp, in_steps_of_ten: None
    ) -> None:
        self.people(corp, 20)
        tries: list[str] = []

        def second_step_fails(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith('UPDATE "accounts_wecomaccount"'):
                tries.append(sql)
                if len(tries) > 1:
                    raise IntegrityError("one_account_per_wecom_identity")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(second_step_fails), pytest.raises(IntegrityError):
            moving.move_people(people=User.objects.all(), source=corp, target=other_corp)

        assert len(tries) == 1 + moving.TRIES
        assert WeComAccount.objects.filter(corp=other_corp).count() == 10
        assert moving.move_people(people=User.objects.all(), source=corp, target=other_corp).changed_count == 10


def test_setting_the_company_leaves_who_has_another_account_there(
    corp: Corp, other_corp: Corp, person: User, root: User
) -> None:
    """The same userid of the same person is not somebody else's."""
    person.wecom_accounts.create(corp=other_corp, userid="lilei", is_primary=False)
    sent = {"action": "set_company", "_selected_action": [person.pk], "apply": "1", "corp": other_corp.pk}

    page = signed_in(root).post(LIST, sent, follow=True)

    assert "1 人保持不变，因为已在“南湖贸易”中有另一个账号：李雷 (lilei)" in page.content.decode()
    assert accounts_of(person) == [("北山制造", "LiLei", True), ("南湖贸易", "lilei", False)]
