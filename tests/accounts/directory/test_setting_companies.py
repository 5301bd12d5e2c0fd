"""Setting the company of many people at once: who is changed, who is skipped and why, and the number of queries."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User, WeComAccount
from accounts.users import companies
from integrations.models import Corp
from tests.accounts.admin.test_admin import accounts_of
from tests.accounts.conftest import SITE, Visitor, make_person
from tests.accounts.people import LIST, signed_in
from tests.accounts.wecom import WeCom
from tests.between import refused_once


def test_the_sessions_of_moved_people_end(
    corp: Corp, other_corp: Corp, person: User, root: User, phone: Visitor, wecom: WeCom
) -> None:
    phone.sign_in(corp, wecom, "LiLei", code="a-code-of-ten")
    assert phone.user_id == person.pk

    sent = {"action": "set_company", "_selected_action": [person.pk], "apply": "1", "corp": other_corp.pk}
    signed_in(root).post(LIST, sent)

    answer = phone.get("/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(("/login/", f"{SITE}login/"))
    assert phone.user_id is None


class TestManyPeople:
    def people(self, corp: Corp | None, count: int) -> list[User]:
        users = User.objects.bulk_create(User(username=f"p{number}") for number in range(count))
        if corp is not None:
            WeComAccount.objects.bulk_create(
                WeComAccount(user=user, corp=corp, userid=user.username, userid_folded=user.username) for user in users
            )
        return users

    @pytest.mark.parametrize("count", [10, 30])
    @pytest.mark.parametrize("way", ["set", "new"])
    def test_takes_the_same_queries_for_many(
        self, corp: Corp, other_corp: Corp, root: User, count: int, way: str
    ) -> None:
        self.people(None if way == "new" else corp, count)

        people = User.objects.exclude(pk=root.pk)
        with CaptureQueriesContext(connection) as queries:
            change = companies.set_company(people=people, corp=other_corp)

        statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        assert change.changed_count == count
        assert WeComAccount.objects.filter(corp=other_corp, is_primary=True).count() == count
        # These include the audit trail's.
        assert len(statements) == {"set": 10, "new": 7}[way]

    def test_only_the_first_people_left_are_named(self, corp: Corp, other_corp: Corp, root: User) -> None:
        people = self.people(corp, 12)
        for number in range(12):
            make_person(f"holder{number}", other_corp, f"P{number}")
        sent = {"action": "set_company", "_selected_action": [one.pk for one in people], "apply": "1"}

        page = signed_in(root).post(LIST, {**sent, "corp": other_corp.pk}, follow=True)

        names = ", ".join(f"p{number}" for number in range(10))
        assert f"12 人保持不变，因为该企业微信账号在“南湖贸易”中已属于他人：{names}…" in page.text

    def test_it_is_done_again_when_somebody_else_links_an_account_meanwhile(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        holder = make_person("holder")

        with refused_once(
            'UPDATE "accounts_wecomaccount"',
            lambda: WeComAccount.objects.create(user=holder, corp=other_corp, userid="lilei"),
        ):
            change = companies.set_company(people=User.objects.filter(pk=person.pk), corp=other_corp)

        assert (change.changed_count, change.taken) == (0, [person.pk])
        assert accounts_of(person) == [("北山制造", "LiLei", True)]
        assert accounts_of(holder) == [("南湖贸易", "lilei", True)]


def test_setting_the_company_leaves_who_has_another_account_there(
    corp: Corp, other_corp: Corp, person: User, root: User
) -> None:
    """Name the reason: it is the same person's userid, not somebody else's."""
    person.wecom_accounts.create(corp=other_corp, userid="lilei", is_primary=False)
    sent = {"action": "set_company", "_selected_action": [person.pk], "apply": "1", "corp": other_corp.pk}

    page = signed_in(root).post(LIST, sent, follow=True)

    assert "1 人保持不变，因为已在“南湖贸易”中有另一个账号：李雷 (lilei)" in page.content.decode()
    assert accounts_of(person) == [("北山制造", "LiLei", True), ("南湖贸易", "lilei", False)]


@pytest.mark.parametrize("step", [{}, {"apply": "1"}])
def test_the_company_of_more_people_than_one_request_can_do_is_not_set(
    corp: Corp, other_corp: Corp, person: User, root: User, monkeypatch: pytest.MonkeyPatch, step: dict[str, str]
) -> None:
    monkeypatch.setattr("accounts.admin.users.SET_AT_MOST", 1)
    second = make_person("second", corp, "second")
    sent = {"action": "set_company", "_selected_action": [person.pk, second.pk], "corp": other_corp.pk, **step}

    page = signed_in(root).post(LIST, sent, follow=True)

    refusal = "未作任何修改：一次最多设置 1 人。请减少选择，或"
    assert f'{refusal}<a href="{LIST.replace("/user/", "/peopleimport/add/")}">导入文件</a>。' in page.text
    assert {*accounts_of(person), *accounts_of(second)} == {("北山制造", "LiLei", True), ("北山制造", "second", True)}
