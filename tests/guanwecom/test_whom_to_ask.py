"""Pages of the administration name whom to ask if one may only look, and reveal nothing of other companies."""

from html import unescape

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User, WeComAccount
from accounts.users.roles import Role
from integrations.models import Card, Corp, DataSource, SourceKind
from tests.bi import make_bi
from tests.notifications.factories import make_corp, make_report, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
LOOKING = '<p class="whom-to-ask">您可以查看，但不能修改。{}</p>'
ADDING = '<p class="help whom-to-ask">您不能在此新建。{}</p>'
DATA = "/admin/notifications/subscription/data/"


@pytest.fixture
def corp() -> Corp:
    return make_corp(name="北山制造")


def client_of(role: Role, *corps: Corp, **fields: bool) -> Client:
    person = User.objects.create(username=f"{role.name.lower()}", is_staff=True, **fields)
    person.groups.add(Group.objects.get(name=role))
    person.managed_corps.set(corps)
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def reader(corp: Corp) -> Client:
    return client_of(Role.READ_ONLY, corp)


@pytest.fixture(autouse=True)
def _editor(corp: Corp) -> None:
    """The editor whom the reader sees and may ask."""
    editor = User.objects.create(username="hanmei", name="韩梅梅", is_staff=True)
    editor.groups.add(Group.objects.get(name=Role.PUSH_EDITOR))
    editor.managed_corps.add(corp)
    WeComAccount.objects.create(user=editor, corp=corp, userid="HanMei")


def test_pages_that_one_may_only_read(corp: Corp, reader: Client) -> None:
    push = make_subscription(report=make_report(corp=corp))
    make_bi()
    everywhere = client_of(Role.INTEGRATION_ADMINISTRATOR, manages_all_corps=True)

    for client, address, words in (
        (reader, f"notifications/subscription/{push.pk}", "请联系推送编辑或系统管理员：韩梅梅。"),
        (reader, f"integrations/corp/{corp.pk}", "请联系集成管理员或系统管理员。"),
        (everywhere, "integrations/biconnection/1", "请联系系统管理员。"),
    ):
        assert LOOKING.format(words) in client.get(f"/admin/{address}/change/").text
    for log in ("notifications/run", "accounts/auditentry"):  # nobody edits logs
        assert "whom-to-ask" not in reader.get(f"/admin/{log}/").text
    for client in (client_of(Role.PUSH_EDITOR, corp), Client()):  # who may change and add reads nothing
        if "sessionid" not in client.cookies:
            client.force_login(make_superuser())
        for page in (f"{push.pk}/change/", ""):
            assert "whom-to-ask" not in client.get(f"/admin/notifications/subscription/{page}").text


def test_a_list_to_which_one_may_not_add_and_the_page_that_would(corp: Corp, reader: Client) -> None:
    whole = "/admin/notifications/subscription/"
    assert ADDING.format("请联系推送编辑或系统管理员：韩梅梅。") in reader.get(whole).text

    refused = reader.get(f"{whole}add/")
    assert refused.status_code == 403
    assert "<p>请联系推送编辑或系统管理员：韩梅梅。</p>" in refused.text
    assert 'href="/admin/">返回管理后台</a>' in refused.text
    refused = client_of(Role.SYSTEM_ADMINISTRATOR, corp).get("/admin/integrations/biconnection/1/change/")
    assert (refused.status_code, "<p>请联系可管理全部公司的系统管理员。</p>" in refused.text) == (403, True)
    employee = Client()
    employee.force_login(User.objects.create(username="lilei"))
    assert "推送编辑" not in employee.get(f"{whole}add/", follow=True).text


def data_of(client: Client) -> str:
    return " ".join(unescape(client.post(DATA).json()["html"]).split())


def test_a_bi_of_all_companies_is_said_to_be_there_and_not_to_be_seen(corp: Corp) -> None:
    client = client_of(Role.PUSH_EDITOR, corp)
    assert "还没有连接观远 BI。 请联系可管理全部公司的系统管理员。" in data_of(client)
    make_bi()
    Card.objects.create(name="销售", source=DataSource.objects.create(name="BI", kind=SourceKind.GUANDATA))

    shown = data_of(client)

    asked = "请联系可管理全部公司的集成管理员或系统管理员。"
    assert f"观远 BI 已连接，但其 BI 卡片面向全部公司，您无权查看。 {asked}" in shown
    assert "已有面向全部公司的数据，但您无权查看。" in shown
    assert "销售" not in shown


def test_nothing_tells_of_the_source_of_another_company(corp: Corp) -> None:
    make_bi()
    client, pages = client_of(Role.PUSH_EDITOR, corp), []
    for source_corp in (None, make_corp(name="南河贸易")):
        if source_corp is not None:
            source = DataSource.objects.create(name="BI", kind=SourceKind.GUANDATA, corp=source_corp)
            Card.objects.create(name="销售", source=source)
        pages.append((data_of(client), client.get("/admin/").context["overview"]["steps"]))

    assert pages[0] == pages[1]


def test_the_step_about_data_says_that_there_are_sources_of_all_companies(corp: Corp) -> None:
    client = client_of(Role.PUSH_EDITOR, corp)
    DataSource.objects.create(name="仓库", kind=SourceKind.SQL)

    [step] = [one for one in client.get("/admin/").context["overview"]["steps"] if one.name == "数据"]

    assert (step.state, step.ask) == ("已有面向全部公司的数据源，但您无权查看。", "请联系集成管理员或系统管理员。")


def test_whether_a_password_is_set_is_said_and_not_how_it_is_stored(corp: Corp, reader: Client) -> None:
    person = User.objects.create_user("lilei", password="a long enough password")
    WeComAccount.objects.create(user=person, corp=corp, userid="LiLei")
    root = Client()
    root.force_login(make_superuser())
    address = f"/admin/accounts/user/{person.pk}/change/"

    page = root.get(address).text

    assert "已设置密码。" in page
    assert "pbkdf2" not in page
    looking = reader.get(address).text
    assert "重置密码" not in looking
    assert "已设置密码。" not in looking
