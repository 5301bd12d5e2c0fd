"""Pictures and files by address: a worker fetches them under the guard of web sources, never the call itself."""

import json
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from integrations import tasks
from integrations.jobs import requests
from integrations.jobs.registry import RunAgain
from integrations.models import Corp, Job
from integrations.models.jobs import LeaseLostError
from notifications.inbound import calls
from notifications.inbound.mapping import ChannelMapping
from notifications.models import InboundCall, InboundChannel, IncomingMessage, Medium, Run
from tests.between import just_before
from tests.http_server import serve_with_handler
from tests.jobs import take_job
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import make_manager, make_person, make_superuser
from tests.notifications.inbound.channels import call, make_channel
from tests.notifications.inbound.factories import png

pytestmark = pytest.mark.django_db
MAPPING = ChannelMapping(title="{{ payload.title }}", text="看图", key_path="id", file_paths=("url",))


class Pictures(BaseHTTPRequestHandler):
    """Serves a picture, a web page, or a file of so many megabytes, and keeps the paths that were asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        found = {"/a.png": (png(), "image/png"), "/document": (b"<html>", "text/html"), "/signed": (b"binary", "")}
        sized = (b"a" * (int(path[1:-4]) * 2**20), "text/csv") if path.endswith(".csv") else (b"", "")
        content, kind = found.get(path, sized)
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def site(asked: list[str]) -> Iterator[str]:
    with serve_with_handler(Pictures, asked=asked) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def channel(corp: Corp, settings: Any) -> InboundChannel:
    """A channel that may fetch from this machine."""
    settings.DATA_ALLOW_LOOPBACK = True
    return make_channel(make_manager(corp), make_person(corp, "Zhang"), mapping=MAPPING, allows_private_addresses=True)


def fetch_newest(clock: FakeClock) -> list[int]:
    clock.now = timezone.now()
    return fetch(Job.objects.get(), clock)


def fetch(job: Job, clock: FakeClock) -> list[int]:
    found = calls.fetch_files(take_job(job, clock))
    assert not isinstance(found, RunAgain)
    return found


def is_forgotten() -> bool:
    """Return whether what the only call said is deleted, and its key free."""
    job = Job.objects.get()
    return (job.key, job.secret_payload) == (None, "")


def read_reasons(channel: InboundChannel) -> list[str]:
    rows = InboundCall.objects.filter(channel=channel, outcome=InboundCall.Outcome.WITHOUT_FILE).order_by("pk")
    return [json.loads(row.reason)["msgid"] for row in rows]


def test_a_worker_fetches_the_picture_and_makes_the_message(
    channel: InboundChannel, site: str, asked: list[str], clock: FakeClock
) -> None:
    answer = call(channel, {"title": "告警", "url": f"{site}/a.png?token=secret"})

    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert asked == []
    run_ids = fetch_newest(clock)
    assert len(run_ids) == 1
    assert IncomingMessage.objects.get().form == "news"
    medium = Medium.objects.get()
    assert (medium.kind, medium.name) == ("picture", "a.png")
    assert asked == ["/a.png?token=secret"]
    assert is_forgotten()


def test_files_may_have_20_mb_each_and_60_mb_together(channel: InboundChannel, site: str, clock: FakeClock) -> None:
    sizes = (21, 20, 20, 18, 4, 2)
    call(channel, {"title": "告警", "url": [f"{site}/{size}.csv" for size in sizes]})

    assert len(fetch_newest(clock)) == 5  # the message itself, and each file
    assert [medium.name for medium in Medium.objects.order_by("pk")] == ["20.csv", "20.csv", "18.csv", "2.csv"]
    assert read_reasons(channel) == [
        "“%(name)s” is larger than 20 MB.",
        "“%(name)s” was not fetched: the files of a message may have 60 MB together.",
    ]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/document", "“%(name)s” was not fetched: %(reason)s"),
        ("/missing", "“%(name)s” was not fetched: %(reason)s"),
        ("/signed", "“%(name)s” is none of the types that are let through, or not what it is called."),
    ],
)
def test_what_cannot_be_fetched_is_left_out_and_noted_without_its_address(
    path: str, problem: str, channel: InboundChannel, site: str, clock: FakeClock
) -> None:
    call(channel, {"title": "告警", "url": f"{site}{path}?token=secret"})

    assert len(fetch_newest(clock)) == 1
    assert not Medium.objects.exists()
    assert read_reasons(channel) == [problem]
    reason = InboundCall.objects.get(outcome="without_file").reason
    assert "127.0.0.1" in reason
    assert not any(part in reason for part in ("secret", path.strip("/")))


def test_a_file_in_the_call_and_an_address_that_are_none_are_noted_too(
    channel: InboundChannel, site: str, clock: FakeClock
) -> None:
    call(channel, {"title": "告警", "url": [f"{site}/a.png", "!", "http://[x/a.png"]})

    assert len(fetch_newest(clock)) == 1
    assert read_reasons(channel) == [
        "“%(name)s” is neither base64 nor an address with http or https.",
        "“%(name)s” was not fetched: %(reason)s",
    ]


def test_each_call_leads_to_its_message_once_it_is_made(channel: InboundChannel, site: str, clock: FakeClock) -> None:
    for title in ("一", "二"):
        call(channel, {"title": title, "url": f"{site}/a.png"})
    clock.now = timezone.now()
    for job in Job.objects.order_by("-pk"):
        fetch(job, clock)

    rows = InboundCall.objects.filter(outcome=InboundCall.Outcome.ACCEPTED).order_by("pk")
    assert [(row.count, row.message and row.message.title) for row in rows] == [(1, "一"), (1, "二")]


def test_what_was_accepted_over_the_days_limit_waits_for_the_next(
    channel: InboundChannel, site: str, clock: FakeClock
) -> None:
    InboundChannel.objects.update(daily_limit=1)
    statuses = [call(channel, {"title": str(number), "url": f"{site}/a.png"}).status_code for number in range(2)]
    clock.now = timezone.now()
    first, second = Job.objects.order_by("pk")
    assert len(fetch(first, clock)) == 1
    again = calls.fetch_files(take_job(second, clock))
    assert isinstance(again, RunAgain)
    statuses.append(call(channel, {"title": "2", "url": f"{site}/a.png"}).status_code)

    assert statuses == [202, 202, 429]
    waiting = InboundCall.objects.get(outcome=InboundCall.Outcome.ACCEPTED, message=None)
    assert json.loads(waiting.reason)["msgid"].startswith("It waits for the next day")
    clock.now = again.at
    assert len(fetch(second, clock)) == 1
    waiting.refresh_from_db()
    assert (waiting.message, waiting.reason) == (IncomingMessage.objects.order_by("-pk")[0], "")


def use_up_limit(channel: InboundChannel, settings: Any) -> None:
    """Use up the daily limit for the whole lifetime of the message."""
    channel.users.add(make_person(channel.owner.managed_corps.get(), "Li"))
    InboundChannel.objects.update(daily_limit=1, lifetime_hours=1)
    Job.objects.update(requested_at=timezone.now() - timedelta(hours=25))


def clear_people(channel: InboundChannel, settings: Any) -> None:
    channel.users.clear()


def lose_keys(channel: InboundChannel, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.mark.parametrize("happen", [use_up_limit, clear_people, lose_keys])
def test_what_cannot_become_a_message_is_given_up_and_noted(
    happen: Any, channel: InboundChannel, site: str, clock: FakeClock, settings: Any
) -> None:
    call(channel, {"title": "告警", "url": f"{site}/a.png"})
    happen(channel, settings)

    assert fetch_newest(clock) == []

    assert is_forgotten()
    assert not IncomingMessage.objects.exists()
    [noted] = InboundCall.objects.filter(outcome=InboundCall.Outcome.REFUSED)
    if happen is lose_keys:
        assert json.loads(noted.reason)["msgid"] == "What was sent cannot be read with the present keys."


@pytest.mark.parametrize("is_superusers", [False, True])
def test_the_internal_network_is_out_of_reach(
    is_superusers: bool, channel: InboundChannel, site: str, asked: list[str], clock: FakeClock, settings: Any
) -> None:
    """Channels need their switch, and the settings must allow this machine."""
    settings.DATA_ALLOW_LOOPBACK = False
    InboundChannel.objects.update(allows_private_addresses=is_superusers)
    call(channel, {"title": "告警", "url": f"{site}/a.png"})

    assert len(fetch_newest(clock)) == 1
    assert asked == []
    assert len(read_reasons(channel)) == 1


def test_a_repeat_while_the_first_waits_is_one_message(channel: InboundChannel, site: str, clock: FakeClock) -> None:
    sent = {"id": "7", "title": "告警", "url": f"{site}/a.png"}
    without_file = {"id": "7", "title": "告警（更新）"}
    statuses = [call(channel, values).json()["status"] for values in (sent, sent, without_file)]
    fetch_newest(clock)
    statuses.append(call(channel, sent).json()["status"])

    assert statuses == ["accepted", "repeated", "repeated", "repeated"]
    assert IncomingMessage.objects.get().title == "告警"


def test_a_repeat_that_comes_at_the_same_time_waits_and_finds_the_first(
    channel: InboundChannel, site: str, clock: FakeClock
) -> None:
    sent = {"id": "7", "title": "告警", "url": f"{site}/a.png"}
    answers: list[str] = []

    with just_before("FOR NO KEY UPDATE", lambda: answers.append(call(channel, sent).json()["status"])):
        answers.append(call(channel, {**sent, "title": "后"}).json()["status"])
    Job.objects.update(status="running")
    answers.append(call(channel, sent).json()["status"])

    assert answers == ["accepted", "repeated", "repeated"]
    assert json.loads(Job.objects.get().secret_payload)["title"] == "告警"


def test_a_repeat_after_the_message_was_made_makes_no_second_one(
    channel: InboundChannel, site: str, clock: FakeClock
) -> None:
    sent = {"id": "7", "title": "告警", "url": f"{site}/a.png"}
    call(channel, sent)
    fetch_newest(clock)
    # The worker died before it ended its job.
    assert fetch_newest(clock) == []
    assert call(channel, sent).json() == {"status": "repeated", "id": IncomingMessage.objects.get().pk}


def test_what_waits_for_a_deleted_channel_makes_nothing(channel: InboundChannel, site: str, clock: FakeClock) -> None:
    call(channel, {"title": "告警", "url": f"{site}/a.png"})
    channel.delete()

    assert fetch_newest(clock) == []
    assert not IncomingMessage.objects.exists()


def test_a_call_whose_workers_died_goes_without_files_at_last(
    channel: InboundChannel, site: str, asked: list[str], clock: FakeClock
) -> None:
    call(channel, {"title": "告警", "url": f"{site}/a.png"})
    Job.objects.update(try_count=3)

    assert len(fetch_newest(clock)) == 1
    assert asked == []
    assert Run.objects.count() == 1
    assert read_reasons(channel) == ["“%(name)s” was not fetched: every worker that tried it stopped unexpectedly."]
    assert IncomingMessage.objects.get().text == "看图\n\n部分图片或文件未能发送。"


def test_an_error_of_our_own_costs_a_try_and_no_message(channel: InboundChannel, site: str) -> None:
    call(channel, {"title": "告警", "url": f"{site}/a.png"})
    job = Job.objects.get()

    def deadlock(execute: Any, sql: str, *rest: Any) -> object:
        if "notifications_incomingmessage" in sql and "INSERT" in sql:
            raise OperationalError("deadlock detected")
        return execute(sql, *rest)

    with connection.execute_wrapper(deadlock), transaction.atomic():
        tasks.run_job(job.pk)
    assert not IncomingMessage.objects.exists()
    Job.objects.update(due_at=timezone.now())
    tasks.run_job(job.pk)

    assert IncomingMessage.objects.count() == 1
    assert is_forgotten()


def test_a_call_whose_last_worker_died_is_noted_and_its_sender_may_repeat_it(
    channel: InboundChannel, site: str
) -> None:
    call(channel, {"title": "告警", "url": f"{site}/a.png"})
    dead = {"status": "running", "lease_token": "dead", "due_at": timezone.now()}
    Job.objects.update(try_count=calls.GIVEN_UP_AFTER, **dead)
    tasks.run_job(Job.objects.get().pk)

    assert Job.objects.get().key is None
    [noted] = InboundCall.objects.filter(outcome=InboundCall.Outcome.REFUSED)
    assert (
        json.loads(noted.reason)["msgid"]
        == "The message was not made: every worker that tried it stopped unexpectedly."
    )


def test_a_failed_job_that_an_administrator_repeats_makes_the_message_once(channel: InboundChannel, site: str) -> None:
    call(channel, {"id": "7", "title": "告警", "url": f"{site}/a.png"})
    dead = {"status": "running", "lease_token": "dead", "due_at": timezone.now()}
    Job.objects.update(try_count=calls.GIVEN_UP_AFTER, **dead)
    job = Job.objects.get()
    tasks.run_job(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"

    requests.retry_job(job, by=make_superuser(), now=timezone.now())
    tasks.run_job(job.pk)

    message = IncomingMessage.objects.get()
    assert Medium.objects.get().name == "a.png"
    assert is_forgotten()
    logged = InboundCall.objects.order_by("-pk").values_list("outcome", "message")
    assert list(logged[:2]) == [("accepted", message.pk), ("refused", None)]
    assert call(channel, {"id": "7", "title": "告警", "url": f"{site}/a.png"}).status_code == 202
    assert IncomingMessage.objects.count() == 1


def test_a_worker_that_comes_too_late_writes_nothing(channel: InboundChannel, site: str, clock: FakeClock) -> None:
    call(channel, {"title": "告警", "url": f"{site}/a.png"})
    clock.now = timezone.now()
    run = take_job(Job.objects.get(), clock)
    Job.objects.update(lease_token="another")

    with pytest.raises(LeaseLostError):
        calls.fetch_files(run)
    assert not IncomingMessage.objects.exists()
    assert not is_forgotten()
