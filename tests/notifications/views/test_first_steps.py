"""The six steps on the overview: each is ticked when it is done, and has a button for those who may do it."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.models import User, WeComAccount
from integrations.models import Card, Corp, DataSource, Member, SiteAddress, SourceKind
from notifications.models import Run
from notifications.views import overview
from notifications.views.overview import Step
from tests.bi import make_bi
from tests.notifications.admin.conftest import client_of
from tests.notifications.delivery.runs.test_index import make_deliveries
from tests.notifications.factories import (
    make_corp,
    make_manager,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
NAMES = ["地址", "公司", "人员", "数据", "推送", "送达"]


@pytest.fixture(autouse=True)
def _address() -> None:
    SiteAddress.objects.filter(is_default=True).update(url="http://localhost:3001/")


def steps_of(person: User) -> list[Step]:
    request = RequestFactory().get("/", headers={"host": "localhost:3001"})
    request.user = person
    return overview.list_steps(request)


def done(person: User) -> list[str]:
    return [step.name for step in steps_of(person) if step.is_done]


def staff(*codenames: str, **fields: Any) -> User:
    person = User.objects.create(username="staff", is_staff=True, **fields)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return person


def test_an_empty_product_begins_with_the_address_and_offers_every_step() -> None:
    steps = steps_of(make_superuser())
    address = SiteAddress.objects.default()
    assert [step.name for step in steps] == NAMES
    assert [(step.is_done, step.url) for step in steps] == [
        (False, f"/admin/integrations/siteaddress/{address.pk}/change/"),
        (False, "/admin/integrations/corp/add/"),
        (False, "/admin/integrations/corp/add/"),
        (False, "/admin/integrations/biconnection/"),
        (False, "/admin/notifications/subscription/add/"),
        (False, "/admin/notifications/run/"),
    ]


def state_of(name: str, person: User | None = None) -> tuple[bool, str, str]:
    """Return whether the step is done, its text, and its button."""
    [step] = [step for step in steps_of(person or make_superuser()) if step.name == name]
    return step.is_done, step.state, step.label


def test_of_an_address_that_others_do_not_reach() -> None:
    SiteAddress.objects.update(url="http://localhost:8000/")
    assert state_of("地址") == (False, "目前仍是 http://localhost:8000/，只有本机能访问。", "保存站点地址")
    SiteAddress.objects.update(url="https://hub.example.com/")
    assert state_of("地址") == (True, "https://hub.example.com/", "")
    SiteAddress.objects.update(url="http://localhost:3001/")
    make_corp(api_base_url="http://127.0.0.1:3002/")
    assert state_of("地址") == (True, "http://localhost:3001/，本机试用。", "")


def test_an_address_on_this_machine_may_wait_until_it_is_known_which_company_comes() -> None:
    root = make_superuser()
    address, company, *_others = steps_of(root)
    assert (address.is_done, address.may_wait, address.is_next) == (False, True, False)
    assert address.state == "目前仍是 http://localhost:3001/，只有本机能访问。用沙箱试用时可以不改。"
    assert company.is_next

    make_corp(is_enabled=False)
    address, company, *_others = steps_of(root)
    assert (address.may_wait, address.is_next, company.is_next) == (False, True, False)


def test_of_the_company() -> None:
    root = make_superuser()
    assert state_of("公司", root) == (False, "还没有公司。", "接入企业微信公司")
    corp = make_corp(name="北山制造", is_enabled=False)
    assert state_of("公司", root) == (False, "“北山制造”还没有启用。", "继续")
    Corp.objects.filter(pk=corp.pk).update(is_enabled=True)
    assert state_of("公司", root) == (True, "已启用：北山制造", "")


def test_of_people() -> None:
    root = make_superuser()

    def assert_open(state: str, label: str = "同步通讯录") -> None:
        assert state_of("人员", root) == (False, state, label)

    assert_open("还没有人关联企业微信，请先启用一家公司。", "接入企业微信公司")
    corp = make_corp(is_enabled=False)
    assert_open("还没有人关联企业微信，请先启用一家公司。", "继续")
    Corp.objects.update(is_enabled=True)
    assert_open("还没有人关联企业微信。")
    WeComAccount.objects.create(user=root, corp=corp)  # without a userid
    assert_open("还没有人关联企业微信。")
    now = timezone.now()
    Member.objects.create(corp=corp, userid="LiLei", userid_folded="lilei", first_seen_at=now, changed_at=now)
    assert_open("通讯录已同步，但还没有人关联：请选择同步时怎么处理人员。")
    WeComAccount.objects.filter(user=root).update(userid="Root", userid_folded="root")
    assert state_of("人员", root) == (True, "已有人关联企业微信。", "")


def test_of_data_and_the_push() -> None:
    root = make_superuser()
    assert state_of("数据", root) == (False, "还没有数据。", "连接观远 BI")
    assert state_of("数据", staff("add_datasource", manages_all_corps=True)) == (False, "还没有数据。", "添加数据源")
    source = DataSource.objects.create(name="观远 BI", kind=SourceKind.GUANDATA)
    make_bi(api_login="")
    assert state_of("数据", root) == (False, "还没有数据。", "连接观远 BI")
    make_bi(api_login="robot")
    untested = (False, "BI 已填写，但连接尚未通过测试。", "连接观远 BI")
    assert state_of("数据", root) == untested
    refused = {"step": "api", "status": "wrong", "outcome": "refused", "facts": {"message": "password"}}
    make_bi(api_login="robot", check_results=[refused], checked_version=1)
    assert state_of("数据", root) == (False, "BI 拒绝了 API 用户：password", "连接观远 BI")
    make_bi(api_login="robot", check_results=[{**refused, "status": "ok", "outcome": "accepted"}], checked_version=2)
    assert state_of("数据", root) == untested
    make_bi(api_login="robot", checked_version=1)
    assert state_of("数据", root) == (True, "已连接 BI，推送中可以直接选 BI 卡片。", "")
    Card.objects.create(name="销售", source=source, bi_card_id="c1")
    assert state_of("数据", root) == (True, "已有可用的数据。", "")
    assert done(root) == ["数据"]  # before there is a company
    Card.objects.all().delete()
    make_bi(api_login="")
    assert state_of("推送", root) == (False, "还没有启用的推送。", "新建推送")
    make_subscription(report=make_report())
    assert state_of("推送", root) == (True, "已有启用的推送。", "")
    assert state_of("数据", root) == (True, "不需要：目前的推送只有文字。", "")


def test_nothing_was_sent_yet() -> None:
    root = make_superuser()
    assert state_of("送达", root) == (False, "还没有发送过消息。", "查看送达记录")
    subscription = make_subscription(report=make_report())
    assert state_of("送达", root) == (False, "还没有发送过消息。", "立即发送")
    assert steps_of(root)[-1].url == f"/admin/notifications/subscription/{subscription.pk}/run/"
    reader = staff("add_datasource", "view_run", manages_all_corps=True)
    assert state_of("送达", reader) == (False, "还没有发送过消息。", "查看送达记录")
    make_run(subscription, status="waiting")
    assert state_of("送达", root) == (False, "消息正在发送。", "查看送达记录")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("pending", "消息正在发送。"),
        ("unknown", "企业微信没有返回发送结果，请在手机上确认是否收到。"),
        ("failed", "还没有消息发送成功，原因见送达记录。"),
        ("accepted", "企业微信已接受消息。"),
    ],
)
def test_what_became_of_the_newest_message(status: str, sentence: str) -> None:
    for one in ("failed", status):
        make_deliveries(make_corp(), status=one)
    Run.objects.update(status="finished")
    make_subscription(report=make_report())
    is_done = status == "accepted"
    assert state_of("送达") == (is_done, sentence, "" if is_done else "查看送达记录")


def strip_of(client: Client, page: str) -> str:
    text = client.get(page).content.decode()
    return text.partition('<aside class="first-steps"')[2].partition("</aside>")[0]


def test_the_steps_stand_on_the_pages_on_which_they_are_taken(root: Client) -> None:
    corp = make_corp(api_base_url="http://127.0.0.1:3002/")
    start = f"/admin/integrations/corp/{corp.pk}/change/"

    shown = strip_of(root, "/admin/integrations/corp/")
    assert f'<a class="button default" href="{start}">同步通讯录</a>' in shown
    assert shown.count('class="done"') == 2
    # On its own page, and below, a step has no button.
    assert "button" not in strip_of(root, start).partition("<ol>")[2]
    told = root.get("/admin/first-steps/", {"page": start}).json()
    assert told["is_unfinished"] is True
    assert told["html"].strip() in strip_of(root, start)
    assert strip_of(root, "/admin/auth/group/") == ""
    person = User.objects.create(username="hanmei")
    WeComAccount.objects.create(user=person, corp=corp, userid="HanMei", is_primary=True)
    bi = strip_of(root, "/admin/integrations/corp/")
    assert '<a href="/admin/integrations/datasource/add/">或添加数据库、Web 服务</a>' in bi
    assert '<a class="button default" href="/admin/integrations/biconnection/">连接观远 BI</a>' in bi
    make_bi(api_login="")
    assert "button" not in strip_of(root, "/admin/integrations/biconnection/1/change/").partition("<ol>")[2]


def test_they_are_gone_once_all_are_done() -> None:
    corp = make_corp(api_base_url="http://127.0.0.1:3002/")
    root = make_superuser()
    WeComAccount.objects.create(user=root, corp=corp, userid="Root", is_primary=True)
    make_subscription(report=make_report())
    make_deliveries(corp)
    client = client_of(root)

    assert strip_of(client, f"/admin/integrations/corp/{corp.pk}/change/") == ""
    told = client.get("/admin/first-steps/").json()
    assert told == {"html": "", "is_unfinished": False}


@pytest.mark.parametrize(("codename", "taken"), [("add_subscription", [4]), ("view_subscription", [])])
def test_who_may_not_take_a_step_reads_whom_to_ask(codename: str, taken: list[int]) -> None:
    steps = steps_of(staff(codename, manages_all_corps=True))

    assert [(bool(step.url), bool(step.ask)) for step in steps] == [(n in taken, n not in taken) for n in range(6)]
    User.objects.update(username="other")
    assert steps_of(staff("view_user", manages_all_corps=True)) == []


def test_somebody_without_a_company_is_told_who_assigns_one() -> None:
    make_corp()
    [step] = steps_of(make_manager())
    assert (step.is_done, step.url) == (False, "")
    assert step.state == "您还没有可管理的企业微信公司。请系统管理员在“人员”中您的页面上指定。"


def test_a_limited_editor_sees_the_steps_of_their_companies() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    person = User.objects.create(username="hanmei")
    WeComAccount.objects.create(user=person, corp=other, userid="HanMei", is_primary=True)
    make_subscription(report=make_report(corp=other))
    # Disabled people and their own pushes do not tick a step.
    left = User.objects.create(username="left", is_active=False)
    WeComAccount.objects.create(user=left, corp=mine, userid="Left", is_primary=True)
    make_subscription(report=make_report(corp=mine), is_enabled=False)
    assert done(make_manager(mine)) == ["公司"]
