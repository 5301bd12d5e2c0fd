"""Copies of the database: they do nothing until somebody confirms that this is the installation."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry, PeopleImport
from guanwecom.operations import health, watch
from guanwecom.version import VERSION
from integrations.core import installation
from integrations.models import Installation
from notifications.delivery.runs import scheduler
from notifications.inbound.mail.intake import Intake
from notifications.inbound.mail.server import ReceivedMail, RefusedError, SignIn
from notifications.models import Delivery, Medium, MessageForm, Run, Subscription
from notifications.tasks import make_medium as make_medium_task
from notifications.tasks import prepare_deliveries, render_runs, tick
from tests.notifications.charts.tables import DAYS
from tests.notifications.delivery.attachments import places
from tests.notifications.delivery.attachments.places import make_medium
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_subscription,
    make_superuser,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("running", "in_english")]
PAST = datetime(2026, 3, 1, 1, 0, tzinfo=UTC)


@pytest.fixture
def copy() -> Iterator[None]:
    installation.load_installation()
    Installation.objects.update(is_held=True)
    installation.clear_copy_cache()
    yield
    installation.clear_copy_cache()


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("installation", *arguments, stdout=out)
    return out.getvalue()


def test_a_database_without_a_row_is_the_installation_and_under_another_name_a_copy() -> None:
    assert not installation.is_copy()
    assert Installation.objects.get().version == VERSION
    assert command() == "This database is the real installation.\n"
    with override_settings(INSTALLATION_NAME="trial"):
        assert installation.is_copy()
        command("--confirm")
        assert not installation.is_copy()


@pytest.mark.parametrize("changes", [{"place": "7/8/9"}, {"deployment": "trial"}, {"is_held": True}])
def test_it_is_a_copy_elsewhere_under_another_name_and_where_somebody_said_so(changes: dict[str, object]) -> None:
    assert not installation.is_copy()

    Installation.objects.update(**changes)

    assert installation.is_copy()
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 3


def test_the_highest_version_that_ran_is_kept() -> None:
    Installation.objects.all().delete()  # the row of the present version
    for version, kept in (("0.9.0", "0.9.0"), ("0.10.0+gabc", "0.10.0+gabc"), ("0.9.1", "0.10.0+gabc")):
        with override_settings(VERSION=version):
            installation.is_copy()
        assert Installation.objects.get().version == kept


@pytest.mark.usefixtures("copy")
def test_no_task_does_anything_in_a_copy_and_the_mail_door_asks_senders_to_come_again() -> None:
    subscription = make_subscription(crontab="* * * * *")
    Subscription.objects.filter(pk=subscription.pk).update(next_run_at=PAST)

    tick.apply()
    render_runs.apply(([1],))
    mail = ReceivedMail("a@example.com", ("lilei@wecom.local",), b"Subject: x\r\n\r\nx")
    with pytest.raises(RefusedError, match="451 4.3.0 This is a copy"):
        Intake(enqueue=lambda _ids: None).accept_mail(SignIn(0, "", "192.0.2.1"), mail)

    assert Run.objects.count() == 0
    assert Subscription.objects.get().next_run_at == PAST


def test_a_process_of_a_copy_says_so_once_an_hour(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy_warning = installation.CopyWarning()
    for seconds in (0.0, 2.0, 3599.0, 3600.0, 3602.0):
        monkeypatch.setattr(installation, "read_boot_clock", lambda moment=seconds: moment)
        copy_warning.log("beat queues no task")

    said = "this database is a copy (manage.py installation): beat queues no task"
    assert [record.getMessage() for record in caplog.records] == [said, said]


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/wecom/1/start/", "text/html; charset=utf-8"),
        ("/wecom/1/callback/?code=c&state=s", "text/html; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
        ("/wecom/1/events/", "text/plain"),
        ("/api/v1/subscriptions", "application/problem+json"),
        ("/in/0123", "application/problem+json"),
    ],
)
def test_whoever_comes_from_wecom_or_another_system_is_refused(client: Client, path: str, content_type: str) -> None:
    for answer in (client.get(path), client.post(path)):
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, content_type)


@pytest.mark.usefixtures("copy")
def test_administrators_and_monitors_are_served_and_the_api_says_why(client: Client) -> None:
    for path in ("/login/", "/healthz", "/healthz/live", "/admin/login/"):
        assert client.get(path).status_code == 200
    assert client.get("/docs/en/backup.html").headers["Location"] == "/admin/login/?next=/docs/en/backup.html"
    assert json.loads(client.get("/api/v1/subscriptions").content)["code"] == "restored_copy"


@pytest.mark.usefixtures("copy")
def test_a_copy_is_the_only_problem_and_nobody_gets_mail_of_it() -> None:
    assert health.read_state().problems == ["copy"]

    watch.check_engine()

    assert Installation.objects.get().engine_problems == ""


@pytest.mark.usefixtures("copy")
def test_the_overview_says_so_and_a_superuser_confirms_after_a_password(client: Client) -> None:
    client.force_login(make_manager(make_corp()))
    assert 'action="/admin/installation/confirm/"' not in client.get("/admin/").content.decode()
    client.force_login(make_superuser())
    page = client.get("/admin/", headers={"accept-language": "en"}).content.decode()
    assert "This is a copy of the installation: nothing is sent from here." in page
    assert 'action="/admin/installation/confirm/"' in page

    with override_settings(CONFIRMATION_MINUTES=0):
        answer = client.post("/admin/installation/confirm/", headers={"accept-language": "en"})
    assert "Is it you?" in answer.content.decode()
    assert installation.is_copy()

    answer = client.post("/admin/installation/confirm/", follow=True, headers={"accept-language": "en"})

    assert "This is the real installation now." in answer.content.decode()
    assert not installation.is_copy()
    assert AuditEntry.objects.get(action=AuditEntry.Action.DONE).actor_name
    assert 'action="/admin/installation/confirm/"' not in client.get("/admin/").content.decode()


def test_what_waited_is_ended_and_not_sent_late() -> None:
    corp = make_corp()
    for userid in ("pending", "sending", "unrendered"):
        make_subscription(make_person(corp, userid), name=userid)
    runs = dict(zip(("pending", "sending", "unrendered"), scheduler.claim_due_subscriptions(now=NOW), strict=True))
    render_runs([runs["pending"], runs["sending"]])
    Delivery.objects.filter(run=runs["sending"]).update(status=Delivery.Status.SENDING)
    due = make_subscription(make_person(corp, "due"), crontab="* * * * *", now=NOW)
    assert command("--hold") == "It is a copy now: nothing is sent.\n"
    assert command("--hold") == "It was a copy already.\n"
    before = datetime.now(UTC)

    assert command("--confirm") == "This is the real installation now. 3 runs that had waited were ended.\n"

    later = Subscription.objects.get(pk=due.pk).next_run_at
    assert later is not None
    assert later > before
    states = dict(Delivery.objects.values_list("run", "status"))
    assert states == {runs["pending"]: Delivery.Status.CANCELED, runs["sending"]: Delivery.Status.UNKNOWN}
    assert not Run.objects.unnotified().exists()
    tick()
    assert Run.objects.count() == 3
    assert not Delivery.objects.unsettled().exists()
    assert command("--confirm") == "It was the real installation already. Nothing was changed.\n"


@pytest.mark.usefixtures("copy")
def test_imports_that_were_under_way_are_stopped() -> None:
    statuses = ("waiting", "confirmed", "asking", "done")
    runs = [PeopleImport.objects.create(file_name="people.csv", status=status) for status in statuses]

    command("--confirm")

    found = dict(PeopleImport.objects.values_list("pk", "status"))
    assert [found[run.pk] for run in runs] == ["stopped", "stopped", "asking", "done"]
    stopped = PeopleImport.objects.filter(status="stopped", finished_at__isnull=False)
    assert set(stopped.values_list("reason", flat=True)) == {"restored"}


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_cache", installation._CachedAnswer())
    monkeypatch.setattr(installation, "COPY_CACHE_SECONDS", 3600)
    installation.load_installation()


def is_file_made() -> bool:
    recipe = places.make_file_recipe(MessageForm.CSV, DAYS)
    medium = make_medium(places.make_run(), kind=Medium.Kind.CSV, recipe=recipe)
    make_medium_task.apply(([medium.pk],))
    return Medium.objects.get(pk=medium.pk).status == Medium.Status.READY


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize(
    ("run", "times"), [(is_file_made, 1), (lambda: prepare_deliveries.apply(([],)), 2)], ids=["draws", "could send"]
)
def test_a_task_that_could_send_asks_each_time_and_one_that_draws_once_in_a_while(
    run: Callable[[], object], times: int
) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert run()
        assert run()

    assert sum('FROM "integrations_installation"' in query["sql"] for query in asked) == times
    command("--hold")
    installation.clear_copy_cache()
    assert not is_file_made()
