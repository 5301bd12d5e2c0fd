"""Warnings to operators: by which channel, chosen by whom, and while the database is away."""

import json

import pytest
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry
from guanwecom.operations import watch
from guanwecom.operations.installation import mark_as_copy
from guanwecom.operations.watch import CONFIRMED_AFTER, DatabaseWatch
from integrations.core.redis import valkey
from notifications.models import OperatorContacts, Robot
from tests.notifications.factories import make_corp, make_superuser
from tests.notifications.wecom_stub import WeComStub, errcode

pytestmark = pytest.mark.django_db
PAGE = "/admin/notifications/operatorcontacts/1/change/"


def contacts(wire: WeComStub, emails: str = "a@example.com\nb@example.com") -> OperatorContacts:
    robot = Robot.objects.create(corp=make_corp(api_base_url=wire.url), name="运维群", key="0a1b2c3d")
    return OperatorContacts.objects.create(emails=emails, robot=robot)


def texts(wire: WeComStub) -> list[str]:
    return [json.loads(body)["text"]["content"] for body in wire.bodies]


def test_both_ways_tell_those_of_the_environment_and_those_chosen(settings: Settings, wire: WeComStub) -> None:
    settings.OPERATOR_EMAILS = ["b@example.com", "c@example.com"]
    settings.OPERATOR_ROBOT = (wire.url, "4e5f6a7b")
    contacts(wire)

    watch.refresh_contacts()
    watch.notify_operators("推送已停止：beat", "beat 没有运行")

    (sent,) = mail.outbox
    assert (sent.subject, sent.body) == ("推送已停止：beat", "beat 没有运行")
    assert sent.to == ["b@example.com", "c@example.com", "a@example.com"]
    assert texts(wire) == ["推送已停止：beat\nbeat 没有运行"] * 2

    mark_as_copy()
    watch._cached_contacts.clear()
    watch.refresh_contacts()
    watch.notify_operators("subject", "body")  # from a copy nobody is told
    assert (len(mail.outbox), len(texts(wire))) == (1, 2)


def test_before_anything_was_read_those_of_the_environment_are_told(settings: Settings, wire: WeComStub) -> None:
    settings.OPERATOR_EMAILS, settings.OPERATOR_ROBOT = ["ops@example.com"], (wire.url, "4e5f6a7b")

    watch.notify_operators("主题", "文" * 1000)

    assert [sent.to for sent in mail.outbox] == [["ops@example.com"]]
    (text,) = texts(wire)  # cut to WeCom's limit
    assert text.startswith("主题\n文文")
    assert 2045 <= len(text.encode()) <= 2048


def test_a_robot_that_fails_keeps_no_mail_back(
    settings: Settings, wire: WeComStub, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OPERATOR_EMAILS, settings.OPERATOR_ROBOT = ["ops@example.com"], (wire.url, "4e5f6a7b")
    wire.sends.append(errcode(93000))

    watch.notify_operators("subject", "body")

    assert len(mail.outbox) == 1
    assert "the message to the operators' group could not be sent: wecom webhook_send 93000" in caplog.text
    assert "4e5f6a7b" not in caplog.text


def test_a_superuser_chooses_under_settings(wire: WeComStub) -> None:
    robot = Robot.objects.create(corp=make_corp(), name="运维群", key="0a1b2c3d")
    client = Client()
    client.force_login(make_superuser())
    assert client.get("/admin/notifications/operatorcontacts/").headers["Location"] == PAGE

    assert client.post(PAGE, {"emails": "ops@example.com\nnobody"}).status_code == 200
    assert OperatorContacts.objects.addresses() == []
    assert client.post(PAGE, {"emails": "ops@example.com", "robot": robot.pk}).status_code == 302

    assert OperatorContacts.objects.addresses() == ["ops@example.com"]
    assert OperatorContacts.objects.get().robot == robot
    entry = AuditEntry.objects.filter(model="notifications.operatorcontacts", action="changed").get()
    assert entry.changes == [["emails", "", "ops@example.com"], ["robot", None, "运维群"]]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


LASTED = CONFIRMED_AFTER.total_seconds()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Operators with an address, warned without a thread."""
    monkeypatch.setattr(watch, "_run_in_thread", lambda work: work())
    settings.LANGUAGE_CODE, settings.OPERATOR_EMAILS = "en", ["ops@example.com"]


def told() -> list[str]:
    return [str(sent.subject) for sent in mail.outbox]


@pytest.mark.usefixtures("at_once")
def test_of_all_processes_one_tells_that_it_is_away_and_one_that_it_is_back() -> None:
    clock = Clock()
    processes = [DatabaseWatch(clock), DatabaseWatch(clock)]

    def all_see(answers: bool, seconds: float) -> None:
        clock.now += seconds
        for process in processes:
            process.note_answer(answers=answers)

    for _ in range(2):
        all_see(False, 0)
        all_see(False, LASTED - 1)
        all_see(True, 1)  # what passes soon is not told
    all_see(False, 0)
    all_see(False, LASTED - 1)
    assert told() == []
    all_see(False, 1)
    all_see(False, 3600)
    assert told() == ["The database does not answer"]

    all_see(True, 5)
    all_see(True, LASTED - 1)
    assert len(told()) == 1
    all_see(True, 1)
    all_see(True, 3600)
    assert told() == ["The database does not answer", "The database answers again"]


@pytest.mark.usefixtures("at_once")
def test_where_no_way_went_through_another_process_tries_soon(settings: Settings) -> None:
    clock = Clock()
    process = DatabaseWatch(clock)
    process.note_answer(answers=False)
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 1

    clock.now += LASTED
    process.note_answer(answers=False)

    assert 0 < int(valkey().ttl("operations:database-away")) <= LASTED


@pytest.mark.usefixtures("at_once")
def test_without_valkey_nobody_is_told_and_nothing_breaks(settings: Settings) -> None:
    clock = Clock()
    process = DatabaseWatch(clock)
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"

    process.note_answer(answers=False)
    clock.now += 2 * LASTED
    process.note_answer(answers=False)
    process.note_answer(answers=True)
    clock.now += 2 * LASTED
    process.note_answer(answers=True)

    assert told() == []
