"""Alerts in the administration: what is saved, refused and tried."""

from __future__ import annotations

import json
import re
import zlib
from datetime import time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Attribute, User
from accounts.users.attributes import set_values
from integrations.models import Card, Corp, DataSource, Department, Member, Membership
from notifications.alerts import conditions, trial
from notifications.models import AlertReceiver, AlertRule, InboundChannel, Incident, Medium, SilenceWindow
from notifications.subscriptions.recipients import named_audience, resolve_audience
from tests.accounts.people import sent_form
from tests.guandata import GuandataAnswers
from tests.notifications import preview_pages
from tests.notifications.admin.conftest import client_of
from tests.notifications.alerts.conftest import make_alert_channel, make_receiver
from tests.notifications.alerts.rules import make_rule, parse, row
from tests.notifications.factories import NOW, make_corp, make_manager, make_person, make_superuser

pytestmark = pytest.mark.django_db
TRY = "/admin/notifications/alertrule/try/"


@pytest.fixture
def card(bi_card: Card) -> Card:
    return bi_card


@pytest.fixture
def receiver(corp: Corp) -> AlertReceiver:
    return make_receiver(make_person(corp, "zhang"), corp=corp)


def save(client: Client, path: str, **changes: Any) -> Any:
    return client.post(path, {**sent_form(client, path), "weekdays": [], **changes})


def errors_of(answer: Any) -> dict[str, Any]:
    return dict(answer.context["adminform"].form.errors)


def tried(client: Client, rule: AlertRule, conditions: dict[str, str]) -> str:
    """What the rule's page shows after its button, with these conditions in the form."""
    values = {**sent_form(client, f"/admin/notifications/alertrule/{rule.pk}/change/"), **conditions, "_id": rule.pk}
    return preview_pages.preview(client, TRY, values)


