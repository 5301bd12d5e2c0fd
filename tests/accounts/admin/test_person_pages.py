"""The card of a person, and the grid of people and attributes."""

import json
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Attribute, AuditEntry, DirectoryPolicy, User, WeComAccount
from accounts.users.attributes import find_values, set_values
from accounts.users.roles import Role
from integrations.models import Corp, Member
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, sent_form, signed_in, with_role

GRID = f"{LIST}grid/"


@pytest.fixture(autouse=True)
def _enabled(corp: Corp) -> None:
    Corp.objects.filter(pk=corp.pk).update(first_enabled_at=timezone.now())


def card_of(person: User, seen_by: User) -> Any:
    return signed_in(seen_by).get(f"{LIST}{person.pk}/")


class TestCard:
    def test_the_list_leads_to_it_and_it_to_the_form(self, editor: User, person: User) -> None:
        client = signed_in(editor)
        assert f'href="{LIST}{person.pk}/"' in client.get(LIST).text

        page = card_of(person, editor).text

        assert f'href="{LIST}{person.pk}/change/"' in page
        assert "<form method" not in page.split("<main")[1]

    def test_who_only_looks_has_no_way_to_the_form(self, person: User) -> None:
        page = card_of(person, with_role("reader", Role.READ_ONLY))

        assert page.status_code == 200
        assert f"{LIST}{person.pk}/change/" not in page.text

    @pytest.mark.parametrize("role", [Role.SYSTEM_ADMINISTRATOR, Role.READ_ONLY])
    def test_people_of_other_companies_are_not_there(self, person: User, other_corp: Corp, role: Role) -> None:
        assert card_of(person, with_role("elsewhere", role, other_corp)).status_code == 404

    def test_it_says_where_messages_go(self, editor: User, person: User) -> None:
        assert card_of(person, editor).context["state"] == ("good", "正常", "消息发往“北山制造”的“LiLei”。")

    def test_it_says_why_nothing_arrives(self, editor: User, corp: Corp, person: User) -> None:
        said = []

        def look() -> None:
            said.append(card_of(person, editor).context["state"][1:])

        corp.is_enabled = False
        corp.save()
        look()
        WeComAccount.objects.filter(user=person).update(userid="", userid_folded="")
        look()
        WeComAccount.objects.filter(user=person).delete()
        look()
        User.objects.filter(pk=person.pk).update(is_active=False)
        look()

        assert said == [
            ("已停用", "公司已停用。"),
            ("等待", "“企业微信账号”为空。"),
            ("等待", "没有企业微信账号，收不到消息。"),
            ("已停用", "此人已停用：不能登录，也收不到消息。"),
        ]

    def test_a_member_who_has_left_is_said(self, editor: User, corp: Corp, person: User) -> None:
        DirectoryPolicy.objects.create(corp=corp, mode="link")
        times = dict.fromkeys(("first_seen_at", "changed_at", "left_at"), timezone.now())
        Member.objects.create(corp=corp, userid="LiLei", userid_folded="lilei", presence="deleted", **times)

        assert card_of(person, editor).context["state"][:2] == ("bad", "失败")

    def test_saving_the_form_returns_to_it(self, editor: User, person: User) -> None:
        client, form = signed_in(editor), f"{LIST}{person.pk}/change/"
        answer = client.post(form, {**sent_form(client, form), "name": "新名"})

        assert (answer.status_code, answer.headers["Location"]) == (302, f"{LIST}{person.pk}/")


def save(client: Any, cells: dict[tuple[User, Attribute], str], opened: dict[tuple[User, Attribute], str]) -> Any:
    names = {f"cell-{person.pk}-{one.pk}": text for (person, one), text in cells.items()}
    was = {f"{person.pk}-{one.pk}": text for (person, one), text in opened.items()}
    stamp = int(timezone.now().timestamp()) - 60
    return client.post(GRID, {**names, "opened": json.dumps(was), "opened_at": str(stamp)})


