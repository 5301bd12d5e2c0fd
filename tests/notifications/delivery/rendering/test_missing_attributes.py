"""A person with one attribute only: nobody stops the saving; pushing says which is missing, and where to set it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt, Run
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
COMPANY_MISSING, ACCOUNT_MISSING = "缺少企业微信公司名称", "缺少企业微信账号"
WHERE = "企业微信公司名称和企业微信账号在“用户”中此人的页面上设置。"


def client_of(person: User) -> Client:
    client = Client(headers={"host": "localhost:3001"})
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture(params=["company", "account"])
def half(request: Any, corp: Corp) -> tuple[User, str]:
    """A person without the attribute that the test is called with, and what is said of that."""
    if request.param == "company":
        return make_person(None, "lilei", name="李雷"), COMPANY_MISSING
    return make_person(corp, "", name="李雷"), ACCOUNT_MISSING


def test_nothing_is_sent_and_the_receipt_leads_to_the_persons_page(half: tuple[User, str]) -> None:
    person, missing = half
    run = make_run(make_subscription(person))
    render_run(run_id=run.pk, now=NOW)
    client = client_of(make_superuser())

    row = client.get("/admin/notifications/receipt/").content.decode()
    page = client.get(f"/admin/notifications/receipt/{Receipt.objects.get().pk}/change/").content.decode()

    run.refresh_from_db()
    assert (run.status, run.skipped_count, Delivery.objects.count()) == (Run.Status.FINISHED, 1, 0)
    link = f'<a href="/admin/accounts/user/{person.pk}/change/">{missing}</a>'
    assert link in row
    assert link in page


def test_who_may_not_see_people_reads_the_reason_without_a_link(corp: Corp) -> None:
    person = make_person(corp, "", name="李雷")
    render_run(run_id=make_run(make_subscription(person, report=make_report(corp=corp))).pk, now=NOW)
    editor = make_manager(corp, permissions="view")

    text = client_of(editor).get("/admin/notifications/receipt/").content.decode()
    editor.user_permissions.add(Permission.objects.get(codename="view_user"))
    with_link = client_of(editor).get("/admin/notifications/receipt/").content.decode()

    address = f"/admin/accounts/user/{person.pk}/change/"
    assert ACCOUNT_MISSING in text
    assert address not in text
    assert address in with_link


def test_a_subscription_says_so_before_it_is_saved(half: tuple[User, str]) -> None:
    person, missing = half
    report = make_report()
    address = "/admin/notifications/subscription/add/"
    client = client_of(make_superuser())
    form = client.get(address).context["adminform"].form
    sent = {field.html_name: field.value() for field in form if field.value() not in (None, False, [])}

    page = client.post(
        address, {**sent, "name": "每日", "report": report.pk, "users": [person.pk], "_enable": "1", "_buttons": "1"}
    )

    text = page.content.decode()
    assert page.status_code == 200
    assert missing in text
    assert WHERE in text


def test_what_is_wrong_elsewhere_does_not_lead_to_the_persons_page() -> None:
    person = make_person(make_corp(is_enabled=False), "lilei")
    render_run(run_id=make_run(make_subscription(person)).pk, now=NOW)

    text = client_of(make_superuser()).get("/admin/notifications/receipt/").content.decode()

    assert str(Receipt.Reason.CORP_DISABLED.label) in text
    assert f"/admin/accounts/user/{person.pk}/change/" not in text