class TestRule:
    def test_is_saved_with_its_next_check_and_forgets_what_it_held(
        self, root: Client, card: Card, receiver: AlertReceiver
    ) -> None:
        rule = make_rule(card, receiver, holding={"": 2}, next_run_at=None, watched="something else")
        path = f"/admin/notifications/alertrule/{rule.pk}/change/"

        answer = save(root, path, **row(0, "any", "销售额", "lt", "0"), crontab="*/5 * * * *")

        assert answer.status_code == 302, errors_of(answer)
        rule.refresh_from_db()
        assert (rule.conditions[0]["aggregate"], rule.holding) == ("any", {})
        assert rule.next_run_at is not None

    def test_without_a_condition_is_refused(self, root: Client, card: Card, receiver: AlertReceiver) -> None:
        path = f"/admin/notifications/alertrule/{make_rule(card, receiver).pk}/change/"

        assert "conditions" in errors_of(save(root, path, **row(0, "", "", "gt", "")))

    def test_says_beside_a_row_what_is_wrong_with_it(self, root: Client, card: Card, receiver: AlertReceiver) -> None:
        rule = make_rule(card, receiver)
        path = f"/admin/notifications/alertrule/{rule.pk}/change/"
        rows = {
            **row(0, "sum", "销售额", "lt", "100"),
            **row(1, "sum", "销售额", "lt", "viel"),
            **row(2, "avg", "", "between", "1", "2"),
            **row(3, "any", "销售额", "gt", "1", filters="城市"),
        }

        answer = save(root, path, **rows)

        page = answer.content.decode()
        assert page.count("data-row-problem") == 3
        assert "“viel”不是数字" in page
        assert page.index('name="conditions-1-aggregate"') < page.index('id="id_conditions-1-problem"')
        assert len(errors_of(answer)["conditions"]) == 3
        rule.refresh_from_db()
        assert len(rule.conditions) == 1

    def test_keeps_every_part_of_its_rows(self, root: Client, card: Card, receiver: AlertReceiver) -> None:
        rule = make_rule(card, receiver, join="any")
        path = f"/admin/notifications/alertrule/{rule.pk}/change/"
        rows = {
            **row(0, "avg", "销售额", "outside", "10", "20", "区域=华东|华南; 品类=酒"),
            **row(4, "sum", "销售额", "changed", "left over"),
        }

        first = save(root, path, **rows)

        assert first.status_code == 302, errors_of(first)
        rule.refresh_from_db()
        assert conditions.from_rows(rule.conditions) == parse(
            "avg 销售额 outside 10 and 20 where 区域=华东|华南; 品类=酒\nsum 销售额 changed"
        )
        assert 'value="区域=华东|华南; 品类=酒"' in root.get(path).content.decode()
        holding = {"": 3}
        AlertRule.objects.update(holding=holding)
        same = {
            **row(0, "avg", "销售额", "outside", "10", "20", "区域=华东|华南; 品类=酒"),
            **row(1, "sum", "销售额", "changed", ""),
        }
        assert save(root, path, **same).status_code == 302
        rule.refresh_from_db()
        assert rule.holding == holding  # nothing was changed

    def test_has_silence_windows_that_can_be(self, root: Client, card: Card, receiver: AlertReceiver) -> None:
        rule = make_rule(card, receiver)
        path = f"/admin/notifications/alertrule/{rule.pk}/change/"
        window = {
            "silence_windows-TOTAL_FORMS": "1",
            "silence_windows-0-name": "夜间",
            "silence_windows-0-kind": "weekly",
            "silence_windows-0-from_time": "22:00",
            "silence_windows-0-to_time": "06:00",
        }
        condition = row(0, "sum", "销售额", "lt", "100")

        refused = save(root, path, **condition, **window)
        saved = save(root, path, **condition, **window, **{"silence_windows-0-weekdays": ["6", "7"]})

        assert "请选择星期" in refused.content.decode()
        assert saved.status_code == 302, errors_of(saved)
        known = SilenceWindow.objects.get(rule=rule)
        assert (known.name, known.weekdays, known.from_time) == ("夜间", "6,7", time(22))

    def test_is_tried_on_the_data_as_it_is_now(
        self, root: Client, card: Card, receiver: AlertReceiver, bi: GuandataAnswers
    ) -> None:
        rule = make_rule(card, receiver)
        path = f"/admin/notifications/alertrule/{rule.pk}/change/"
        values = {**sent_form(root, path), **row(0, "any", "销售额", "lt", "100")}

        html = preview_pages.preview(root, TRY, {**values, "_id": rule.pk})

        assert "会触发" in html
        assert "无法按过去的日子试算：数据中没有日期列，或行数过多。" in html
        assert html.count("trial-marked") == 1
        assert html.index("华南") < html.index("华东")
        assert not Incident.objects.exists()
        rule.refresh_from_db()
        assert rule.conditions[0]["aggregate"] == "sum"

    def test_tried_shows_pictures_that_workers_draw_for_this_person_only(
        self, root: Client, card: Card, receiver: AlertReceiver, bi: GuandataAnswers
    ) -> None:
        html = tried(root, make_rule(card, receiver), row(0, "any", "销售额", "lt", "100"))

        medium = Medium.objects.get(run=None, status="waiting")
        recipe = json.loads(zlib.decompress(medium.recipe))
        assert (recipe["chart"]["thresholds"], recipe["language"]) == ([100.0], "zh-hans")
        assert re.findall("<figcaption>(.*?)</figcaption>", html) == ["至少一行 销售额 小于 100"]
        [address] = re.findall('data-making="([^"]+)"', html)
        assert root.get(address).json()["problem"] == ""
        svg = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
        Medium.objects.update(status="ready", svg=zlib.compress(svg), width=390, height=300)
        found = root.get(address).json()
        assert (found["kind"], found["width"], found["height"]) == ("picture", 390, 300)
        picture = root.get(found["address"])
        assert (picture.content, picture["Content-Type"]) == (svg, "image/svg+xml")
        for person, status in ((make_superuser(), 404), (make_person(make_corp(), "li"), 302)):
            other = client_of(person)
            assert [other.get(path).status_code for path in (address, found["address"])] == [status, status]

    def test_tried_draws_few_of_many_parts(
        self, root: Client, card: Card, receiver: AlertReceiver, bi: GuandataAnswers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trial, "PICTURES_SHOWN", 2)
        rows = [row(n, "any", "销售额", "lt", str(100 + n)) for n in range(3)]

        html = tried(root, make_rule(card, receiver), {**rows[0], **rows[1], **rows[2]})

        assert html.count("data-making=") == Medium.objects.count() == 2

    def test_that_the_data_cannot_answer_says_why(
        self, root: Client, card: Card, receiver: AlertReceiver, bi: GuandataAnswers
    ) -> None:
        rule = make_rule(card, receiver)
        values = sent_form(root, f"/admin/notifications/alertrule/{rule.pk}/change/")

        html = preview_pages.preview(root, TRY, {**values, **row(0, "sum", "区域", "lt", "0")})

        assert "列“区域”不是数值" in html

    def test_is_not_tried_on_a_card_of_another_company(self, corp: Corp, card: Card, bi: GuandataAnswers) -> None:
        """Also where somebody names its id in the request: nothing is fetched."""
        stranger = client_of(make_manager(make_corp()))

        html = stranger.post(TRY, {"card": card.pk, **row(0, "any", "销售额", "gt", "0")}).json()["message"]

        assert "该选择不在可用的选项中" in html
        assert "华东" not in html
        assert bi.calls("card_data") == 0