class TestGrid:
    def test_many_people_are_set_at_once_and_recorded(
        self, editor: User, person: User, region: Attribute, number: Attribute
    ) -> None:
        other = make_person("hanmei")
        cells = {(person, region): "华东; 华北", (person, number): "A1", (other, number): "A2", (other, region): ""}

        answer = save(signed_in(editor), cells, {})

        assert answer.status_code == 302
        assert find_values(attribute=region) == {person.pk: ["华东", "华北"]}
        assert find_values(attribute=number) == {person.pk: ["A1"], other.pk: ["A2"]}
        assert AuditEntry.objects.filter(model="accounts.user", actor=editor).count() == 3

    def test_each_cell_that_is_wrong_says_why_and_nothing_is_written(
        self, editor: User, person: User, region: Attribute, number: Attribute
    ) -> None:
        other = make_person("hanmei", name="韩梅梅")
        set_values(attribute=number, values={other.pk: ["A2"]})

        page = save(signed_in(editor), {(person, region): "火星", (person, number): "A9"}, {})

        assert page.status_code == 200
        assert [cell["problem"] for cell in page.context["problems"]] == ["“火星”不在选项中。"]
        assert find_values(attribute=number) == {other.pk: ["A2"]}
        assert 'value="A9"' in page.text  # what was typed is kept
        page = save(signed_in(editor), {(person, number): "a2"}, {})
        assert [cell["problem"] for cell in page.context["problems"]] == ["“a2”已属于 韩梅梅 (hanmei)。"]

    def test_who_saves_second_is_told_and_may_save_again(self, editor: User, person: User, region: Attribute) -> None:
        set_values(attribute=region, values={person.pk: ["华北"]})
        client = signed_in(editor)

        page = save(client, {(person, region): "华东"}, {})

        [cell] = page.context["problems"]
        assert "“华北”" in cell["problem"]
        assert find_values(attribute=region) == {person.pk: ["华北"]}
        answer = save(client, {(person, region): "华东"}, {(person, region): "华北"})
        assert answer.status_code == 302
        assert find_values(attribute=region) == {person.pk: ["华东"]}

    def test_what_others_saved_in_untouched_cells_stays(self, editor: User, person: User, region: Attribute) -> None:
        set_values(attribute=region, values={person.pk: ["华北"]})

        answer = save(signed_in(editor), {(person, region): "华东"}, {(person, region): "华东"})

        assert answer.status_code == 302
        assert find_values(attribute=region) == {person.pk: ["华北"]}

    def test_people_and_attributes_of_others_are_left_out(
        self, limited: User, person: User, region: Attribute, login: Attribute, other_corp: Corp
    ) -> None:
        elsewhere = make_person("hanmei", other_corp, "HanMei")
        cells = {(elsewhere, region): "华东", (person, login): "lilei@bi", (person, region): "华东"}

        assert save(signed_in(limited), cells, {}).status_code == 302
        assert find_values(attribute=region) == {person.pk: ["华东"]}
        assert find_values(attribute=login) == {}
        page = signed_in(limited).get(GRID)
        assert [row["person"] for row in page.context["rows"]] == [person]
        assert login not in page.context["columns"]

    @pytest.mark.parametrize("role", [Role.READ_ONLY, Role.PUSH_EDITOR, Role.INTEGRATION_ADMINISTRATOR])
    def test_who_may_not_change_people_is_refused(self, person: User, region: Attribute, role: Role) -> None:
        client = signed_in(with_role("reader", role))

        assert client.get(GRID).status_code == 403
        assert save(client, {(person, region): "华东"}, {}).status_code == 403
        assert find_values(attribute=region) == {}

    def test_the_list_s_filters_hold(self, editor: User, person: User, region: Attribute) -> None:
        make_person("hanmei")

        page = signed_in(editor).get(f"{GRID}?q=lilei&p=1")

        assert [row["person"] for row in page.context["rows"]] == [person]

    @pytest.mark.parametrize("opened", ["no json", "[]", "3"])
    def test_a_broken_form_changes_nothing(self, editor: User, person: User, region: Attribute, opened: str) -> None:
        sent = {f"cell-{person.pk}-x": "华东", "cell-1-2-3": "x", "opened": opened, "opened_at": "9" * 30}

        assert signed_in(editor).post(GRID, sent).status_code == 403
        assert find_values(attribute=region) == {}
