"""The standstills that the engine recognises, and the answer to a monitor."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import translation
from django_celery_beat.models import PeriodicTask
from pytest_django import Settings
from redis import Redis

from guanwecom.operations import health
from integrations.core import installation
from integrations.core.background import database_now
from integrations.core.heartbeats import STALE_SECONDS
from integrations.models import Card, DataSource, Heartbeat, Installation
from notifications.delivery.maintenance import TASK_NAMES
from notifications.delivery.runs.scheduler import TICK_NAME
from notifications.models import Medium, Subscription
from tests.guanwecom.operations.conftest import heard, read_metrics, ticked
from tests.notifications.alerts.rules import make_rule
from tests.notifications.factories import make_run, make_subscription
from tools.services import start_valkey

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("running")]
TOKEN = "invented-token-of-at-least-32-characters"
SILENT = STALE_SECONDS + 1


@pytest.fixture(autouse=True)
def _token(settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN


def answer(method: str = "get", token: str = TOKEN) -> Any:
    return getattr(Client(), method)("/healthz/engine", headers={"authorization": f"Bearer {token}"})


def problems() -> list[str]:
    return health.read_state().problems


def overdue_subscription(**passed: float) -> Subscription:
    return make_subscription(crontab="* * * * *", next_run_at=database_now() - timedelta(**passed))


def test_a_monitor_is_told_how_everything_stands(settings: Settings) -> None:
    heard(Heartbeat.Kind.BEAT, "host:1", seconds_ago=SILENT)
    overdue_subscription(minutes=2)
    installation.load_installation()
    Installation.objects.update(confirmed_at=database_now() - timedelta(days=9))

    response = answer()

    assert response.status_code == 503
    document = response.json()
    assert document["beat"].pop("silent_seconds") >= SILENT
    assert document["overdue"].pop("seconds") >= 120
    for served in document["queues"].values():
        served.pop("silent_seconds")
    document["tick"].pop("seconds")
    assert document.pop("mail_door") == {"processes": 0, "silent_seconds": None}
    lines = read_metrics(settings).splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values["guanwecom_engine_up"] == values["guanwecom_beat_processes"] == "0.0"
    assert values['guanwecom_queue_workers{queue="urgent"}'] == values["guanwecom_overdue_slots"] == "1.0"
    assert values['guanwecom_queue_workers{queue="charts"}'] == values["guanwecom_mail_door_processes"] == "0.0"
    assert 0 <= float(values["guanwecom_tick_age_seconds"]) < 20
    assert timedelta(seconds=float(values["guanwecom_backup_age_seconds"])).days == 9
    assert document == {
        "status": "down",
        "problems": ["beat"],
        "beat": {"processes": 0},
        "queues": {
            "urgent": {"processes": 1},
            "celery": {"processes": 1},
            "data": {"processes": 1},
            "charts": {"processes": 0},
            "snapshots": {"processes": 0},
        },
        "tick": {},
        "overdue": {"count": 1},
    }


def test_an_engine_that_runs_is_ok_though_nobody_draws_charts() -> None:
    response = answer()

    assert (response.status_code, response.json()["status"], response.json()["problems"]) == (200, "ok", [])
    assert response["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    assert answer("post").status_code == 405


def test_nobody_without_the_token_is_told_anything_and_without_one_there_is_no_such_address(settings: Settings) -> None:
    refused = [answer(token=token) for token in ("", "wrong")]
    assert [(one.status_code, one.content) for one in refused] == [(401, b"")] * 2

    settings.METRICS_TOKEN = ""
    assert answer(token="").status_code == 404


def test_without_a_database_it_says_so() -> None:
    def refuse(*_statement: Any) -> None:
        raise OperationalError("the connection is closed")

    with connection.execute_wrapper(refuse):
        response = answer()

    assert (response.status_code, response.json()) == (503, {"status": "down", "problems": ["database"]})


def test_one_of_two_beats_is_enough_and_a_queue_needs_a_live_worker() -> None:
    heard(Heartbeat.Kind.BEAT, "host:1", seconds_ago=SILENT)
    heard(Heartbeat.Kind.WORKER, "host:2", queues="urgent,celery")
    heard(Heartbeat.Kind.WORKER, "host:3", queues="data", seconds_ago=SILENT)
    assert problems() == ["beat", "queue:data"]

    heard(Heartbeat.Kind.BEAT, "other:1")
    heard(Heartbeat.Kind.WORKER, "host:4", queues="data")
    assert problems() == []


def test_web_processes_serve_no_queue() -> None:
    Heartbeat.objects.all().delete()
    heard(Heartbeat.Kind.WEB, "host:9")

    assert problems() == ["beat", "queue:urgent", "queue:celery", "queue:data"]


@pytest.mark.parametrize("queue", ["charts", "snapshots"])
def test_optional_workers_that_were_killed_are_missed_and_those_that_ended_are_not(queue: str) -> None:
    heard(Heartbeat.Kind.WORKER, "host:5", queues=queue, seconds_ago=SILENT)

    assert problems() == [f"queue:{queue}"]

    Heartbeat.objects.filter(name="host:5").delete()

    assert problems() == []


def test_pictures_of_pages_that_wait_for_a_worker_are_told_with_its_command() -> None:
    since = database_now() - timedelta(minutes=3)
    Medium.objects.create(kind="picture", digest="d", queue="snapshots", recipe=b"", created_at=since, make_after=since)

    assert problems() == ["queue:snapshots"]
    assert "worker-snapshots" in health.explain_problems(health.read_state())[0].command


def test_a_mail_door_that_was_killed_is_missed_and_one_that_ended_or_never_ran_is_not() -> None:
    assert problems() == []
    heard(Heartbeat.Kind.MAIL, "host:6", seconds_ago=SILENT)
    ticked(seconds_ago=31)

    assert problems() == ["tick", "mail"]
    with translation.override("en"):
        explanation = health.explain_problems(health.read_state())[-1]
    assert explanation.what.startswith("The mail door is not running: other systems keep their mails and try again")
    assert explanation.command == "systemctl restart guanwecom-mail-door\ndocker compose restart mail-door"

    heard(Heartbeat.Kind.MAIL, "host:7")
    ticked()

    assert problems() == []
    assert answer().json()["mail_door"]["processes"] == 1


def test_an_emptied_valkey_alarms_nobody_and_without_it_no_queue_is_blamed(
    settings: Settings, valkey_client: Any
) -> None:
    valkey_client.flushall()
    assert problems() == []

    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    Heartbeat.objects.filter(kind=Heartbeat.Kind.WORKER).delete()

    assert problems() == ["valkey"]


@pytest.mark.parametrize(
    ("spoil", "code", "sentence"),
    [
        (lambda store: store.config_set("maxmemory", 1), "valkey:memory full", "Valkey's memory is full: "),
        (
            lambda store: store.replicaof("127.0.0.1", 1),
            "valkey:read-only",
            "takes no writes, as a replica or because ",
        ),
    ],
)
def test_a_valkey_that_takes_no_writes_is_named_as_that(
    settings: Settings, spoil: Callable[[Any], object], code: str, sentence: str
) -> None:
    service = start_valkey()
    settings.VALKEY_URL = service.url
    Heartbeat.objects.filter(kind=Heartbeat.Kind.WORKER).delete()
    with closing(Redis.from_url(service.url)) as store:
        spoil(store)

    state = health.read_state()
    service.stop()

    assert state.problems == [code]
    with translation.override("en"):
        [explanation] = health.explain_problems(state)
    assert sentence in explanation.what


def test_a_clock_that_stands_still_is_told_where_nothing_else_explains_it() -> None:
    Installation.objects.update(tick_period=0)
    assert problems() == ["tick"]
    assert answer().json()["tick"] == {"seconds": None}
    ticked(seconds_ago=31)

    assert problems() == ["tick"]

    heard(Heartbeat.Kind.BEAT, "host:1", seconds_ago=SILENT)

    assert problems() == ["beat"]


@pytest.mark.parametrize("name", health.PERIODIC_TASKS)
def test_a_periodic_task_that_was_switched_off(name: str) -> None:
    PeriodicTask.objects.filter(name=name).update(enabled=False)
    ticked(seconds_ago=31)

    assert problems() == [f"task:{name}"]
    with translation.override("en"):
        (explanation,) = health.explain_problems(health.read_state())
        task = str(TASK_NAMES[name])
    assert explanation.what.startswith(f"The periodic task “{task}” is switched off: ")
    assert explanation.where.startswith(f"Switch it on in the administration: periodic tasks → {task}.")


def test_a_periodic_task_that_is_missing_is_named_while_beat_runs_which_makes_it_as_it_starts() -> None:
    PeriodicTask.objects.filter(name=TICK_NAME).delete()
    assert problems() == [f"task:{TICK_NAME}"]

    Heartbeat.objects.filter(kind=Heartbeat.Kind.BEAT).delete()
    assert problems() == ["beat"]


def test_slots_and_checks_that_nobody_claims() -> None:
    overdue_subscription(seconds=31)
    overdue_subscription(seconds=20)
    make_run(overdue_subscription(minutes=2))  # its slot waits for the previous run
    make_subscription(next_run_at=database_now() - timedelta(minutes=5), is_enabled=False)
    assert problems() == ["slots"]
    assert health.read_state().overdue_count == 1

    card = Card.objects.create(name="各城市销售额", source=DataSource.objects.create(name="数仓", kind="sql"))
    make_rule(card, next_run_at=database_now() - timedelta(minutes=1))
    assert health.read_state().overdue_count == 2
