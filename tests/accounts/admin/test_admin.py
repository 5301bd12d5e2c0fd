"""The administration of people: who may see and change whom, what the forms accept, and the company of many at once."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User, WeComAccount
from accounts.users import companies
from accounts.users.companies import describe_disabling
from accounts.users.roles import find_changeable_people, find_visible_people
from integrations.models import Corp
from tests.accounts.conftest import make_corp, make_person
from tests.accounts.people import LIST, sent_form, signed_in
from tests.between import just_before, refuse_once

EVERYBODY = {"mine", "both", "boss", "other", "half", "loose"}
PERMISSIONS = [f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("user", "wecomaccount")]


def administrator(username: str, *corps: Corp, **values: Any) -> User:
    user = User.objects.create(username=username, is_staff=True, **values)
    user.user_permissions.set(Permission.objects.filter(codename__in=PERMISSIONS, content_type__app_label="accounts"))
    user.managed_corps.set(corps)
    return user


@pytest.fixture
def limited(corp: Corp) -> User:
    return administrator("limited", corp)


def form_of(client: Client, user: User | None = None) -> dict[str, Any]:
    """Return what a browser would send of the untouched form."""
    return sent_form(client, f"{LIST}{user.pk}/change/" if user else f"{LIST}add/")


def save(client: Client, user: User | None, **changes: Any) -> HttpResponse:
    sent = {**form_of(client, user), **changes}
    path = f"{LIST}{user.pk}/change/" if user else f"{LIST}add/"
    return client.post(path, sent)  # type: ignore[return-value]  # the test client adds attributes to it


def errors_of(response: Any) -> list[str]:
    assert response.status_code == 200
    found = [str(error) for messages in response.context["adminform"].form.errors.values() for error in messages]
    for inline in response.context["inline_admin_formsets"]:
        found += [str(error) for error in inline.formset.non_form_errors()]
        found += [str(error) for errors in inline.formset.errors for messages in errors.values() for error in messages]
    return found


def accounts_of(user: User) -> list[tuple[str | None, str, bool]]:
    accounts = WeComAccount.objects.filter(user=user).order_by("pk").select_related("corp")
    return [(account.corp.name if account.corp else None, account.userid, account.is_primary) for account in accounts]


class TestList:
    def test_shows_company_and_account_of_the_primary_one(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        WeComAccount.objects.create(user=person, corp=other_corp, userid="li.lei", is_primary=False)

        text = signed_in(root).get(LIST, {"q": "lilei"}).content.decode()

        assert '<td class="field-company">北山制造</td>' in text
        assert '<td class="field-wecom_account">LiLei</td>' in text

    def test_can_be_filtered_and_searched(self, corp: Corp, other_corp: Corp, person: User, root: User) -> None:
        make_person("half", corp, "")
        make_person("loose")
        make_person("other", other_corp, "O.Ther")
        client = signed_in(root)

        for query, usernames in (
            ({"linked": "no"}, ["half", "loose", "root"]),
            ({"linked": "yes"}, ["lilei", "other"]),
            ({"q": "LILEI"}, ["lilei"]),
            ({"q": "李雷"}, ["lilei"]),
            ({"q": "o.ther"}, ["other"]),
            ({"linked": "?"}, ["half", "lilei", "loose", "other", "root"]),
            ({"company": str(other_corp.pk)}, ["other"]),
        ):
            page = client.get(LIST, query)
            assert sorted(user.username for user in page.context["cl"].result_list) == usernames


class TestVisibility:
    @pytest.fixture
    def people(self, corp: Corp, other_corp: Corp, person: User) -> dict[str, User]:
        both = make_person("both", corp, "both")
        WeComAccount.objects.create(user=both, corp=other_corp, userid="both", is_primary=False)
        boss = make_person("boss", corp, "boss", is_staff=True)
        return {
            "mine": person,
            "both": both,
            "boss": boss,
            "other": make_person("other", other_corp, "other"),
            "half": make_person("half", None, "half"),
            "loose": make_person("loose"),
        }

    def test_depends_on_the_companies_that_one_manages(self, people: dict[str, User], corp: Corp, root: User) -> None:
        no_staff = administrator("no-staff", corp)
        User.objects.filter(pk=no_staff.pk).update(is_staff=False)
        seen = {"mine", "both", "boss"}
        for one, visible, changeable in (
            (administrator("limited", corp), seen, {"mine"}),
            (administrator("of-all", manages_all_corps=True), EVERYBODY, EVERYBODY - {"boss"}),
            (root, EVERYBODY, EVERYBODY),
            (administrator("of-none"), set(), set()),
            (administrator("disabled", corp, is_active=False), set(), set()),
            (no_staff, set(), set()),
        ):
            stored = User.objects.get(pk=one.pk)
            assert {name for name, user in people.items() if user in find_visible_people(stored)} == visible, one
            assert {name for name, user in people.items() if user in find_changeable_people(stored)} == changeable, one
            if not visible:
                pages = [signed_in(stored).get(f"{LIST}{user.pk}/change/") for user in people.values()]
                assert {page.status_code for page in pages} == {302}, one

        client = signed_in(User.objects.get(username="limited"))
        for name, user in people.items():
            found = [
                client.get(f"{LIST}{user.pk}/change/").status_code,
                client.post(f"{LIST}{user.pk}/change/", {}).status_code,
                client.post(f"{LIST}{user.pk}/password/", {}).status_code,
                client.get(f"{LIST}{user.pk}/delete/").status_code,
            ]
            changed, looked_at, unseen = [200, 200, 200, 200], [200, 403, 403, 403], [302, 302, 404, 302]
            assert found == (changed if name == "mine" else looked_at if name in seen else unseen), name

    def test_list_and_page_show_nothing_of_other_companies(self, people: dict[str, User], limited: User) -> None:
        WeComAccount.objects.filter(user=people["both"]).update(is_primary=False)
        WeComAccount.objects.filter(user=people["both"], corp__name="南湖贸易").update(is_primary=True)
        client = signed_in(limited)

        text = client.get(LIST).content.decode()

        assert {name for name, user in people.items() if f"/user/{user.pk}/" in text} == {"mine", "both", "boss"}
        assert "南湖贸易" not in text
        page = client.get(f"{LIST}{people['both'].pk}/change/").content.decode()
        assert ("北山制造" in page, "南湖贸易" in page) == (True, False)


class TestRights:
    def test_are_neither_shown_nor_taken_from_who_is_no_superuser(
        self, corp: Corp, other_corp: Corp, person: User, limited: User
    ) -> None:
        client = signed_in(limited)
        group = Group.objects.create(name="g")

        response = save(
            client,
            person,
            is_superuser="on",
            is_staff="on",
            manages_all_corps="on",
            managed_corps=[other_corp.pk],
            groups=[group.pk],
            user_permissions=[Permission.objects.all()[0].pk],
        )

        person.refresh_from_db()
        assert response.status_code == 302
        assert (person.is_superuser, person.is_staff, person.manages_all_corps) == (False, False, False)
        assert (person.managed_corps.count(), person.groups.count(), person.user_permissions.count()) == (0, 0, 0)
        assert 'name="is_superuser"' not in client.get(f"{LIST}{person.pk}/change/").content.decode()

    def test_a_company_that_is_not_ones_own_cannot_be_set(
        self, corp: Corp, other_corp: Corp, person: User, limited: User
    ) -> None:
        response = save(signed_in(limited), person, **{"wecom_accounts-0-corp": other_corp.pk})

        assert len(errors_of(response)) == 1
        assert accounts_of(person) == [("北山制造", "LiLei", True)]

    def test_an_account_of_another_company_cannot_be_reached(
        self, corp: Corp, other_corp: Corp, person: User, limited: User
    ) -> None:
        foreign = make_person("other", other_corp, "other").wecom_accounts.get()

        response = save(
            signed_in(limited), person, **{"wecom_accounts-0-id": foreign.pk, "wecom_accounts-0-userid": "x"}
        )

        foreign.refresh_from_db()
        assert response.status_code == 302
        assert accounts_of(person) == [("北山制造", "LiLei", True)]
        assert (foreign.userid, foreign.user.username) == ("other", "other")


class TestForm:
    def test_makes_a_person_with_company_and_account(self, corp: Corp, root: User) -> None:
        response = save(
            signed_in(root),
            None,
            username="han",
            name="韩梅梅",
            usable_password="false",
            **{"wecom_accounts-0-corp": corp.pk, "wecom_accounts-0-userid": " HanMeimei "},
        )

        user = User.objects.get(username="han")
        assert response.status_code == 302
        assert (user.name, user.has_usable_password()) == ("韩梅梅", False)
        assert accounts_of(user) == [("北山制造", "HanMeimei", True)]

    @pytest.mark.parametrize(("company", "userid"), [(False, "han"), (True, ""), (False, "")])
    def test_either_attribute_may_be_empty(self, corp: Corp, root: User, company: bool, userid: str) -> None:
        user = make_person("han", corp, "x")

        save(
            signed_in(root),
            user,
            **{"wecom_accounts-0-corp": corp.pk if company else "", "wecom_accounts-0-userid": userid},
        )

        assert accounts_of(user) == [("北山制造" if company else None, userid, True)]

    def test_an_account_that_is_taken_names_its_holder_and_invisible_characters_of_a_pasted_one_go(
        self, corp: Corp, person: User, root: User
    ) -> None:
        other, client = make_person("han", corp, "han"), signed_in(root)

        save(client, other, **{"wecom_accounts-0-userid": "\ufeffHan\u200bMeiMei\u200b "})
        taken = save(client, other, **{"wecom_accounts-0-userid": "li\u200blei "})

        assert accounts_of(other) == [("北山制造", "HanMeiMei", True)]
        assert errors_of(taken) == ["该账号在“北山制造”中已属于 李雷 (lilei)，请先在那里移除。"]

    def test_an_account_that_is_taken_between_check_and_saving_is_refused(
        self, corp: Corp, person: User, root: User
    ) -> None:
        other = User.objects.create_user("han", name="韩梅梅")
        WeComAccount.objects.filter(user=person).delete()
        sent = {"wecom_accounts-0-corp": corp.pk, "wecom_accounts-0-userid": "lilei"}

        with refuse_once(
            'INSERT INTO "accounts_wecomaccount"',
            lambda: WeComAccount.objects.create(user=person, corp=corp, userid="lilei"),
        ):
            response = save(signed_in(root), other, **sent)

        assert errors_of(response) == ["该账号在“北山制造”中已属于 李雷 (lilei)，请先在那里移除。"]
        assert accounts_of(other) == []

    def test_what_it_does_not_ask_for_stays_as_it_was_saved_meanwhile(self, person: User, root: User) -> None:
        """Change password and session epoch between reading the person and locking the row."""
        User.objects.filter(pk=person.pk).update(password="before")
        client = signed_in(root)
        sent = {**form_of(client, person), "name": "李大雷"}
        of_person = User.objects.filter(pk=person.pk)

        with just_before("FOR UPDATE", lambda: of_person.update(session_epoch=7, password="after")):
            client.post(f"{LIST}{person.pk}/change/", sent)

        person.refresh_from_db()
        assert (person.name, person.session_epoch, person.password) == ("李大雷", 7, "after")

    def test_a_new_password_leaves_alone_what_was_saved_meanwhile(self, person: User, root: User) -> None:
        sent = {"usable_password": "true", "password1": "a-new-password-2", "password2": "a-new-password-2"}

        with just_before('UPDATE "accounts_user"', lambda: User.objects.filter(pk=person.pk).update(is_active=False)):
            signed_in(root).post(f"{LIST}{person.pk}/password/", {**sent, "set-password": "1"})

        person.refresh_from_db()
        assert (person.is_active, person.check_password("a-new-password-2")) == (False, True)

    def test_a_second_account_leaves_the_first_one_primary_and_cannot_be_the_same(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        def add(corp: Corp, userid: str) -> HttpResponse:
            values = {"corp": corp.pk, "userid": userid, "user": person.pk}
            sent = {f"wecom_accounts-1-{name}": value for name, value in values.items()}
            return save(signed_in(root), person, **{"wecom_accounts-TOTAL_FORMS": 2, **sent})

        assert errors_of(add(corp, "LILEI")) == ["该账号在这里重复了。"]
        assert add(other_corp, "li.lei").status_code == 302
        assert accounts_of(person) == [("北山制造", "LiLei", True), ("南湖贸易", "li.lei", False)]

    @pytest.fixture
    def person_of_two(self, corp: Corp, other_corp: Corp, person: User) -> User:
        WeComAccount.objects.create(user=person, corp=other_corp, userid="li.lei", is_primary=False)
        return person

    @pytest.mark.parametrize("chosen", [0, 1])
    def test_the_primary_one_can_be_changed_either_way(self, person_of_two: User, root: User, chosen: int) -> None:
        accounts = list(person_of_two.wecom_accounts.order_by("pk"))
        WeComAccount.objects.update(is_primary=False)
        WeComAccount.objects.filter(pk=accounts[1 - chosen].pk).update(is_primary=True)
        client = signed_in(root)
        sent = form_of(client, person_of_two)
        row = next(row for row in (0, 1) if sent[f"wecom_accounts-{row}-id"] == accounts[chosen].pk)
        del sent[f"wecom_accounts-{1 - row}-is_primary"]

        response = client.post(f"{LIST}{person_of_two.pk}/change/", {**sent, f"wecom_accounts-{row}-is_primary": "on"})

        assert response.status_code == 302
        assert [account[2] for account in accounts_of(person_of_two)] == [chosen == 0, chosen == 1]

    def test_the_primary_one_can_be_changed_from_a_page_that_is_out_of_date(
        self, person_of_two: User, root: User
    ) -> None:
        """Send rows in their former order, so that the new primary account is saved first."""
        client = signed_in(root)
        sent = form_of(client, person_of_two)
        for name in ("id", "corp", "userid"):
            first, second = f"wecom_accounts-0-{name}", f"wecom_accounts-1-{name}"
            sent[first], sent[second] = sent[second], sent[first]

        response = client.post(f"{LIST}{person_of_two.pk}/change/", sent)

        assert response.status_code == 302
        assert accounts_of(person_of_two) == [("北山制造", "LiLei", False), ("南湖贸易", "li.lei", True)]

    def test_two_primary_ones_are_refused(self, person_of_two: User, root: User) -> None:
        response = save(signed_in(root), person_of_two, **{"wecom_accounts-1-is_primary": "on"})

        assert errors_of(response) == ["消息只能发到一个账号，请只勾选一个“接收消息”。"]

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ({"wecom_accounts-0-DELETE": "on"}, []),
            ({"wecom_accounts-0-userid": ""}, [("北山制造", "", False)]),
        ],
    )
    def test_without_the_primary_one_the_next_receives(
        self, person_of_two: User, root: User, sent: dict[str, str], kept: list[Any]
    ) -> None:
        response = save(signed_in(root), person_of_two, **sent)

        assert response.status_code == 302
        assert accounts_of(person_of_two) == [*kept, ("南湖贸易", "li.lei", True)]

    def test_a_limited_administrator_names_one_of_their_companies(self, corp: Corp, limited: User) -> None:
        client = signed_in(limited)
        without = save(client, None, username="han", usable_password="false")
        with_company = save(client, None, username="han", usable_password="false", **{"wecom_accounts-0-corp": corp.pk})

        assert len(errors_of(without)) == 1
        assert with_company.status_code == 302
        assert accounts_of(User.objects.get(username="han")) == [("北山制造", "", True)]


class TestBulkCompany:
    def post(self, client: Client, people: list[User], **values: Any) -> Any:
        sent = {"action": "set_company", "_selected_action": [user.pk for user in people], **values}
        return client.post(LIST, sent, follow=True)

    def test_first_asks_which_company_then_sets_it_for_all_selected(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        loose, half, there = make_person("loose"), make_person("half", None, "half"), make_person("t", other_corp, "t")
        client, people = signed_in(root), [person, loose, half, there]

        asked = self.post(client, people).content.decode()
        assert "将为 4 人设置企业微信公司名称" in asked
        assert f'<option value="{other_corp.pk}">南湖贸易</option>' in asked
        assert accounts_of(person) == [("北山制造", "LiLei", True)]
        page = self.post(client, people, apply="1", corp=other_corp.pk)

        found = [accounts_of(one) for one in people]
        assert found == [[("南湖贸易", userid, True)] for userid in ("LiLei", "", "half", "t")]
        assert "已为 3 人设置“南湖贸易”。" in page.content.decode()

    def test_leaves_alone_whose_account_is_somebody_elses_there(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        make_person("holder", other_corp, "lilei")
        twins = [make_person("a", make_corp("甲", 5), "twin"), make_person("b", make_corp("乙", 6), "TWIN")]

        page = self.post(signed_in(root), [person, *twins], apply="1", corp=other_corp.pk)

        assert accounts_of(person) == [("北山制造", "LiLei", True)]
        assert sorted(accounts_of(twin)[0][0] or "" for twin in twins) == ["乙", "南湖贸易"]
        assert "2 人保持不变" in page.content.decode()
        assert "李雷 (lilei)" in page.content.decode()

    def test_is_limited_to_who_may_be_changed(self, corp: Corp, other_corp: Corp, person: User, limited: User) -> None:
        second = make_corp("第二", 7)
        limited.managed_corps.add(second)
        boss = make_person("boss", corp, "boss", is_staff=True)
        stranger = make_person("stranger", other_corp, "stranger")
        client = signed_in(limited)

        page = self.post(client, [person, boss, stranger])
        self.post(client, [person, boss, stranger], apply="1", corp=second.pk)
        refused = self.post(client, [person], apply="1", corp=other_corp.pk)

        assert "所选人员中有 1 人您无权修改" in page.content.decode()
        assert f'<option value="{other_corp.pk}">' not in page.content.decode()
        assert accounts_of(person) == [("第二", "LiLei", True)]
        assert accounts_of(boss) == [("北山制造", "boss", True)]
        assert accounts_of(stranger) == [("南湖贸易", "stranger", True)]
        assert list(refused.context["form"].errors) == ["corp"]

    def test_reaches_people_beyond_the_page(self, corp: Corp, other_corp: Corp, root: User) -> None:
        for number in range(120):
            make_person(f"p{number}", corp, f"p{number}")
        one = User.objects.get(username="p0")

        self.post(signed_in(root), [one], apply="1", corp=other_corp.pk, select_across="1")

        assert WeComAccount.objects.filter(corp=other_corp).count() == 121  # including root's


def test_says_what_disabling_a_company_stops(corp: Corp, person: User) -> None:
    make_person("gone", corp, "gone", is_active=False)
    make_person("half", corp, "")

    make_person("two", make_corp("第二", 7), "two").wecom_accounts.create(corp=corp, userid="two", is_primary=False)

    found = describe_disabling(corp)
    assert found == ["2 人将无法用企业微信登录；已用企业微信登录的会立即退出。", "停用期间有 1 人收不到消息。"]
    corp.sign_in_enabled = False
    assert describe_disabling(corp) == found[1:]


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

        with refuse_once(
            'UPDATE "accounts_wecomaccount"',
            lambda: WeComAccount.objects.create(user=holder, corp=other_corp, userid="lilei"),
        ):
            change = companies.set_company(people=User.objects.filter(pk=person.pk), corp=other_corp)

        assert (change.changed_count, change.userid_taken) == (0, [person.pk])
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
