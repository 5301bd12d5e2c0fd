"""Database statements that the trail adds to a change, and its content, which fewer statements do not change."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from accounts.models import AuditEntry, UnsentAudit, User, WeComAccount
from integrations.models import Card, Corp, DataSource
from notifications.models import AlertReceiver, AlertRule, Report, Subscription
from tests.accounts.conftest import make_person
from tests.audit import clear_trail

pytestmark = pytest.mark.django_db


def test_a_row_that_is_gone_and_was_loaded_in_part_is_named_by_its_key(corp: Corp) -> None:
    report = Report.objects.create(title="日报", body="…", corp=corp)
    order = Subscription.objects.create(name="每天", report=report, crontab="0 9 * * *")
    order.report = Report.objects.only("corp").get(pk=report.pk)
    Report.objects.filter(pk=report.pk)._raw_delete("default")
    clear_trail()

    order.delete()

    assert ["report", f"#{report.pk}", None] in AuditEntry.objects.get().changes


def test_both_companies_of_an_account_that_moves(corp: Corp, other_corp: Corp) -> None:
    """Assign the entry to no company, because it is about two."""
    account = WeComAccount.objects.get(user=make_person("lilei", corp, "LiLei"))
    clear_trail()
    account.corp = other_corp

    account.save()

    entry = AuditEntry.objects.get()
    assert (entry.changes, entry.corp_id) == ([["corp", corp.name, other_corp.name]], None)


def test_an_account_that_comes_from_no_company_is_about_its_new_one(corp: Corp, person: User) -> None:
    """Let the company's administrators read who joined."""
    WeComAccount.objects.filter(user=person).delete()
    account = WeComAccount.objects.create(user=person, userid="LiLei")
    account.corp = corp
    account.save()

    assert AuditEntry.objects.latest("pk").corp == corp


def test_rights_that_a_session_withholds_hide_no_entry_less(corp: Corp, other_corp: Corp) -> None:
    """Count the stored rights: of somebody who manages all, a manager of one company sees only the account's
    changes."""
    person = make_person("boss", other_corp, "Boss", manages_all_corps=True)
    person.withhold_rights()
    clear_trail()

    WeComAccount.objects.create(user=person, corp=corp, userid="Boss", is_primary=False)

    assert AuditEntry.objects.get().corp_id == corp.pk


def test_an_entry_and_what_is_to_be_sent_of_it_are_one_change(settings: Settings, corp: Corp) -> None:
    settings.AUDIT_SYSLOG = ("tcp", ("127.0.0.1", 9))
    clear_trail()

    corp.name = "改名"
    corp.save()

    assert list(UnsentAudit.objects.values_list("pk", flat=True)) == [AuditEntry.objects.get().pk]


def test_what_moves_to_another_company_is_about_both(corp: Corp, other_corp: Corp) -> None:
    """Hide names of the former company from the new one's administrators."""
    duties = [AlertReceiver.objects.create(name=f"{one} duty", corp=one) for one in (corp, other_corp)]
    sources = [DataSource.objects.create(name=f"{one} data", kind="sql", corp=one) for one in (corp, other_corp)]
    report = Report.objects.create(title="日报", body="…", corp=corp)
    card = Card.objects.create(name="card", source=sources[0], sql="SELECT 1")
    fields = {"name": "rule", "receiver": duties[0], "crontab": "0 9 * * *"}
    rule = AlertRule.objects.create(card=Card.objects.create(name="other", source=sources[0], sql="SELECT 1"), **fields)
    clear_trail()

    report.corp, rule.receiver, card.source = other_corp, duties[1], sources[1]
    for row in (report, rule, card):
        row.save()

    assert [(entry.corp, entry.changes) for entry in AuditEntry.objects.order_by("pk")] == [
        (None, [[name, str(before), str(after)]])
        for name, before, after in (
            ("corp", corp, other_corp),
            ("receiver", *duties),
            ("source", *sources),
        )
    ]
