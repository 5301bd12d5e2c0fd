"""Prometheus metrics, and who may not read them."""

from datetime import timedelta

import pytest
import redis
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from integrations import callbacks
from integrations.core import metrics
from integrations.models import CallbackEvent
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.send import send_deliveries
from notifications.models import CorpQueue
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_people, make_run, make_subscription
from tests.notifications.wecom_stub import WeComStub, errcode, reset

pytestmark = pytest.mark.django_db
TOKEN = "invented-token-of-at-least-32-characters"


@pytest.fixture(autouse=True)
def _token(settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN


def scrape() -> dict[str, float]:
    metrics.flush_counts()
    answer = Client().get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    lines = answer.content.decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_without_the_token_nothing_is_told_and_where_none_is_set_there_is_no_page(
    header: str, settings: Settings
) -> None:
    answer = Client().get("/metrics", headers={"authorization": header})

    assert (answer.status_code, answer.content) == (401, b"")
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics", headers={"authorization": header}).status_code == 404


def test_calls_lag_and_what_waits(wire: WeComStub, clock: FakeClock) -> None:
    corp = make_corp(name="北山制造", api_base_url=wire.url)
    CorpQueue.objects.create(corp=corp, daily_budget=1000)
    ids = []
    for person in make_people(corp, 5):
        ids += render_run(run_id=make_run(make_subscription(person)).pk, now=NOW)
    clock.advance(seconds=3)
    wire.sends.extend([errcode(81013), reset])
    for pk in ids[:4]:
        send_deliveries([pk], clock=clock, is_stopping=lambda: False)

    found = scrape()

    assert found['guanwecom_push_attempts_total{channel="wecom",errcode="0"}'] == 2
    assert found['guanwecom_push_attempts_total{channel="wecom",errcode="81013"}'] == 1
    assert found['guanwecom_push_attempts_total{channel="wecom",errcode="unclear"}'] == 1
    assert found['guanwecom_push_lag_seconds_bucket{le="2"}'] == 0
    assert found['guanwecom_push_lag_seconds_bucket{le="5"}'] == 2
    assert found['guanwecom_push_lag_seconds_bucket{le="+Inf"}'] == 2
    assert found["guanwecom_push_lag_seconds_sum"] == 6
    assert found['guanwecom_push_waiting{priority="ordinary",status="pending"}'] == 2
    assert found[f'guanwecom_push_sent_today{{corp="{corp.pk}"}}'] == 4
    assert found[f'guanwecom_push_daily_budget{{corp="{corp.pk}"}}'] == 1000
    assert found[f'guanwecom_push_held_up{{corp="{corp.pk}"}}'] == 0
    # The metrics contain nothing about messages or people.
    assert all(word not in "".join(found) for word in ("日报", "北山制造", "u0", "U0", corp.corpid))


def test_until_when_a_company_is_held_and_refused_callbacks_are_told() -> None:
    until = timezone.now() + timedelta(minutes=50)
    held, mended = make_corp(), make_corp()
    CorpQueue.objects.create(corp=held, blocked_since=NOW, blocked_errcode=45009, probe_at=until)
    CorpQueue.objects.create(corp=mended)
    for kind, corp_id in ((CallbackEvent.Kind.APP, held.pk), (CallbackEvent.Kind.CONTACTS, 999_999)):
        callbacks.record_refusal(corp_id=corp_id, kind=kind, reason="signature", now=NOW)
    callbacks.record_refusal(corp_id=held.pk, kind=CallbackEvent.Kind.APP, reason="time", now=NOW)

    found = scrape()

    assert [found[f'guanwecom_push_held_up{{corp="{corp.pk}"}}'] for corp in (held, mended)] == [1, 0]
    assert found[f'guanwecom_push_held_until_seconds{{corp="{held.pk}"}}'] == until.timestamp()
    assert found[f'guanwecom_push_held_until_seconds{{corp="{mended.pk}"}}'] == 0
    assert found[f'guanwecom_callbacks_refused_total{{address="app",corp="{held.pk}"}}'] == 2
    assert found['guanwecom_callbacks_refused_total{address="contacts",corp="0"}'] == 1


def test_an_emptied_store_begins_again(valkey_client: redis.Redis) -> None:
    valkey_client.flushdb()

    assert scrape()['guanwecom_push_lag_seconds_bucket{le="+Inf"}'] == 0
