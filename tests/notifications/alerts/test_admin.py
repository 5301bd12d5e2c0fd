"""The lists of rules and incidents in the administration, and closing an incident there."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.models import Card, Corp, DataSource
from notifications.models import AlertRule, InboundChannel, Incident
from tests.browser_form import skip_drawing
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_log import file_of
from tests.notifications.alerts.conftest import alert, hand_in, make_alert_channel
from tests.notifications.alerts.rules import make_rule
from tests.notifications.factories import make_corp, make_manager

pytestmark = pytest.mark.django_db


@pytest.fixture
def card(bi_card: Card) -> Card:
    return bi_card


class TestFilters:
    @pytest.fixture
    def incidents(self, card: Card, corp: Corp) -> None:
        """Incidents in every state. Each key names the state."""
        rule, other = make_rule(card, corp=corp), make_rule(card, corp=corp, name="另一条", problem="无数据")
        channel, now = make_alert_channel(corp=corp), timezone.now()
        later, earlier = now + timedelta(hours=1), now - timedelta(hours=1)
        rows: dict[str, dict[str, Any]] = {
            "new": {"rule": rule, "severity": "critical"},
            "taken": {"rule": rule, "acknowledged_at": now},
            "silent": {"rule": other, "silenced_until": later, "kind": "no_data"},
            "taken and silent": {"rule": other, "acknowledged_at": now, "silenced_until": later},
            "silent before": {"channel": channel, "silenced_until": earlier},
            "over": {"channel": channel, "status": "resolved", "acknowledged_at": now, "silenced_until": later},
        }
        common = {"corp": corp, **dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), now)}
        for title, fields in rows.items():
            Incident.objects.create(key=title, title=title, **common, **fields)

    def list_of(self, client: Client, model: str, query: str) -> list[Any]:
        with skip_drawing():
            return list(client.get(f"/admin/notifications/{model}/?{query}").context["cl"].result_list)

    def test_find_incidents_by_what_they_are(self, root: Client, incidents: None) -> None:
        rule, channel = AlertRule.objects.get(name="销售额过低"), InboundChannel.objects.get()
        expected = {
            "state=open": {"new", "taken", "silent", "taken and silent", "silent before"},
            "state=untaken": {"new", "silent", "silent before"},
            "state=taken": {"taken", "taken and silent"},
            "state=silent": {"silent", "taken and silent"},
            "state=over": {"over"},
            "state=silent&kind__exact=no_data": {"silent"},
            "severity__exact=critical": {"new"},
            f"rule__id__exact={rule.pk}": {"new", "taken"},
            f"channel__id__exact={channel.pk}": {"silent before", "over"},
        }

        assert {query: {one.title for one in self.list_of(root, "incident", query)} for query in expected} == expected

    def test_find_the_rules_that_somebody_has_to_look_at(
        self, root: Client, incidents: None, card: Card, corp: Corp
    ) -> None:
        make_rule(card, corp=corp, name="平静")
        make_rule(card, corp=corp, name="停用", is_enabled=False)
        expected = {
            "state=open": {"销售额过低", "另一条"},
            "state=no_data": {"另一条"},
            "state=enabled": {"销售额过低", "另一条", "平静"},
            "state=disabled": {"停用"},
            "is_enabled__exact=0": {"停用"},  # an address from before there was one filter
            "": {"销售额过低", "另一条", "平静", "停用"},
        }

        assert {query: {one.name for one in self.list_of(root, "alertrule", query)} for query in expected} == expected
        page = root.get(reverse("admin:notifications_alertrule_changelist")).text
        assert page.count('<span class="pill pill-bad">进行中</span> <span class="meta">未恢复</span>') == 2
        assert page.count('<span class="pill pill-good">正常</span>') == 1
        assert re.findall('data-filter-title="(.*?)"', page) == ["状态", "级别"]

    def test_narrow_the_file_too(self, root: Client, incidents: None, corp: Corp) -> None:
        [row] = file_of(root, "incident", state="over")
        names = ("title", "severity", "status", "from")
        assert [row[name] for name in names] == ["over", "warning", "done · over", "数据平台"]
        assert len(file_of(client_of(make_manager(corp, permissions="view_")), "incident")) == 6
        assert file_of(client_of(make_manager(make_corp(), permissions="view_")), "incident") == []

    def test_name_nothing_of_another_company(self, incidents: None, corp: Corp) -> None:
        card = Card.objects.create(name="x", source=DataSource.objects.get(), bi_card_id="c2")
        make_rule(card, corp=make_corp(), name="别家的规则")
        manager = client_of(make_manager(corp, permissions="view_"))

        page = manager.get("/admin/notifications/incident/").content.decode()

        assert ("另一条" in page, "别家" in page) == (True, False)


def test_an_incident_is_closed_by_hand(root: Client, corp: Corp) -> None:
    hand_in(make_alert_channel(corp=corp), alert())
    incident = Incident.objects.get()

    root.post(f"/admin/notifications/incident/{incident.pk}/act/", {"action": "close"})

    incident.refresh_from_db()
    assert incident.status == "resolved"
    assert [event.kind for event in incident.events.all()] == ["opened", "closed"]
    assert "手动关闭" in root.get(f"/admin/notifications/incident/{incident.pk}/change/").content.decode()