class TestPeople:
    def test_are_named_as_subscriptions_do(self, root: Client, corp: Corp, card: Card, receiver: AlertReceiver) -> None:
        """By departments with those below them, groups and attribute rules; whoever leaves a rule is told no more."""
        north, south, lead = (make_person(corp, name) for name in ("north", "south", "lead"))
        region = Attribute.objects.create(key="region", name="区域")
        set_values(attribute=region, values={north.pk: ["华北"], south.pk: ["华南"]})
        whole, below = (
            Department.objects.create(corp=corp, wecom_department_id=number, wecom_parent_id=parent, name=name)
            for number, parent, name in ((1, None, "北山制造"), (2, 1, "维修班"))
        )
        member = Member.objects.create(
            corp=corp, userid="lead", userid_folded="lead", name="班长", first_seen_at=NOW, changed_at=NOW
        )
        Membership.objects.create(member=member, department=below)
        path = f"/admin/notifications/alertrule/{make_rule(card, receiver).pk}/change/"
        people = {"rules-0-attribute": region.pk, "rules-0-operator": "is", "rules-0-values": "华北", "users": []}
        people |= {"departments": [whole.pk], "with_subdepartments": "on"}

        answer = save(root, path, **row(0, "any", "销售额", "lt", "0"), **people)

        assert answer.status_code == 302, answer.context["adminform"].form.people.errors
        told = {one.user_id for one in resolve_audience(named_audience(receiver))}
        assert told == {north.pk, lead.pk}
        set_values(attribute=region, values={north.pk: ["华南"]})
        assert {one.user_id for one in resolve_audience(named_audience(receiver))} == {lead.pk}
        assert 'value="华北"' in root.get(path).content.decode()

    def test_with_a_robot_of_no_group_are_refused(self, root: Client, card: Card, receiver: AlertReceiver) -> None:
        path = f"/admin/notifications/alertrule/{make_rule(card, receiver).pk}/change/"

        answer = save(root, path, **row(0, "any", "销售额", "lt", "0"), channel="robot")

        assert "robot" in answer.context["adminform"].form.people.errors


