"""A channel marked as an alert: calls of Alertmanager, Grafana and Nightingale open and end incidents."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Sum

from accounts.models import User
from integrations.models import Corp
from notifications.inbound import payloads
from notifications.inbound.payloads import read_alerts
from notifications.models import InboundCall, InboundChannel, Incident, IncidentEvent, IncomingMessage, Run
from tests.notifications.alerts.conftest import alert, make_alert_channel, payload
from tests.notifications.factories import NOW, make_person
from tests.notifications.inbound.channels import call, read_example

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def zhang(corp: Corp) -> User:
    return make_person(corp, "zhang")


@pytest.fixture
def channel(corp: Corp, zhang: User) -> InboundChannel:
    return make_alert_channel(zhang, corp=corp)


def post(channel: InboundChannel, body: Any) -> Any:
    return call(channel, body.encode() if isinstance(body, str) else body)


def read_run_keys() -> list[str]:
    return list(Run.objects.order_by("pk").values_list("key", flat=True))


class TestIncidents:
    def test_an_alert_opens_one_that_is_told_of_at_once(self, channel: InboundChannel, corp: Corp) -> None:
        answer = post(channel, payload(alert(instance="db-1")))

        assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
        incident = Incident.objects.get()
        assert (incident.title, incident.summary) == ("DiskFull 磁盘快满了", "剩余 3%")
        assert (incident.severity, incident.corp, incident.starts_at) == ("critical", corp, NOW)
        assert incident.labels == {"alertname": "DiskFull", "severity": "critical", "instance": "db-1"}
        assert read_run_keys() == [f"incident:{incident.pk}:fire"]
        assert not IncomingMessage.objects.exists()

    def test_alerts_of_one_call_are_one_message_and_an_incident_each(self, channel: InboundChannel) -> None:
        post(channel, payload(alert(n="1"), alert(n="2"), alert(n="3", ends=NOW)))

        assert sorted(Incident.objects.values_list("status", flat=True)) == ["open", "open", "resolved"]
        assert len(read_run_keys()) == 1

    def test_a_repeated_notification_repeats_no_message(self, channel: InboundChannel) -> None:
        post(channel, payload(alert(), groupKey="a"))

        for _ in range(3):
            assert post(channel, payload(alert(), groupKey="b")).json() == {"status": "repeated"}

        assert len(read_run_keys()) == 1
        assert IncidentEvent.objects.values_list("kind", flat=True).count() == 2  # opened, and told
        outcomes = InboundCall.objects.newest_first().values_list("outcome", "count")
        assert list(outcomes) == [("repeated", 3), ("accepted", 1)]

    def test_the_same_alert_of_another_channel_is_another_incident(self, channel: InboundChannel, corp: Corp) -> None:
        for one in (channel, make_alert_channel(corp=corp, name="另一个")):
            assert post(one, read_example("grafana")[0]).status_code == 202

        opened = Incident.objects.open()
        assert [opened.filter(channel=one).count() for one in InboundChannel.objects.all()] == [2, 2]
        assert {one.labels["alertname"] for one in opened} == {"磁盘使用率过高"}


class TestSenders:
    def test_nightingale_opens_and_ends_one(self, channel: InboundChannel) -> None:
        [event] = json.loads(read_example("nightingale")[0])
        post(channel, json.dumps([event]))
        incident = Incident.objects.get()
        post(channel, json.dumps({**event, "is_recovered": True, "last_eval_time": 1795829600}))

        assert (incident.title, incident.summary) == ("磁盘使用率过高", "清理 /data 或扩容")
        assert (incident.severity, incident.link) == ("critical", "https://wiki.example.com/disk")
        assert incident.labels == {"ident": "db-1", "path": "/data", "rulename": "磁盘使用率过高"}
        assert incident.starts_at == datetime.fromtimestamp(1795829523, UTC)
        incident.refresh_from_db()
        assert (incident.status, incident.ends_at) == ("resolved", datetime.fromtimestamp(1795829600, UTC))

    def test_times_with_nanoseconds_and_go_s_zero_are_read(self) -> None:
        rows = [alert(), {**alert(n="2"), "startsAt": "0001-01-01T00:00:00Z"}]
        rows[0]["startsAt"] = "2026-11-24T09:00:00.123456789+08:00"

        found, _left_out = read_alerts({"alerts": rows}, now=NOW)

        assert [one.starts_at for one in found] == [datetime(2026, 11, 24, 1, 0, 0, 123456, UTC), NOW]

    @pytest.mark.parametrize(
        ("value", "severity"),
        [("CRITICAL", "critical"), ("page", "critical"), ("warn", "warning"), ("info", "info"), ("purple", "warning")],
    )
    def test_the_severity_comes_from_a_label(self, value: str, severity: str) -> None:
        [found], _left_out = read_alerts({"alerts": [alert(severity=value)]}, now=NOW)

        assert found.severity == severity

    def test_of_more_alerts_than_are_taken_the_others_are_counted(
        self, channel: InboundChannel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(payloads, "ALERTS_AT_MOST", 10)

        post(channel, payload(*(alert(n=str(number)) for number in range(13)), truncatedAlerts=2))

        assert Incident.objects.aggregate(Sum("truncated_count")) == {"truncated_count__sum": 5}
        assert Incident.objects.count() == 10


class TestHostile:
    @pytest.mark.parametrize(
        "body", ["null", "[]", "0", '"x"', "{}", '{"alerts":[]}', '{"alerts":[{}]}', '{"alerts":[[]]}', '[{"a":1}]']
    )
    def test_what_is_no_alert_is_refused_and_noted(self, channel: InboundChannel, body: str) -> None:
        assert post(channel, body).status_code in {400, 422}
        assert not Incident.objects.exists()

    @pytest.mark.parametrize(
        "change", [{"labels": {}}, {"labels": ["a"]}, {"status": "burning"}, {"labels": None, "annotations": 7}]
    )
    def test_an_alert_that_cannot_be_takes_no_other_with_it(self, change: dict[str, Any]) -> None:
        found, _left_out = read_alerts({"alerts": [{**alert("One"), **change}, alert("Two")]}, now=NOW)

        assert [one.title for one in found] == ["Two 磁盘快满了"]

    @pytest.mark.parametrize(
        "change",
        [
            {"labels": {"a": "x\x00y"}},
            {"labels": {"a\x1b": "x", "b": ["c"], "d": {"e": "f"}, "g": None}},
            {"labels": {"a" * 1290: "\ud800"}},
            {"labels": {"a": "x" * 10_250}},
            {"labels": {f"l{n}": "x" for n in range(650)}},
            {"annotations": {"summary": "\x1b[31mdisk\x07"}},
            {"annotations": {"summary": "fdp\u202eexe", "description": "\u2066a\u200f"}},
            {"annotations": {"summary": "x" * 160_385}},
            {"annotations": {"summary": 1}},
            {"generatorURL": "http://example.com/" + "x" * 20_000},
            {"generatorURL": 7},
            {"startsAt": "yesterday"},
            {"startsAt": "2026-13-01T00:00:00Z"},
            {"startsAt": [1]},
            {"startsAt": "9999-12-31T23:59:59-14:00"},
            {"startsAt": 10**18},
            *(
                {"labels": labels, "annotations": labels, "generatorURL": "javascript:alert(1)"}
                for labels in (
                    *(
                        {"alertname": name}
                        for name in ("<script>x()</script>", "{{ 7*7 }}%(name)s", "😀" * 200, " \t ")
                    ),
                    {"__proto__": "x", "constructor": "y"},
                )
            ),
        ],
    )
    def test_an_odd_alert_is_made_fit_and_markup_and_tricks_are_only_words(
        self, channel: InboundChannel, change: dict[str, Any]
    ) -> None:
        assert post(channel, payload({**alert("One"), **change}, alert("Two"))).status_code == 202

        assert Incident.objects.count() == 2
        for incident in Incident.objects.all():
            assert incident.title.strip()
            assert len(incident.labels) <= 64
            assert all(len(name) <= 128 and len(value) <= 1024 for name, value in incident.labels.items())
            words = f"{incident.title}{incident.summary}{incident.labels}"
            assert not any(character in words for character in "\x00\x07\x1b\ud800\u202e\u2066")

    @pytest.mark.parametrize(
        ("address", "link"),
        [
            ("https://prometheus.example.com/graph?g0.expr=up", "https://prometheus.example.com/graph?g0.expr=up"),
            ("https://bi.example.com@evil.example/", ""),
            ("javascript:alert(1)", ""),
        ],
    )
    def test_only_plain_web_addresses_become_links(self, address: str, link: str) -> None:
        [found], _left_out = read_alerts({"alerts": [{**alert(), "generatorURL": address}]}, now=NOW)

        assert found.link == link
