"""The specification's example: company AA is renamed to BB. There 小张 is corrected by hand; here nobody has to be."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.authentication.flow import Cause
from accounts.models import AuditEntry, User, WeComAccount
from accounts.views import errors
from accounts.views.errors import ErrorDetails
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt, Report
from tests.accounts.people import sent_form
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
HOST = {"host": "localhost:3001"}
BEFORE, AFTER = "北山制造", "BB有限公司"


@pytest.fixture
def zhang(corp: Corp) -> User:
    """小张, whose message has arrived, in one of two companies."""
    make_corp(name="另一家公司")
    person = make_person(corp, "zhang", username="zhang", name="小张")
    run = make_run(make_subscription(person, report=make_report(corp=corp)))
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.update(status=Delivery.Status.ACCEPTED, settled_at=timezone.now())
    return person


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


def rename(client: Client, corp: Corp, name: str) -> None:
    address = f"/admin/integrations/corp/{corp.pk}/change/"
    response = client.post(address, {**sent_form(client, address), "name": name})
    assert response.status_code == 302, response.context["adminform"].form.errors


def list_pages(root: Client, corp: Corp, zhang: User) -> dict[str, tuple[Client, str]]:
    """Return every page that shows the name of 小张's company, each with a client that may see it."""
    delivery, receipt, report = Delivery.objects.get(), Receipt.objects.get(), Report.objects.get()
    admin, nobody, person = "/admin", Client(headers=HOST), client_of(zhang)
    details = ErrorDetails(Cause.COMPANY_DISABLED, corp_id=corp.pk, corp_name=BEFORE)
    error_page = errors.redirect_to_error(details).headers["Location"]
    return {
        "people": (root, f"{admin}/accounts/user/"),
        "people of one company": (root, f"{admin}/accounts/user/?company={corp.pk}"),
        "person": (root, f"{admin}/accounts/user/{zhang.pk}/change/"),
        "companies": (root, f"{admin}/integrations/corp/"),
        "company": (root, f"{admin}/integrations/corp/{corp.pk}/change/"),
        "disabling": (root, f"{admin}/integrations/corp/{corp.pk}/disable/"),
        "reports": (root, f"{admin}/notifications/report/"),
        "push with its report": (root, f"{admin}/notifications/subscription/{report.subscriptions.get().pk}/change/"),
        "deliveries": (root, f"{admin}/notifications/delivery/"),
        "delivery": (root, f"{admin}/notifications/delivery/{delivery.pk}/change/"),
        "receipts": (root, f"{admin}/notifications/receipt/"),
        "receipt": (root, f"{admin}/notifications/receipt/{receipt.pk}/change/"),
        "login chooser": (nobody, "/login/company/"),
        "trouble that was begun before": (nobody, error_page),
        "my messages": (person, "/"),
    }


def read_text(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code in {200, 403}, address
    return response.content.decode()


def test_every_screen_shows_the_new_name_at_once(root: Client, corp: Corp, zhang: User) -> None:
    for where, (client, address) in list_pages(root, corp, zhang).items():
        assert BEFORE in read_text(client, address), where

    rename(root, corp, AFTER)

    for where, (client, address) in list_pages(root, corp, zhang).items():
        shown = read_text(client, address)
        assert AFTER in shown, where
        assert BEFORE not in shown, where
    assert BEFORE not in read_text(root, "/admin/")


def test_people_sign_in_and_receive_as_before_and_what_was_said_stays(root: Client, corp: Corp, zhang: User) -> None:
    """Messages keep the name of the time; the audit trail has both names and who renamed the company."""
    run = make_run(make_subscription(zhang, report=make_report(title=f"{BEFORE}日报", body=f"{BEFORE}的数据")))
    render_run(run_id=run.pk, now=NOW)
    before = [(bytes(one.body), one.title, one.text, one.corpid, one.mark) for one in Delivery.objects.order_by("pk")]
    accounts = list(WeComAccount.objects.values())
    changed: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        changed.extend(re.findall(r'^(?:UPDATE|INSERT INTO|DELETE FROM) "(\w+)"', sql))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        rename(root, corp, AFTER)

    assert "integrations_corp" in changed
    assert not {name for name in changed if name.startswith(("accounts_wecom", "accounts_user", "notifications_"))}
    assert list(WeComAccount.objects.values()) == accounts
    after = [(bytes(one.body), one.title, one.text, one.corpid, one.mark) for one in Delivery.objects.order_by("pk")]
    assert after == before
    assert len(after) == 2
    entry = AuditEntry.objects.filter(model="integrations.corp", object_id=corp.pk).latest("pk")
    assert [change[1:] for change in entry.changes] == [[BEFORE, AFTER]]
    assert entry.actor == User.objects.get(is_superuser=True)
    assert AFTER in read_text(root, "/admin/accounts/auditentry/")

    later = make_run(make_subscription(zhang))
    render_run(run_id=later.pk, now=NOW)

    receipt = Receipt.objects.get(run=later)
    assert (receipt.address, receipt.status) == (f"{corp.pk}:zhang", "")
    assert receipt.delivery is not None
    assert receipt.delivery.corp.name == AFTER
    assert WeComAccount.objects.signing_in().filter(user=zhang, corp=corp).exists()
