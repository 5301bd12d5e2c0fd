"""Selects of the administration without choices: they say why, and link to the page that changes it."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.models import Attribute, User
from accounts.users.roles import Role
from integrations.core.admin_pages import EMPTY_SELECT_HELP
from integrations.models import DataSource
from notifications.models import Robot
from tests.browser_form import skip_drawing
from tests.notifications.factories import make_corp, make_manager, make_superuser

pytestmark = pytest.mark.django_db
PUSH = "/admin/notifications/subscription/add/"
ALERT = "/admin/notifications/alertrule/add/"


def client_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


def lines_of(client: Client, address: str) -> dict[str, str]:
    text = client.get(address).content.decode()
    found = re.findall(r'<p class="way-out" data-way-out="([^"]*)">(.*?)</p>', text, re.S)
    return {field: " ".join(re.sub(r"<[^>]+>", " ", line).split()) for field, line in found}


def test_every_select_of_a_push_that_is_empty_says_why_and_leads_on(root: Client) -> None:
    Attribute.objects.all().delete()
    lines = lines_of(root, PUSH)
    names = ("id_departments", "id_robot", "id_corp", "id_rules", "own-rows-attribute")
    assert {name: lines[name] for name in names} == {
        "id_departments": "还没有同步通讯录。 接入企业微信公司",
        "id_robot": "还没有录入群机器人。 新建群机器人",
        "id_corp": "还没有接入企业微信公司。 接入企业微信公司",
        "id_rules": "还没有可选的人员属性。 新建人员属性",
        "own-rows-attribute": "还没有可选的人员属性。 新建人员属性",
    }


def test_what_a_company_has_is_synchronised_or_added_though_there_is_some_and_nothing_has_two_links(
    root: Client,
) -> None:
    corp = make_corp()
    Robot.objects.create(name="群", corp=corp, key="k" * 36)
    lines = lines_of(root, PUSH)
    assert {name: lines[name] for name in ("id_departments", "id_users", "id_robot", "own-rows-attribute")} == {
        **{"id_departments": "还没有同步通讯录。 同步通讯录", "id_users": "新建人员", "id_robot": "新建群机器人"},
        **{"own-rows-attribute": "新建人员属性"},
    }
    text = root.get(PUSH).text
    assert f'<a href="/admin/integrations/syncrun/start/{corp.pk}/" target="_blank" rel="opener">' in text
    for address in (PUSH, ALERT, "/admin/accounts/user/add/"):
        ids = re.findall(r'id="(add_id_\w+)"', root.get(address).text)
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("address", [PUSH, ALERT])
def test_groups_that_stand_for_roles_are_nobody_s_address(root: Client, address: str) -> None:
    lines = lines_of(root, address)
    assert lines["id_groups"] == "没有可选的人员组。 新建人员组"
    Group.objects.create(name="早报读者")
    assert "没有" not in lines_of(root, address).get("id_groups", "")


def test_who_may_add_nothing_reads_whom_to_ask() -> None:
    editor = client_of(make_manager(make_corp(), permissions="subscription"))
    lines = lines_of(editor, PUSH)
    assert lines["id_robot"] == "还没有录入群机器人。 请联系推送编辑、集成管理员或系统管理员。"
    assert lines["id_departments"] == "还没有同步通讯录。 请联系集成管理员或系统管理员。"


def test_who_has_no_company_and_who_sees_no_data_of_all_companies_reads_that() -> None:
    DataSource.objects.create(name="BI", kind="guandata")
    lines = lines_of(client_of(make_manager()), PUSH)
    assert lines["id_corp"] == "您还没有可管理的企业微信公司。 请联系可管理全部公司的系统管理员。"
    editor = make_manager(make_corp())
    editor.user_permissions.add(*Permission.objects.filter(codename__in=("add_card", "view_card")))
    page = client_of(editor).get("/admin/integrations/card/add/").text
    assert "<p>已有面向全部公司的数据源，但您无权查看。</p>" in page
    assert "<p>请联系可管理全部公司的集成管理员或系统管理员。</p>" in page


@pytest.mark.parametrize(
    ("address", "field", "line"),
    [
        ("/admin/notifications/robot/add/", "id_corp", "还没有接入企业微信公司。 接入企业微信公司"),
        (ALERT, "id_departments", "还没有同步通讯录。 接入企业微信公司"),
        ("/admin/accounts/departmentgroup/add/", "id_department", "还没有同步通讯录。 接入企业微信公司"),
        ("/admin/integrations/datasource/add/?kind=sql", "id_corp", "还没有接入企业微信公司。 接入企业微信公司"),
        (
            "/admin/notifications/report/add/",
            "id_own_rows_rules-__prefix__-attribute",
            "还没有可选的人员属性。 新建人员属性",
        ),
    ],
)
def test_other_forms_have_the_same_line(root: Client, address: str, field: str, line: str) -> None:
    Attribute.objects.all().delete()
    assert lines_of(root, address)[field] == line


def test_every_way_leads_to_a_model_of_the_administration() -> None:
    known = {model._meta.label for model in admin.site._registry}
    assert set(EMPTY_SELECT_HELP) <= known


def test_a_source_added_for_a_card_leads_on_to_the_card(root: Client) -> None:
    choices = root.get("/admin/integrations/card/add/?_popup=1&_to_field=id").content.decode()
    assert 'href="/admin/integrations/datasource/add/?_popup=1&amp;_to_field=id&amp;for_card=1"' in choices

    sent = {
        **{"name": "仓库", "kind": "json", "http_url": "https://api.example.com", "is_enabled": "on", "_popup": "1"},
        **{"timeout_seconds": "30", "row_limit": "100", "parallel_limit": "2"},
    }
    address = "/admin/integrations/datasource/add/?kind=json&_popup=1&_to_field=id&for_card=1"
    answer = root.post(address, sent)

    assert re.fullmatch(r"/admin/integrations/card/add/\?_popup=1&_to_field=id&source=\d+", answer["Location"])
    assert "仓库" in root.get(answer["Location"]).content.decode()


def dead_ends(client: Client, address: str) -> list[str]:
    """Return selects of the form without choices that give no reason, or neither a person to ask nor a link."""
    with skip_drawing():
        context = getattr(client.get(address), "context_data", None) or {}
    if "adminform" not in context:
        return []
    formsets = [one.formset for one in context["inline_admin_formsets"]]
    forms = [context["adminform"].form, *(form for one in formsets for form in [*one.forms, one.empty_form])]
    content = getattr(forms[0], "content", None)
    found = []
    for form in [*forms, *([content] if content is not None else [])]:
        for name, field in form.fields.items():
            queryset = getattr(field, "queryset", None)
            if queryset is None or field.disabled or field.widget.is_hidden or queryset.exists():
                continue
            help = getattr(field.widget, "help", {})
            if not (help.get("why") and (help.get("add_url") or help.get("page_url") or help.get("ask"))):
                found.append(f"{address} {name}")
    return found


WHO = [(None, "all"), *((role, "one") for role in Role), *((Role.PUSH_EDITOR, manages) for manages in ("all", "none"))]


@pytest.mark.parametrize(("role", "manages"), WHO)
def test_no_form_of_an_empty_product_has_a_dead_end(role: Role | None, manages: str) -> None:
    Attribute.objects.all().delete()
    person = make_superuser() if role is None else make_manager()
    if role is not None:
        person.user_permissions.clear()
        person.groups.add(Group.objects.get(name=role))
        person.manages_all_corps = manages == "all"
        person.save()
        person.managed_corps.set([make_corp()] if manages == "one" else [])
    client = client_of(person)

    found = [one for address in add_forms() for one in dead_ends(client, address)]

    assert found == []


def add_forms() -> list[str]:
    names = [f"admin:{model._meta.app_label}_{model._meta.model_name}_add" for model in admin.site._registry]
    addresses = []
    for name in names:
        try:
            addresses.append(reverse(name))
        except NoReverseMatch:
            continue
    kinds = [f"/admin/integrations/datasource/add/?kind={kind}" for kind in ("guandata", "sql", "json")]
    return [*addresses, *kinds]
