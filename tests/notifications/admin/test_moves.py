"""What is given to another company while people are taken from it: who reads in the trail what was before."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import Attribute, AuditEntry, User
from accounts.users.roles import audit_entries_visible_to
from integrations.models import Card, Corp, DataSource, SourceKind
from notifications.models import AttributeRule, ReportCard, Subscription
from tests.audit import clear_trail
from tests.browser_form import untouched
from tests.notifications.factories import (
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_subscription,
    make_superuser,
)
from tests.notifications.inbound.channels import make_channel

pytestmark = pytest.mark.django_db
NO_RULE = {f"rules-0-{part}": "" for part in ("attribute", "operator", "values")}


def channel(owner: User, person: User, corp: Corp | None) -> Any:
    return make_channel(owner, person, corp=corp, name="channel before")


def push(_owner: User, person: User, corp: Corp | None) -> Subscription:
    """It belongs to the company of its report, as the card and the rule that are taken from it do."""
    report = make_report(corp=corp, title="title before")
    subscription = make_subscription(person, report=report, name="push before")
    source = DataSource.objects.create(name="data", kind=SourceKind.SQL)
    card = Card.objects.create(name="card before", source=source, sql="SELECT 1")
    ReportCard.objects.create(report=report, card=card, alias="rows")
    shop = Attribute.objects.create(key="shop", name="shop")
    AttributeRule.objects.create(subscription=subscription, attribute=shop, operator="is", values=["shop before"])
    return subscription


@pytest.mark.parametrize("make", [channel, push])
@pytest.mark.parametrize("way", ["before after", "none after", "before none"])
def test_who_sees_one_company_reads_nothing_of_the_other(make: Any, way: str) -> None:
    corps = {name: make_corp(name=name) for name in ("before", "after")}
    people = {name: make_person(corp, name, username=f"person {name}") for name, corp in corps.items()}
    left, entered = (corps.get(name) for name in way.split())
    root, client = make_superuser(), Client()
    client.force_login(root)
    row = make(root, people["before"], left)
    kind = row._meta.model_name
    address = f"/admin/notifications/{kind}/{row.pk}/change/"
    form = untouched(client.get(address).content.decode(), f"{kind}_form")
    clear_trail()

    sent = {"name": "after", "users": [people["after"].pk], "corp": entered.pk if entered else ""}
    answer = client.post(address, {**form, **sent, "report_cards-0-DELETE": "on", **NO_RULE})

    assert answer.status_code == 302
    assert not ReportCard.objects.exists()
    assert not AttributeRule.objects.exists()
    assert ["users", ["person before"], None] in [one for entry in AuditEntry.objects.all() for one in entry.changes]
    for name, other in (("before", "after"), ("after", "before")):
        assert other not in str(list(audit_entries_visible_to(make_manager(corps[name])).values()))
