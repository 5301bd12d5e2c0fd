"""`POST /api/v1/alerts`: Alertmanager's payload as it is, and whatever a hostile sender makes of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db.models import Sum

from integrations.models import Corp
from notifications.models import AlertRoute, Incident, Run
from tests.notifications.alerts.conftest import alert, make_receiver, make_route, payload
from tests.notifications.api.conftest import Caller, make_editor, make_token
from tests.notifications.api.test_security import assert_problem
from tests.notifications.factories import NOW, make_corp, make_person

pytestmark = pytest.mark.django_db
PATH, JSON = "/api/v1/alerts", "application/json"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def corp(db: None) -> Corp:
    return make_corp(name="北山制造")


@pytest.fixture
def route(corp: Corp) -> AlertRoute:
    return make_route(make_receiver(make_person(corp, "zhang"), corp=corp))


@pytest.fixture
def client(corp: Corp, route: AlertRoute) -> Caller:
    return make_token(make_editor(corp), may_alert=True)[1]


def post(client: Caller, body: Any) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(PATH, text, content_type=JSON)


class TestTaking:
    def test_an_alert_opens_an_incident_with_what_the_sender_said(self, client: Caller, corp: Corp) -> None:
        one = alert(instance="db-1")
        answer = post(client, payload(one))

        assert (answer.status_code, answer.json()["opened"], answer.json()["unrouted"]) == (202, 1, 0)
        incident = Incident.objects.get()
        assert (incident.title, incident.summary) == ("DiskFull 磁盘快满了", "剩余 3%")
        assert (incident.severity, incident.corp, incident.starts_at) == ("critical", corp, NOW)
        assert incident.labels == dict(one.labels)
        assert list(Run.objects.values_list("key", flat=True)) == [f"incident:{incident.pk}:fire"]

    def test_its_end_resolves_it(self, client: Caller) -> None:
        post(client, payload(alert()))

        answer = post(client, payload(alert(ends=NOW + MINUTE)))

        assert answer.json()["resolved"] == 1
        assert Incident.objects.get().ends_at == NOW + MINUTE

    def test_grafanas_payload_is_taken_too(self, client: Caller) -> None:
        more = {"version": "1", "orgId": 1, "state": "alerting", "title": "[FIRING:1]", "message": "x"}

        assert post(client, payload(alert(), **more)).status_code == 202

    def test_times_with_nanoseconds_and_go_s_zero_are_read(self, client: Caller) -> None:
        document = json.loads(payload(alert()))
        document["alerts"][0]["startsAt"] = "2026-11-24T09:00:00.123456789+08:00"
        document["alerts"].append({"status": "firing", "labels": {"a": "b"}, "startsAt": "0001-01-01T00:00:00Z"})

        assert post(client, document).json()["opened"] == 2

    def test_what_no_route_takes_is_said_and_counted_for_a_day(
        self, client: Caller, route: AlertRoute, valkey_client: redis.Redis
    ) -> None:
        route.matchers = [["team", "=", "web"]]
        route.save()

        answer = post(client, payload(alert()))

        assert (answer.json()["received"], answer.json()["unrouted"]) == (1, 1)
        assert not Incident.objects.exists()
        assert 0 < valkey_client.ttl("alerts:unrouted") <= 24 * 60 * 60


class TestRoutes:
    def test_the_first_that_matches_takes_it_unless_it_goes_on(self, client: Caller, route: AlertRoute) -> None:
        first = make_route(route.receiver, name="先", position=1, matchers=[["instance", "=~", "db-*"]], goes_on=True)
        second = make_route(route.receiver, name="后", position=2, matchers=[["severity", "=", "critical"]])

        post(client, payload(alert(instance="db-1"), alert(instance="web-1"), alert(instance="x", severity="info")))

        found = Incident.objects.order_by("pk").values_list("route", "labels__instance")
        assert sorted(found) == sorted([(first.pk, "db-1"), (second.pk, "db-1"), (second.pk, "web-1"), (route.pk, "x")])

    def test_another_company_s_routes_are_not_reached(self, client: Caller, route: AlertRoute) -> None:
        other = make_corp()
        AlertRoute.objects.update(is_enabled=False)
        make_route(make_receiver(make_person(other, "li"), corp=other))

        assert post(client, payload(alert())).json()["unrouted"] == 1

    def test_a_token_that_names_companies_reaches_their_routes_only(self, corp: Corp, route: AlertRoute) -> None:
        other = make_corp()
        make_route(make_receiver(make_person(other, "li"), corp=other), position=1)
        client = make_token(make_editor(), may_alert=True, reach="corps", corps=[corp])[1]

        post(client, payload(alert()))

        assert [one.route for one in Incident.objects.all()] == [route]

    def test_a_route_may_take_from_some_senders_only(self, corp: Corp, route: AlertRoute) -> None:
        editor = make_editor(corp)
        (known, client), stranger = make_token(editor, may_alert=True), make_token(editor, may_alert=True)[1]
        route.delete()
        make_route(route.receiver, senders=[known])

        assert post(stranger, payload(alert())).json()["unrouted"] == 1
        assert post(client, payload(alert())).json()["opened"] == 1

    def test_a_route_whose_last_sender_is_deleted_opens_to_nobody(self, corp: Corp, route: AlertRoute) -> None:
        known, stranger = make_token(make_editor(), may_alert=True)[0], make_token(make_editor(corp), may_alert=True)[1]
        route.delete()
        make_route(route.receiver, senders=[known])

        known.owner.delete()

        assert post(stranger, payload(alert())).json()["unrouted"] == 1

    @pytest.mark.parametrize(
        ("labels", "severity"),
        [
            ({"severity": "CRITICAL"}, "critical"),
            ({"severity": "page"}, "critical"),
            ({"severity": "warn"}, "warning"),
            ({"severity": "info"}, "info"),
            ({"severity": "purple"}, "warning"),
            ({}, "warning"),
        ],
    )
    def test_the_severity_comes_from_a_label(self, client: Caller, labels: dict[str, str], severity: str) -> None:
        document = json.loads(payload(alert()))
        document["alerts"][0]["labels"] = {"alertname": "x", **labels}

        post(client, document)

        assert Incident.objects.get().severity == severity


class TestRefused:
    def test_a_token_without_the_scope(self, corp: Corp) -> None:
        assert_problem(post(make_token(make_editor(corp))[1], payload(alert())), 403, "action_not_allowed")

    def test_a_token_of_somebody_who_may_not_write_routes_any_more(self, corp: Corp) -> None:
        editor = make_editor(corp)
        client = make_token(editor, may_alert=True)[1]
        editor.groups.clear()

        assert_problem(post(client, payload(alert())), 403, "action_not_allowed")

    @pytest.mark.parametrize(
        "body",
        [
            "", "null", "[]", "0", '"x"', "{", "{}", "\x00", "[" * 100_000, '{"a":' * 5000, '{"alerts":NaN}',
            '{"version":"4","alerts":[]}', '{"version":"3","alerts":[{}]}', b"\xff\xfe", b'{"alerts":"\xc3"}',
        ],
    )  # fmt: skip
    def test_what_is_no_payload(self, client: Caller, body: Any) -> None:
        assert post(client, body).status_code in {400, 422}
        assert not Incident.objects.exists()

    @pytest.mark.parametrize(
        "change",
        [
            {"labels": {}},
            {"labels": {"a": 1}},
            {"labels": {"a": None}},
            {"labels": {"a": {"b": "c"}}},
            {"labels": {"a": ["b"]}},
            {"labels": {"": "x"}},
            {"labels": {"a\ud800": 1}},
            {"annotations": {"summary": 1}},
            {"status": "burning"},
            {"startsAt": "yesterday"},
            {"startsAt": "2026-13-01T00:00:00Z"},
            {"startsAt": [1]},
            {"generatorURL": 7},
        ],
    )
    def test_an_alert_that_cannot_be(self, client: Caller, change: dict[str, Any]) -> None:
        document = json.loads(payload(alert()))
        document["alerts"][0] |= change

        answer = post(client, document)

        assert answer.status_code == 422, answer.content
        assert not Incident.objects.exists()

    @pytest.mark.parametrize(
        "change",
        [
            {"labels": {"a": "x\x00y"}},
            {"labels": {"a\x1b": "x"}},
            {"labels": {"a\n": "x"}},
            {"labels": {"a": "\ud800"}},
            {"labels": {"a" * 129: "x"}},
            {"labels": {"a": "x" * 1025}},
            {"labels": {f"l{n}": "x" for n in range(65)}},
            {"annotations": {"summary": "\x1b[31mdisk\x07"}},
            {"annotations": {"summary": "fdp\u202eexe", "description": "\u2066a\u200f"}},
            {"labels": {"a\u202e": "fdp\u202eexe"}},
            {"annotations": {"summary": "x" * 16_385}},
            {"annotations": {f"l{n}": "x" for n in range(65)}},
            {"generatorURL": "http://example.com/" + "x" * 20_000},
        ],
    )
    def test_an_odd_alert_is_made_fit_and_takes_no_other_with_it(self, client: Caller, change: dict[str, Any]) -> None:
        document = json.loads(payload(alert("One"), alert("Two")))
        document["alerts"][0] |= change

        answer = post(client, document)

        assert (answer.status_code, answer.json()["opened"]) == (202, 2)
        for incident in Incident.objects.all():
            assert len(incident.labels) <= 64
            assert all(len(name) <= 128 and len(value) <= 1024 for name, value in incident.labels.items())
            words = f"{incident.title}{incident.summary}{incident.labels}"
            assert not any(character in words for character in "\x00\x07\x1b\ud800\u200f\u202e\u2066")

    def test_of_more_alerts_than_are_taken_the_others_are_counted(self, client: Caller) -> None:
        alerts = (alert(n=str(number)) for number in range(1003))

        answer = post(client, payload(*alerts, truncatedAlerts=2))

        assert answer.json() | {"received": 1000, "opened": 1000} == answer.json()
        assert Incident.objects.aggregate(Sum("truncated_count")) == {"truncated_count__sum": 5}

    def test_a_body_that_is_too_large(self, client: Caller) -> None:
        answer = post(client, payload(alert(), junk="x" * 3_000_000))

        assert_problem(answer, 413, "body_too_large")

    def test_truncated_alerts_that_are_no_count(self, client: Caller) -> None:
        for value in (-1, 1e99, "many"):
            assert post(client, payload(alert(), truncatedAlerts=value)).status_code == 422


@pytest.mark.parametrize(
    "labels",
    [
        {"alertname": "<script>alert(1)</script>"},
        {"alertname": '"><img src=x onerror=alert(1)>'},
        {"alertname": "{{ 7*7 }}{% debug %}%(name)s"},
        {"alertname": "\u202egpj.exe"},
        {"alertname": "😀" * 200},
        {"__proto__": "x", "constructor": "y"},
        {"a": ""},
        {"alertname": " \t "},
        {"startsAt": "x", "'; DROP TABLE notifications_incident; --": "x"},
    ],
)
def test_markup_and_tricks_are_only_words(client: Caller, labels: dict[str, str]) -> None:
    document = json.loads(payload(alert()))
    document["alerts"][0] |= {"labels": labels, "annotations": labels, "generatorURL": "javascript:alert(1)"}

    assert post(client, document).status_code in {202, 422}
    for incident in Incident.objects.all():
        assert incident.link == ""
        assert incident.title.strip()


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://prometheus.example.com/graph?g0.expr=up", "https://prometheus.example.com/graph?g0.expr=up"),
        ("https://bi.example.com@evil.example/", ""),
        ("https://evil.example/ bi.example.com", ""),
        ("ftp://example.com/", ""),
        ("https:///path", ""),
    ],
)
def test_only_plain_web_addresses_become_links(client: Caller, address: str, link: str) -> None:
    document = json.loads(payload(alert()))
    document["alerts"][0]["generatorURL"] = address

    post(client, document)

    assert Incident.objects.get().link == link


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", 1e18]
)
def test_times_at_the_end_of_time_are_no_error(client: Caller, moment: Any) -> None:
    document = json.loads(payload(alert(), alert(n="2", ends=NOW)))
    for one in document["alerts"]:
        one |= {"startsAt": moment, "endsAt": moment}

    assert post(client, document).status_code in {202, 422}
