"""User attributes: values and definitions; and the two of WeCom, which appear when the first company is enabled."""

from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.admin.users import STATE_COLUMN
from accounts.models import Attribute, AttributeValue, AuditEntry, User, WeComAccount
from accounts.users.attributes import (
    check_definition,
    ensure_bi_login_id,
    find_values,
    set_values,
)
from integrations.models import Corp
from integrations.models.fields import list_encrypted_columns
from tests.accounts.admin.test_admin import administrator, form_of
from tests.accounts.conftest import make_corp, make_person
from tests.accounts.people import LIST, signed_in
from tests.integrations.diagnosing import pass_checks
from tests.statements import count_statements

Kind = Attribute.Kind
pytestmark = pytest.mark.django_db


def make_attribute(key: str = "region", **values: Any) -> Attribute:
    return Attribute.objects.create(**{"key": key, "name": f"{key}的名称", **values})


class TestWhatAnAttributeTakes:
    @pytest.mark.parametrize(
        ("kind", "text", "stored"),
        [
            (Kind.TEXT, "  华东 ", "华东"),
            (Kind.TEXT, "00123", "00123"),
            (Kind.TEXT, "=1+1", "=1+1"),
            (Kind.TEXT, "x" * 255, "x" * 255),
            (Kind.NUMBER, "1,200.50", "1200.5"),
            (Kind.NUMBER, "007", "7"),
            (Kind.NUMBER, "-0", "0"),
            (Kind.NUMBER, "-3", "-3"),
            (Kind.NUMBER, "1.38E+3", "1380"),
            (Kind.NUMBER, "1e29", "1" + "0" * 29),
            (Kind.CHOICE, "EAST", "East"),
        ],
    )
    def test_a_value_is_stored_tidied(self, kind: str, text: str, stored: str) -> None:
        attribute = Attribute(name="n", kind=kind, choices=["East"])

        assert attribute.clean_values([text]) == [stored]

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            (Kind.TEXT, "x" * 256),
            (Kind.TEXT, "a\x00b"),
            (Kind.TEXT, "a\u202eb"),
            (Kind.TEXT, "two\nlines"),
            (Kind.NUMBER, "twelve"),
            (Kind.NUMBER, "NaN"),
            (Kind.NUMBER, "Infinity"),
            (Kind.NUMBER, "1e30"),
            (Kind.NUMBER, "1e999999"),
            (Kind.NUMBER, "1e-31"),
            (Kind.CHOICE, "West"),
        ],
    )
    def test_a_value_is_refused(self, kind: str, text: str) -> None:
        attribute = Attribute(name="n", kind=kind, choices=["East"])

        with pytest.raises(ValidationError):
            attribute.clean_values([text])

    def test_empty_texts_and_repetitions_are_no_values_of_which_a_hundred_are_the_most(self) -> None:
        attribute = Attribute(name="n", is_many_valued=True)

        assert attribute.clean_values(["a", " ", "B", "A", ""]) == ["A", "B"]
        assert len(attribute.clean_values([str(number) for number in range(100)])) == 100
        with pytest.raises(ValidationError):
            attribute.clean_values([str(number) for number in range(101)])
        with pytest.raises(ValidationError):
            Attribute(name="n").clean_values(["a", "b"])

    def test_a_semicolon_separates_values_where_there_may_be_several(self) -> None:
        several, one = Attribute(name="n", is_many_valued=True), Attribute(name="n")

        assert several.split_values("华东；华北;x\ny") == ["华东", "华北", "x", "y"]
        assert one.split_values("a;b") == ["a;b"]
        with pytest.raises(ValidationError):
            several.clean_values(["a;b"])