class TestFilters:
    @pytest.fixture
    def incidents(self, card: Card, receiver: AlertReceiver) -> None:
        """Named after what they are."""
        rule, other = make_rule(card, receiver), make_rule(card, receiver, name="另一条", problem="无数据")
        channel, now = make_alert_channel(corp=receiver.corp), timezone.now()
        later, earlier = now + timedelta(hours=1), now - timedelta(hours=1)
        rows: dict[str, dict[str, Any]] = {
            "new": {"rule": rule, "severity": "critical"},
            "taken": {"rule": rule, "acknowledged_at": now},
            "silent": {"rule": other, "silenced_until": later, "kind": "no_data"},
            "taken and silent": {"rule": other, "acknowledged_at": now, "silenced_until": later},
            "silent before": {"channel": channel, "silenced_until": earlier},
            "over": {"channel": channel, "status": "resolved", "acknowledged_at": now, "silenced_until": later},
        }
        common = {"corp": receiver.corp, **dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), now)}
        for title, fields in rows.items():
            Incident.objects.create(key=title, title=title, **common, **fields)

    @pytest.mark.parametrize(
        ("query", "titles"),
        [
            ("state=open", {"new", "taken", "silent", "taken and silent", "silent before"}),
            ("state=untaken", {"new", "silent", "silent before"}),
            ("state=taken", {"taken", "taken and silent"}),
            ("state=silent", {"silent", "taken and silent"}),
            ("state=over", {"over"}),
            ("state=silent&kind__exact=no_data", {"silent"}),
            ("severity__exact=critical", {"new"}),
            ("rule__id__exact={rule}", {"new", "taken"}),
            ("channel__id__exact={channel}", {"silent before", "over"}),
        ],
    )
    def test_find_incidents_by_what_they_are(self, root: Client, incidents: None, query: str, titles: set[str]) -> None:
        rule, channel = AlertRule.objects.get(name="销售额过低"), InboundChannel.objects.get()

        page = root.get(f"/admin/notifications/incident/?{query.format(rule=rule.pk, channel=channel.pk)}")

        assert {one.title for one in page.context["cl"].result_list} == titles

    @pytest.mark.parametrize(
        ("query", "names"), [("state=open", {"销售额过低", "另一条"}), ("state=no_data", {"另一条"}), ("", None)]
    )
    def test_find_the_rules_that_somebody_has_to_look_at(
        self, root: Client, incidents: None, card: Card, receiver: AlertReceiver, query: str, names: set[str] | None
    ) -> None:
        make_rule(card, receiver, name="平静")

        page = root.get(f"/admin/notifications/alertrule/?{query}")

        assert {one.name for one in page.context["cl"].result_list} == (names or {"销售额过低", "另一条", "平静"})

    def test_name_nothing_of_another_company(self, incidents: None, corp: Corp) -> None:
        make_rule(
            Card.objects.create(name="x", source=DataSource.objects.get(), bi_card_id="c2"),
            make_receiver(name="别家值班", corp=make_corp()),
            name="别家的规则",
        )
        manager = client_of(make_manager(corp, permissions="view_"))

        page = manager.get("/admin/notifications/incident/").content.decode()

        assert "另一条" in page
        assert "别家" not in page


def test_an_incident_is_closed_by_hand(root: Client, receiver: AlertReceiver) -> None:
    channel = make_alert_channel(corp=receiver.corp)
    now = User.objects.latest("pk").date_joined
    incident = Incident.objects.create(
        key="k",
        title="x",
        channel=channel,
        corp=receiver.corp,
        starts_at=now,
        stretch_at=now,
        opened_at=now,
        seen_at=now,
    )

    root.post(f"/admin/notifications/incident/{incident.pk}/act/", {"action": "close"})

    incident.refresh_from_db()
    assert incident.status == "resolved"
    assert [event.kind for event in incident.events.all()] == ["closed"]
    assert "手动关闭" in root.get(f"/admin/notifications/incident/{incident.pk}/change/").content.decode()
    assert AlertRule.objects.count() == 0
