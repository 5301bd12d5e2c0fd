"""User attributes in the administration: definitions, a person's page, the list, and many people at once."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import Attribute, AttributeValue, AuditEntry, DirectoryPolicy, User
from accounts.users.attributes import find_values, set_values
from accounts.users.roles import Role
from integrations.models import BiConnection, Corp
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, sent_form, signed_in, with_role
from tests.between import just_before
from tests.statements import count_statements

DEFINITIONS = "/admin/accounts/attribute/"
Kind = Attribute.Kind


@pytest.fixture
def region(db: None) -> Attribute:
    return Attribute.objects.create(key="region", name="区域", kind=Kind.CHOICE, choices=["华东", "华北"])


def page_of(person: User) -> str:
    return f"{LIST}{person.pk}/change/"


def save(client: Client, person: User, **changes: Any) -> Any:
    return client.post(page_of(person), {**sent_form(client, page_of(person)), **changes})


class TestDefinitions:
    def define(self, client: Client, **values: Any) -> Any:
        sent = {"name": "区域", "key": "region", "kind": "choice", "choices": "华东\n 华北 \n\n华东", "position": "5"}
        return client.post(f"{DEFINITIONS}add/", {**sent, **values})

    def test_one_is_added_and_stands_in_the_trail(self, root: User) -> None:
        response = self.define(signed_in(root))

        made = Attribute.objects.get(key="region")
        assert response.status_code == 302
        assert (made.name, made.kind, made.choices, made.position) == ("区域", Kind.CHOICE, ["华东", "华北"], 5)
        entry = AuditEntry.objects.get(model="accounts.attribute", object_id=made.pk)
        assert (entry.action, entry.actor_name) == ("created", "root")

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"choices": ""}, "choices"),
            ({"choices": "a;b"}, "choices"),
            ({"choices": "a；b"}, "choices"),
            ({"choices": "x" * 256}, "choices"),
            ({"choices": "\n".join(str(number) for number in range(501))}, "choices"),
            *(({"key": key}, "key") for key in ("Region", "1st", "a-b")),
            ({"key": "bi_login_id"}, "key"),
            ({"name": "BI loginId"}, "name"),
            ({"name": "用户名"}, "name"),
            ({"name": " E-Mail "}, "name"),
            ({"is_employee_number": "on"}, "is_unique"),
            ({"is_bi_login_id": "on", "is_many_valued": "on"}, "is_many_valued"),
        ],
    )
    def test_one_that_cannot_work_is_refused_at_its_field(self, root: User, sent: dict[str, str], field: str) -> None:
        response = self.define(signed_in(root), **sent)

        assert field in response.context["adminform"].form.errors
        assert Attribute.objects.count() == 1

    def test_a_second_login_id_is_refused_and_the_first_one_not_deleted(self, root: User, login: Attribute) -> None:
        client = signed_in(root)

        assert self.define(client, is_bi_login_id="on", is_unique="on").status_code == 200
        assert client.post(f"{DEFINITIONS}{login.pk}/delete/", {"post": "yes"}).status_code == 403
        assert Attribute.objects.get() == login

    def test_the_key_stays(self, root: User, region: Attribute) -> None:
        client = signed_in(root)
        path = f"{DEFINITIONS}{region.pk}/change/"

        client.post(path, {**sent_form(client, path), "key": "other", "name": "大区"})

        region.refresh_from_db()
        assert (region.key, region.name) == ("region", "大区")

    def test_a_choice_that_people_have_is_not_removed(self, root: User, person: User, region: Attribute) -> None:
        set_values(attribute=region, values={person.pk: ["华东"]})
        client = signed_in(root)
        path = f"{DEFINITIONS}{region.pk}/change/"

        response = client.post(path, {**sent_form(client, path), "choices": "华北"})

        assert response.context["adminform"].form.errors == {
            "choices": ["有 1 人正在使用被删去的选项，请先修改他们的属性值。"]
        }
        region.refresh_from_db()
        assert region.choices == ["华东", "华北"]

    def test_deleting_says_what_it_takes_away(self, root: User, person: User, region: Attribute) -> None:
        set_values(attribute=region, values={person.pk: ["华东"]})
        client = signed_in(root)

        question = client.get(f"{DEFINITIONS}{region.pk}/delete/").content.decode()
        client.post(f"{DEFINITIONS}{region.pk}/delete/", {"post": "yes"})

        assert "1 人的属性值" in question
        assert not Attribute.objects.filter(key="region").exists()
        assert not AttributeValue.objects.exists()

    def test_one_by_which_a_directory_finds_people_stays(self, root: User, corp: Corp, number: Attribute) -> None:
        """Keep it and its mark as employee number until the policy names another attribute."""
        policy = DirectoryPolicy.objects.create(corp=corp, mode="link", number_attribute=number)
        client, page = signed_in(root), f"{DEFINITIONS}{number.pk}/"

        question = client.get(f"{page}delete/").content.decode()
        client.post(f"{page}delete/", {"post": "yes"})
        sent = sent_form(client, f"{page}change/")
        refused = client.post(f"{page}change/", {name: sent[name] for name in sent if name != "is_employee_number"})

        assert "通讯录策略: 北山制造" in question
        assert 'name="post"' not in question
        errors = refused.context["adminform"].form.errors
        assert errors == {
            "is_employee_number": ["通讯录按此属性查找人员（北山制造），请先在通讯录策略中改用其他属性。"]
        }
        number.refresh_from_db()
        assert number.is_employee_number
        policy.delete()
        client.post(f"{page}delete/", {"post": "yes"})
        assert not Attribute.objects.filter(pk=number.pk).exists()

    def test_one_by_which_people_enter_the_bi_stays_marked(self, root: User, login: Attribute) -> None:
        client, page = signed_in(root), f"{DEFINITIONS}{login.pk}/change/"
        bi = BiConnection.objects.create(is_enabled=True, external_id_source="bi_login_id")
        sent = {name: value for name, value in sent_form(client, page).items() if name != "is_bi_login_id"}

        refused = client.post(page, sent)
        assert list(refused.context["adminform"].form.errors) == ["is_bi_login_id"]
        login.refresh_from_db()
        assert login.is_bi_login_id

        BiConnection.objects.filter(pk=bi.pk).update(external_id_source="username")
        assert client.post(page, sent).status_code == 302
        login.refresh_from_db()
        assert not login.is_bi_login_id


class TestAPersonsPage:
    def test_shows_and_sets_values_and_writes_none_without_a_change(
        self, root: User, person: User, region: Attribute, number: Attribute
    ) -> None:
        client = signed_in(root)

        response = save(client, person, attribute_region="华北", attribute_employee_number="A0042")
        kept = list(AttributeValue.objects.values_list("pk", flat=True))

        assert response.status_code == 302
        assert find_values(attribute=region) == {person.pk: ["华北"]}
        assert find_values(attribute=number) == {person.pk: ["A0042"]}
        sent = sent_form(client, page_of(person))
        assert (sent["attribute_region"], sent["attribute_employee_number"]) == ("华北", "A0042")
        save(client, person)
        assert list(AttributeValue.objects.values_list("pk", flat=True)) == kept

    def test_several_values_are_lines_and_several_choices_boxes(
        self, root: User, person: User, region: Attribute
    ) -> None:
        shops = Attribute.objects.create(key="shops", name="门店", is_many_valued=True)
        Attribute.objects.filter(pk=region.pk).update(is_many_valued=True)

        save(signed_in(root), person, attribute_shops="一店\r\n二店; 三店", attribute_region=["华东", "华北"])

        assert find_values(attribute=shops) == {person.pk: ["一店", "二店", "三店"]}
        assert find_values(attribute=region) == {person.pk: ["华东", "华北"]}

    def test_a_wrong_value_is_refused_at_its_field(self, root: User, person: User, region: Attribute) -> None:
        response = save(signed_in(root), person, attribute_region="华南", name="不应保存")

        assert response.context["adminform"].form.errors == {"attribute_region": ["“华南”不在选项中。"]}
        person.refresh_from_db()
        assert person.name == "李雷"

    def test_a_value_of_somebody_else_names_whom_one_may_see(
        self, root: User, limited: User, person: User, number: Attribute
    ) -> None:
        stranger = make_person("stranger")
        set_values(attribute=number, values={stranger.pk: ["A1"]})

        seen = save(signed_in(root), person, attribute_employee_number="a1")
        unseen = save(signed_in(limited), person, attribute_employee_number="a1")

        field = "attribute_employee_number"
        assert seen.context["adminform"].form.errors[field] == ["“a1”已属于 stranger。"]
        assert unseen.context["adminform"].form.errors[field] == ["“a1”已属于其他人。"]
        assert find_values(attribute=number) == {stranger.pk: ["A1"]}

    def test_a_value_taken_between_check_and_saving_is_refused(
        self, root: User, person: User, number: Attribute
    ) -> None:
        stranger, client = make_person("stranger"), signed_in(root)
        sent = {**sent_form(client, page_of(person)), "attribute_employee_number": "A1"}

        def claim_first() -> None:
            AttributeValue.objects.create(user=stranger, attribute=number, value="A1", folded="a1", is_unique=True)

        with just_before("^UPDATE.*accounts_user", claim_first) as taken:
            response = client.post(page_of(person), sent)

        # The stranger's value was rolled back with our failed try, so the second try gives it to this person.
        assert (response.status_code, bool(taken)) == (302, True)
        assert find_values(attribute=number) == {person.pk: ["A1"]}

    def test_who_enters_the_bi_as_whom_is_for_administrators_of_all_companies(
        self, editor: User, limited: User, person: User, login: Attribute
    ) -> None:
        save(signed_in(limited), person, attribute_bi_login_id="ceo")
        assert find_values(attribute=login) == {}

        save(signed_in(editor), person, attribute_bi_login_id="lilei")
        save(signed_in(limited), person, attribute_bi_login_id="")
        assert find_values(attribute=login) == {person.pk: ["lilei"]}

    def test_who_may_only_look_sees_the_values(self, corp: Corp, person: User, region: Attribute) -> None:
        set_values(attribute=region, values={person.pk: ["华北"]})
        reader = with_role("reader", Role.READ_ONLY, corp)

        text = signed_in(reader).get(page_of(person)).content.decode()

        assert "<b>区域</b> 华北" in text
        assert 'name="attribute_region"' not in text

    def test_a_page_asks_as_often_for_many_attributes(self, root: User, person: User) -> None:
        client = signed_in(root)
        client.get(page_of(person))
        counts = []
        for number in range(2):
            counts.append(count_statements(client.get, page_of(person)))
            Attribute.objects.bulk_create(
                Attribute(key=f"a{number}_{one}", name=f"属性{number}-{one}") for one in range(20)
            )

        assert counts[0] == counts[1]


class TestTheList:
    def found(self, client: Client, **query: str) -> set[str]:
        page: Any = client.get(LIST, query)
        return {one.username for one in page.context["cl"].result_list}

    def test_is_filtered_by_a_choice(self, root: User, person: User, region: Attribute) -> None:
        set_values(attribute=region, values={person.pk: ["华北"]})
        client = signed_in(root)

        assert self.found(client, a_region="华北") == {"lilei"}
        assert self.found(client, a_region="华东") == set()
        assert self.found(client, a_region="nonsense") == {"lilei", "root"}

    def test_is_searched_by_a_value_that_belongs_to_one_person(
        self, root: User, limited: User, person: User, number: Attribute, region: Attribute
    ) -> None:
        stranger = make_person("stranger")
        set_values(attribute=number, values={person.pk: ["A0042"], stranger.pk: ["B1"]})
        set_values(attribute=region, values={person.pk: ["华北"]})

        assert self.found(signed_in(root), q="a0042") == {"lilei"}
        assert self.found(signed_in(root), q="A00") == set()
        assert self.found(signed_in(root), q="华北") == set()
        assert self.found(signed_in(limited), q="B1") == set()


class TestManyPeople:
    def post(self, client: Client, people: list[User], **values: Any) -> Any:
        keys = [user.pk for user in people]
        return client.post(LIST, {"action": "set_attribute", "_selected_action": keys, **values}, follow=True)

    def test_first_asks_which_then_what_then_sets_it_for_all_selected(
        self, root: User, person: User, region: Attribute
    ) -> None:
        client, people = signed_in(root), [person, make_person("hanmei")]

        first = self.post(client, people)
        second = self.post(client, people, attribute=region.pk)

        assert 'name="attribute"' in first.content.decode()
        assert "values" in second.context["form"].fields
        assert not second.context["form"].errors
        for nonsense in ("", "x", "99999999999999999999", "0"):
            assert self.post(client, people, attribute=nonsense, values="华北", apply="1").status_code == 200
        assert not AttributeValue.objects.exists()
        page = self.post(client, people, attribute=region.pk, values="华北", apply="1")
        assert find_values(attribute=region) == {one.pk: ["华北"] for one in people}
        assert "已修改 2 人的“区域”。" in page.content.decode()

    def test_more_people_than_one_request_can_do_get_nothing(
        self, root: User, person: User, region: Attribute, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("accounts.admin.users.SET_AT_MOST", 1)
        people = [person, make_person("hanmei")]

        page = self.post(signed_in(root), people, attribute=region.pk, values="华北", apply="1")

        refusal = (
            '未作任何修改：一次最多设置 1 人。请减少选择，或<a href="/admin/accounts/peopleimport/add/">导入文件</a>。'
        )
        assert refusal in page.content.decode()
        assert not AttributeValue.objects.exists()

    def test_is_limited_to_who_may_be_changed_and_to_what_one_may_set(
        self, limited: User, other_corp: Corp, person: User, region: Attribute, login: Attribute
    ) -> None:
        people, client = [person, make_person("stranger", other_corp, "s")], signed_in(limited)

        page = self.post(client, people, attribute=login.pk, values="ceo", apply="1")
        self.post(client, people, attribute=region.pk, values="华北", apply="1")

        assert page.context["attribute"] is None
        assert find_values(attribute=login) == {}
        assert find_values(attribute=region) == {person.pk: ["华北"]}

    def test_one_person_s_value_is_not_given_to_two(self, root: User, person: User, number: Attribute) -> None:
        other = make_person("hanmei")

        page = self.post(signed_in(root), [person, other], attribute=number.pk, values="A1", apply="1")

        assert "values" in page.context["form"].errors
        assert not AttributeValue.objects.exists()
