"""Reports of a standstill: to whom, how often, and in which words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core import mail
from django.db import connections
from django.utils import translation
from pytest_django import Settings

from guanwecom.operations import health, watch
from guanwecom.operations.health import ProcessGroup
from guanwecom.operations.watch import CONFIRMED_AFTER
from integrations.core import installation
from integrations.core.background import database_now
from integrations.models import Heartbeat, Installation
from tests.deploy.commands import UNITS
from tests.guanwecom.operations.conftest import heard

pytestmark = pytest.mark.django_db
QUEUES = ("urgent", "celery", "data", "charts", "snapshots")
START = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _watched(running: None) -> None:
    installation.load_installation()


LASTED = CONFIRMED_AFTER.total_seconds()


@pytest.mark.parametrize(
    "looks",
    [
        # A lasting problem is reported once, and so is its end.
        [
            *((0, "beat", False), (LASTED - 1, "beat", False), (LASTED, "beat", True), (LASTED + 5, "beat", False)),
            *((100, "", False), (100 + LASTED, "", True), (200 + LASTED, "", False)),
        ],
        # A short one is not reported.
        [(0, "beat", False), (LASTED - 1, "", False), (LASTED, "beat", False), (LASTED + 5, "", False)],
        # A problem that joins is reported; one that leaves is not.
        [
            *((0, "beat", False), (LASTED, "beat", True)),
            *((100, "beat queue:data", False), (100 + LASTED, "beat queue:data", True)),
            *((200, "queue:data", False), (200 + LASTED, "queue:data", False)),
            *((300, "beat queue:data", False), (300 + LASTED, "beat queue:data", True)),
        ],
        # After a clock was set back, counting begins anew.
        [(3600, "beat", False), (0, "beat", False), (LASTED, "beat", True)],
    ],
)
def test_what_is_new_is_told_once_it_has_lasted(looks: list[tuple[float, str, bool]]) -> None:
    for seconds, problems, is_told in looks:
        now = START + timedelta(seconds=seconds)
        assert watch.record_problems(Installation.objects.get(), problems.split(), now=now) is is_told, seconds


def test_of_two_that_look_one_tells_and_the_first_look_of_all_makes_the_row() -> None:
    Installation.objects.all().delete()
    Heartbeat.objects.filter(kind=Heartbeat.Kind.BEAT).delete()

    watch.check_engine()
    watch.check_engine()
    first = Installation.objects.get().engine_checked_at
    watch.check_engine()

    assert (Installation.objects.get().engine_checked_at, Installation.objects.get().engine_problems) == (first, "beat")


@pytest.mark.parametrize(("unseen_seconds", "is_told"), [(LASTED - 10, True), (LASTED + 10, False)])
def test_what_was_found_before_nobody_looked_has_to_last_anew(
    unseen_seconds: float, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start counting anew after an outage of the database, because no heartbeat is fresh yet."""
    told: list[str] = []
    monkeypatch.setattr(watch, "_run_in_thread", lambda work: told.append("told"))
    Heartbeat.objects.all().delete()
    now = database_now()
    watch.check_engine()
    found_since, checked_at = now - timedelta(seconds=90), now - timedelta(seconds=unseen_seconds)
    Installation.objects.update(engine_problems_since=found_since, engine_checked_at=checked_at)

    watch.check_engine()

    assert told == ["told"] * is_told


def test_what_nobody_could_be_told_is_told_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry if the mail server is away, perhaps together with the engine, and back before it."""
    monkeypatch.setattr(watch, "_run_in_thread", lambda work: work())
    monkeypatch.setattr(connections, "close_all", lambda: None)
    settings.OPERATOR_EMAILS, backend = ["ops@example.com"], settings.EMAIL_BACKEND
    Heartbeat.objects.filter(kind=Heartbeat.Kind.BEAT).delete()
    lasted = database_now() - CONFIRMED_AFTER
    look_again = {"engine_checked_at": None, "engine_problems": "beat", "engine_problems_since": lasted}
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 1

    Installation.objects.update(**look_again)
    watch.check_engine()
    assert Installation.objects.get().engine_notified == ""
    settings.EMAIL_BACKEND = backend
    for _ in range(2):
        Installation.objects.update(**look_again)
        watch.check_engine()

    assert len(mail.outbox) == 1
    assert Installation.objects.get().engine_notified == "beat"


def test_operators_get_the_words_and_the_command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "close_all", lambda: None)
    settings.OPERATOR_EMAILS = ["ops@example.com"]
    heard(Heartbeat.Kind.BEAT, "host:1", seconds_ago=45)
    Heartbeat.objects.filter(kind=Heartbeat.Kind.WORKER).update(queues="urgent,celery")

    stopped, again = health.read_state(), replace(health.read_state(), beat=ProcessGroup("beat", 1, None), queues=())

    watch.report_engine_state(stopped, "")
    watch.report_engine_state(again, "")

    sent, end = mail.outbox
    assert (end.subject, end.body.splitlines()[0]) == ("推送已恢复运行", "beat 和所有队列的 worker 都在运行。")
    assert (sent.subject, sent.to) == ("推送已停止：beat, data", ["ops@example.com"])
    assert sent.body == (
        "beat 没有运行：定时推送和预警都不会开始。 最后一次心跳在 45 秒前。\n"
        "请在产品所在的服务器上用 systemd 或 Docker Compose 重启：\n"
        "    systemctl restart guanwecom-beat\n"
        "    docker compose restart beat\n"
        "\n"
        "没有 worker 处理队列“data”：推送和预警在等待取数。 没有收到过心跳。\n"
        "请在产品所在的服务器上用 systemd 或 Docker Compose 重启：\n"
        "    systemctl restart guanwecom-worker-data\n"
        "    docker compose restart worker-data\n"
        "\n"
        "概览：http://localhost:3001/admin/"
    )
    assert "the push engine has stopped: beat, queue:data" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1.9, "1 second"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours")],
)
def test_durations_are_rough(seconds: float, words: str) -> None:
    with translation.override("en"):
        assert health.format_duration(seconds) == words


@pytest.mark.parametrize("code", ["beat", "mail", "web", *(f"queue:{name}" for name in QUEUES)])
def test_every_command_names_a_unit_and_a_service_that_there_are(project_root: Path, code: str) -> None:
    queue = ProcessGroup(code.partition(":")[2], 0, None)
    state = replace(health.read_state(), queues=(queue,))

    systemd, compose = health._explain_problem(code, state).command.splitlines()

    unit = systemd.removeprefix("systemctl restart ").replace("@1", "@")
    assert (project_root / f"deploy/systemd/{unit}.service").exists()
    assert compose.removeprefix("docker compose restart ") in UNITS
