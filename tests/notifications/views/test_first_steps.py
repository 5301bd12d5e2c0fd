"""The six steps on the overview: each ticks itself, and offers its button to whoever may take it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import User, WeComAccount
from integrations.models import Card, Corp, DataSource, SiteAddress, SourceKind
from notifications.views.first_steps import Step
from tests.notifications.delivery.runs.test_index import make_deliveries
from tests.notifications.factories import (
    make_corp,
    make_manager,
    make_report,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
NAMES = ["地址", "公司", "人员", "数据", "推送", "送达"]


@pytest.fixture(autouse=True)
def _address() -> None:
    SiteAddress.objects.filter(is_default=True).update(url="http://localhost:3001/")


def steps_of(person: User) -> list[Step]:
    client = Client()
    client.force_login(person)
    answer = client.get("/admin/", headers={"host": "localhost:3001"})
    found: list[Step] = answer.context["overview"].steps
    return found


def done(steps: list[Step]) -> list[str]:
    return [step.name for step in steps if step.is_done]


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
        (False, "/admin/accounts/peopleimport/add/"),
        (False, "/admin/integrations/datasource/add/"),
        (False, "/admin/notifications/subscription/add/"),
        (False, "/admin/notifications/run/"),
    ]


def test_each_step_ticks_itself_and_the_last_one_ends_them() -> None:
    root = make_superuser()
    SiteAddress.objects.update(url="https://hub.example.com/")
    assert done(steps_of(root)) == ["地址"]

    corp = make_corp(is_enabled=False)
    company = steps_of(root)[1]
    assert (company.is_done, company.url) == (False, f"/admin/integrations/corp/{corp.pk}/change/")
    Corp.objects.update(is_enabled=True)
    steps = steps_of(root)
    assert done(steps) == ["地址", "公司"]
    assert steps[2].url == f"/admin/integrations/syncrun/start/{corp.pk}/"

    person = User.objects.create(username="hanmei")
    WeComAccount.objects.create(user=person, corp=corp, userid="HanMei", is_primary=True)
    assert done(steps_of(root)) == ["地址", "公司", "人员"]

    source = DataSource.objects.create(name="仓库", kind=SourceKind.SQL)
    Card.objects.create(name="销售", source=source, sql="SELECT 1")
    assert done(steps_of(root)) == ["地址", "公司", "人员", "数据"]

    make_subscription(report=make_report())
    assert done(steps_of(root)) == ["地址", "公司", "人员", "数据", "推送"]

    make_deliveries(corp, recipient_count=1, status="accepted")
    assert steps_of(root) == []


def test_pushes_of_words_alone_need_no_data() -> None:
    make_corp()
    make_subscription(report=make_report())
    assert steps_of(make_superuser())[3].is_done


def test_a_trial_with_the_sandbox_needs_no_other_address() -> None:
    make_corp(api_base_url="http://127.0.0.1:3002/")
    address = steps_of(make_superuser())[0]
    assert (address.is_done, address.state) == (True, "http://localhost:3001/，本机试用。")


def test_disabled_people_and_pushes_tick_nothing() -> None:
    corp = make_corp()
    person = User.objects.create(username="left", is_active=False)
    WeComAccount.objects.create(user=person, corp=corp, userid="Left", is_primary=True)
    make_subscription(report=make_report(), is_enabled=False)
    assert done(steps_of(make_superuser())) == ["公司"]


def test_who_may_not_take_a_step_reads_who_does() -> None:
    steps = steps_of(staff("add_subscription", manages_all_corps=True))
    assert [step.url for step in steps] == ["", "", "", "", "/admin/notifications/subscription/add/", ""]
    assert steps[1].state == "由系统管理员或集成管理员接入。"


def test_who_may_take_none_sees_none() -> None:
    assert steps_of(staff("view_subscription", manages_all_corps=True)) == []


def test_somebody_without_a_company_is_told_who_assigns_one() -> None:
    make_corp()
    [step] = steps_of(make_manager())
    assert (step.is_done, step.url) == (False, "")
    assert step.state == "您还没有可管理的企业微信公司。请系统管理员在“用户”中您的页面上指定。"


def test_a_limited_editor_sees_the_steps_of_their_companies() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    person = User.objects.create(username="hanmei")
    WeComAccount.objects.create(user=person, corp=other, userid="HanMei", is_primary=True)
    make_subscription(report=make_report(corp=other))
    assert done(steps_of(make_manager(mine))) == ["公司"]