class TestTheReadyMadeOne:
    def test_the_bi_s_login_id_is_there_from_the_start(self) -> None:
        found = Attribute.objects.bi_login_ids().get()

        assert (found.key, found.name, found.is_unique, found.kind) == ("bi_login_id", "BI loginId", True, Kind.TEXT)

    def test_another_one_may_take_its_place(self) -> None:
        Attribute.objects.bi_login_ids().delete()
        other = make_attribute("login", is_bi_login_id=True)

        ensure_bi_login_id()

        assert Attribute.objects.get() == other

    def test_there_is_one_at_most(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            make_attribute("login", is_bi_login_id=True)


class TestReading:
    def test_everybody_s_values_and_some_people_s(self, person: User, region: Attribute) -> None:
        other, _nobody = make_person("hanmei"), make_person("nobody")
        set_values(attribute=region, values={person.pk: ["华北", "华东"], other.pk: ["East"]})

        assert find_values(attribute=region) == {person.pk: ["华北", "华东"], other.pk: ["East"]}
        assert find_values(attribute=region, users=[other.pk]) == {other.pk: ["East"]}
        assert find_values(attribute=region, users=User.objects.filter(username="lilei")) == {
            person.pk: ["华北", "华东"]
        }

    def test_who_has_one_of_some_values(self, person: User, region: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=region, values={person.pk: ["华北", "华东"], other.pk: ["East"]})

        def find_people(*values: str) -> set[User]:
            return {row.user for row in AttributeValue.objects.of(region).among(values).select_related("user")}

        assert find_people("华东") == {person}
        assert find_people("east ", "华北") == {person, other}
        assert find_people("华") == find_people() == set()


class TestSetting:
    def test_values_are_replaced_and_taken_away_with_both_and_the_company_in_the_trail(
        self, corp: Corp, person: User, region: Attribute
    ) -> None:
        assert set_values(attribute=region, values={person.pk: ["华北"]}) == 1
        before = list(AttributeValue.objects.values_list("pk", flat=True))
        assert set_values(attribute=region, values={person.pk: ["华北"]}) == 0
        assert list(AttributeValue.objects.values_list("pk", flat=True)) == before
        # A person who no longer exists is skipped.
        assert set_values(attribute=region, values={person.pk: ["华东", "East"], 10**9: ["华北"]}) == 1
        assert find_values(attribute=region) == {person.pk: ["华东", "East"]}
        assert set_values(attribute=region, values={person.pk: []}) == 1

        assert find_values(attribute=region) == {}
        entries = AuditEntry.objects.filter(model="accounts.user", object_id=person.pk, action="changed").order_by("pk")
        assert [(entry.changes, entry.corp_id) for entry in entries] == [
            ([["区域", None, "华北"]], corp.pk),
            ([["区域", "华北", "华东; East"]], corp.pk),
            ([["区域", "华东; East", None]], corp.pk),
        ]

    def test_a_wrong_value_leaves_everybody_as_before(self, person: User, region: Attribute) -> None:
        other = make_person("hanmei")

        with pytest.raises(ValidationError):
            set_values(attribute=region, values={person.pk: ["华东"], other.pk: ["West"]})

        assert not AttributeValue.objects.exists()
        assert not AuditEntry.objects.filter(model="accounts.user", action="changed").exists()

    def test_the_queries_do_not_grow_with_the_people(self, region: Attribute) -> None:
        people = User.objects.bulk_create(User(username=f"p{number}") for number in range(62))
        counts = []

        for some in (people[:2], people[2:]):
            counts.append(count_statements(set_values, attribute=region, values={one.pk: ["华东"] for one in some}))

        assert counts[0] == counts[1]


class TestValuesOfOnePerson:
    def test_two_people_may_swap_theirs_and_change_its_spelling(self, person: User, number: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=number, values={person.pk: ["A1"], other.pk: ["A2"]})

        assert set_values(attribute=number, values={person.pk: ["a2"], other.pk: ["A1"]}) == 2
        assert set_values(attribute=number, values={person.pk: ["A2"]}) == 1
        assert find_values(attribute=number) == {person.pk: ["A2"], other.pk: ["A1"]}

    def test_the_database_holds_the_rule(self, person: User, number: Attribute) -> None:
        other = make_person("hanmei")
        set_values(attribute=number, values={person.pk: ["A1"]})

        with pytest.raises(IntegrityError), transaction.atomic():
            AttributeValue.objects.create(
                user=other, attribute=number, value="a1", folded="a1", is_unique=number.is_unique
            )


class TestChangingADefinition:
    @pytest.mark.parametrize(("column", "value"), [("kind", Kind.TEXT), ("is_many_valued", False), ("is_unique", True)])
    def test_what_the_values_do_not_fit_is_refused(
        self, person: User, region: Attribute, column: str, value: object
    ) -> None:
        set_values(attribute=region, values={person.pk: ["华东", "华北"], make_person("hanmei").pk: ["华东"]})
        setattr(region, column, value)

        with pytest.raises(ValidationError) as refused:
            check_definition(attribute=region)

        assert set(refused.value.message_dict) == {column}

    def test_the_values_follow_the_rule_that_they_belong_to_one_person(self, person: User) -> None:
        team = make_attribute("team")
        set_values(attribute=team, values={person.pk: ["A"]})
        team.is_unique = True
        check_definition(attribute=team)

        page = admin.site.get_model_admin(Attribute)
        page.save_model(HttpRequest(), team, None, True)

        assert AttributeValue.objects.get().is_unique
        team.is_unique = False
        page.save_model(HttpRequest(), team, None, True)
        assert not AttributeValue.objects.get().is_unique


HINT = "首次启用企业微信公司后，这里会出现“企业微信公司名称”和“企业微信账号”两个属性。"
NEITHER_NOR = "不是个人微信号，也不是企业微信名称"


@pytest.fixture
def new_corp(db: None) -> Corp:
    """A company that was entered and tested, but never enabled."""
    corp = make_corp("北山制造", 1, is_enabled=False)
    pass_checks(corp)
    return corp


def list_page(client: Client, **query: str) -> Any:
    return client.get(LIST, query)


class TestBeforeTheFirstEnabling:
    def test_the_list_has_neither_columns_nor_filters_nor_bulk_action_and_the_forms_no_accounts(
        self, new_corp: Corp, root: User
    ) -> None:
        person, client = make_person("lilei", name="李雷"), signed_in(root)

        page = list_page(client, q="李雷")

        text = page.content.decode()
        changelist = page.context["cl"]
        *columns, row_actions = changelist.list_display
        assert columns == ["action_checkbox", "username", "name", STATE_COLUMN, "is_staff"]
        assert row_actions.short_description == "操作"
        assert [spec.field_path for spec in changelist.filter_specs] == ["is_active", "is_staff"]
        assert [user.username for user in changelist.result_list] == ["lilei"]
        assert changelist.search_help_text == "用户名或姓名"
        assert "set_company" not in text
        assert HINT in text
        assert "/admin/integrations/corp/" in text
        for path in (f"{LIST}{person.pk}/change/", f"{LIST}add/"):
            text = client.get(path).content.decode()
            assert "wecom_accounts-" not in text
            assert HINT in text

    def test_nothing_sent_by_hand_links_anybody(self, new_corp: Corp, root: User) -> None:
        person = make_person("lilei")
        client = signed_in(root)
        sent = form_of(client, person)

        client.post(
            f"{LIST}{person.pk}/change/",
            {
                **sent,
                "wecom_accounts-TOTAL_FORMS": 1,
                "wecom_accounts-INITIAL_FORMS": 0,
                "wecom_accounts-0-corp": new_corp.pk,
                "wecom_accounts-0-userid": "lilei",
            },
        )
        client.post(LIST, {"action": "set_company", "_selected_action": person.pk, "apply": "1", "corp": new_corp.pk})

        assert not WeComAccount.objects.exists()

    def test_a_limited_administrator_adds_nobody_whom_they_would_not_see(self, new_corp: Corp) -> None:
        limited = administrator("limited", new_corp)
        of_all = signed_in(administrator("of-all", manages_all_corps=True))

        assert signed_in(limited).get(f"{LIST}add/").status_code == 403
        assert of_all.get(f"{LIST}add/").status_code == 200
        # There is no link to companies for people who may not see them.
        text = list_page(of_all).content.decode()
        assert HINT in text
        assert 'href="/admin/integrations/corp/"' not in text


class TestTheFirstEnabling:
    def enable(self, client: Client, corp: Corp) -> str:
        page = client.post(f"/admin/integrations/corp/{corp.pk}/enable/", follow=True)
        assert page.status_code == 200
        return page.content.decode()

    def test_tells_of_the_attributes_once_and_brings_them_at_once_and_for_good(
        self, new_corp: Corp, root: User
    ) -> None:
        client, person = signed_in(root), make_person("lilei")
        path = "/admin/accounts/attribute/"
        names = "<strong>企业微信公司名称</strong> · <strong>企业微信账号</strong>"
        assert names not in client.get(path).content.decode()

        told = self.enable(client, new_corp)
        client.post(f"/admin/integrations/corp/{new_corp.pk}/disable/")

        assert "人员已新增两个基础属性：“企业微信公司名称”和“企业微信账号”。" in told
        assert f'<a href="{LIST}">去设置</a>' in told
        text = client.get(path).content.decode()
        assert "<title>用户基础属性 | guanwecom</title>" in text
        assert names in text
        assert f'<a href="{LIST}">去设置</a>' in text
        page = list_page(client)
        text = page.content.decode()
        assert [one.__name__ for one in page.context["cl"].list_display[3:5]] == ["company", "wecom_account"]
        assert "企业微信公司名称" in text
        assert 'value="set_company"' in text
        assert HINT not in text
        for form in (f"{LIST}{person.pk}/change/", f"{LIST}add/"):
            assert "wecom_accounts-0-userid" in client.get(form).content.decode()
        assert "已新增两个基础属性" not in self.enable(client, new_corp)

    def test_of_another_company_says_nothing(self, new_corp: Corp, root: User) -> None:
        make_corp("南湖贸易", 2)

        assert "已新增两个基础属性" not in self.enable(signed_in(root), new_corp)


def test_what_the_account_is_stands_on_the_persons_page_and_at_the_search(corp: Corp, person: User, root: User) -> None:
    """Follow the specification's note: it is neither the personal WeChat ID nor the name in WeCom, but the ID in its
    contacts."""
    client = signed_in(root)
    for path in (f"{LIST}{person.pk}/change/", f"{LIST}add/"):
        text = client.get(path).content.decode()

        assert f"企业微信账号是企业微信通讯录里的 ID，{NEITHER_NOR}。" in text
        assert "企业微信管理后台 → 通讯录 → 点击某个用户，或“批量导出”的文件" in text
        assert f"企业微信通讯录里的 ID：{NEITHER_NOR}。" in text  # beside the column's title
        assert "两项都可以留空" in text
    assert "企业微信账号（企业微信通讯录里的 ID）" in list_page(client).content.decode()


def test_the_company_can_only_be_chosen_and_the_list_reads_no_secret_of_one(
    corp: Corp, other_corp: Corp, person: User, root: User
) -> None:
    """Follow the specification's note 2: choose from entered companies, never type one."""
    client = signed_in(root)
    with CaptureQueriesContext(connection) as queries:
        text = client.get(LIST).content.decode()
    assert text.count(f'<td class="field-company">{corp.name}</td>') == 1
    secrets = [f'"integrations_corp"."{column}"' for column in list_encrypted_columns(Corp)]
    assert len(secrets) == 8
    assert [query["sql"] for query in queries if any(secret in query["sql"] for secret in secrets)] == []
    text = client.get(f"{LIST}{person.pk}/change/").content.decode()
    sent = {**form_of(client, person), "wecom_accounts-0-corp": "南湖贸易"}

    refused = client.post(f"{LIST}{person.pk}/change/", sent)

    assert '<select name="wecom_accounts-0-corp"' in text
    assert f'<option value="{other_corp.pk}">南湖贸易</option>' in text
    assert refused.status_code == 200
    assert person.wecom_accounts.get().corp == corp
