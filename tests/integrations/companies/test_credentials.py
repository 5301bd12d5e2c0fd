"""New credentials of a company that was enabled before: used once WeCom has confirmed them."""

import datetime as dt
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
from django.db import connection, connections, transaction
from django.db.models.signals import pre_save
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import AuditEntry, User
from integrations.clients.errors import UNREADABLE_SECRET
from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.core.client_factory import token_store
from integrations.jobs.registry import BROKEN
from integrations.models import CheckRun, Corp, CredentialsState, Job
from tests.integrations.companies.diagnosis.wire import AGENT, API, Wire, refusal
from tests.integrations.companies.test_corp_admin import page, post
from tests.integrations.conftest import client_of
from tests.integrations.pages import disabled_fields, errors_of, text_of
from tests.jobs import do_jobs, return_job, take_job

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(seconds=1)
NEW = "new-secret"
State = CredentialsState


@pytest.fixture
def used(corp: Corp) -> Corp:
    """The company, first enabled long ago."""
    Corp.objects.update(is_enabled=True, first_enabled_at=NOW)
    corp.refresh_from_db()
    return corp


def stage(corp: Corp, agentid: int = 1000002, *, at: dt.datetime = NOW) -> None:
    services.stage_credentials(corp=corp, agentid=agentid, secret=NEW, by=User(username="root"), now=at)


def confirm(at: dt.datetime = NOW) -> None:
    job = take_job(Job.objects.filter(kind=services.CONFIRM).latest("pk"), lambda: at)
    services.confirm_credentials(job)
    return_job(job, is_over=True)


def try_once(corp: Corp, *, at: dt.datetime = NOW) -> Corp:
    confirm(at)
    return Corp.objects.get(pk=corp.pk)


def confirm_elsewhere() -> None:
    """Confirm as in another process."""
    try:
        confirm()
    finally:
        connections.close_all()


def in_force() -> tuple[int, str]:
    corp = Corp.objects.get(corpid="ww0123456789abcdef")
    return corp.agentid, corp.secret


OLD = (1000002, "the-secret")


class TestAskingWeCom:
    def test_what_it_confirms_serves_and_drops_the_old_token(
        self, used: Corp, wire: Wire, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        assert token_store().get(used.corpid, used.agentid, lambda: FetchedToken("old", 7200)) == "old"
        wire.token(secret=NEW)
        wire.get("agent/get", {**AGENT, "agentid": 1000009}, agentid=1000009)

        with django_capture_on_commit_callbacks(execute=True):
            stage(used, 1000009)
            settled = try_once(used)

        assert in_force() == (1000009, NEW)
        assert (settled.staged_state, settled.in_force_since, settled.staged_secret) == (State.IN_FORCE, NOW, "")
        assert Corp.objects.get().connection_version == 2
        assert set(CheckRun.objects.values_list("connection_version", flat=True)) == {2}
        assert token_store().get(used.corpid, used.agentid, lambda: FetchedToken("new", 7200)) == "new"

    @pytest.mark.parametrize(
        ("token", "agent", "found"),
        [
            (None, {**AGENT, "agentid": 1000009}, (State.REFUSED, "other_app", None)),
            (None, refusal(301002), (State.REFUSED, "other_app", 301002)),
            (None, refusal(40056), (State.REFUSED, "other_app", 40056)),
            (refusal(40001), None, (State.REFUSED, "refused", 40001)),
            (None, refusal(60020), (State.WAITING, "refused", 60020)),
        ],
    )
    def test_what_it_refuses_does_not_serve_and_waits_where_that_may_pass(
        self, used: Corp, wire: Wire, token: object, agent: object, found: tuple[str, str, int | None]
    ) -> None:
        wire.token(token, secret=NEW)
        if agent is not None:
            wire.agent(agent)

        stage(used)
        refused = try_once(used)

        assert in_force() == OLD
        answer = refused.staged_finding
        assert (refused.staged_state, answer["problem"], answer["errcode"]) == found
        assert (answer["caller_ip"] == "203.0.113.9") == (found[2] is not None)

    def test_silence_is_tried_for_a_day(self, used: Corp, wire: Wire) -> None:
        for _time in range(2):
            wire.mock.get(f"{API}/gettoken", status=502)
        stage(used)
        waiting = try_once(used)
        assert (waiting.staged_state, waiting.staged_finding["problem"]) == (State.WAITING, "unreachable")

        refused = try_once(used, at=NOW + services.TRIED_FOR)

        assert refused.staged_state == State.REFUSED
        assert in_force() == OLD

    def test_an_app_that_became_another_company_meanwhile_is_refused_unasked(self, used: Corp, wire: Wire) -> None:
        stage(used, 1000009)
        Corp.objects.create(name="另一个", corpid=used.corpid, agentid=1000009, secret="x")

        assert try_once(used).staged_finding["problem"] == "connected"

    @pytest.mark.parametrize("change", ["discarded", "replaced"])
    def test_what_was_discarded_or_replaced_while_wecom_was_asked_never_serves(
        self, used: Corp, wire: Wire, change: str
    ) -> None:
        stage(used)

        def answer(_request: object) -> tuple[int, dict[str, str], str]:
            if change == "discarded":
                services.discard_credentials(corp=used)
            else:
                services.stage_credentials(
                    corp=used, agentid=1000002, secret="newer", by=User(username="root"), now=LATER
                )
            return 200, {}, '{"errcode": 0, "errmsg": "ok", "access_token": "sim-token", "expires_in": 7200}'

        wire.mock.add_callback("GET", f"{API}/gettoken", callback=answer)
        wire.agent()

        confirm()

        assert in_force() == OLD
        assert Corp.objects.get().staged_state == ("" if change == "discarded" else State.WAITING)

    @pytest.mark.django_db(transaction=True)
    def test_what_comes_into_force_while_it_is_discarded_is_not_called_discarded(self, used: Corp, wire: Wire) -> None:
        stage(used)
        wire.token(secret=NEW)
        wire.agent()
        coming: list[Future[None]] = []

        def come_into_force(**_of_signal: object) -> None:
            if not coming:
                coming.append(other.submit(confirm_elsewhere))
                wait(coming, timeout=0.5)  # if nothing holds the row, it is in use by now

        with ThreadPoolExecutor(1) as other:
            pre_save.connect(come_into_force, sender=Corp)
            try:
                is_discarded = services.discard_credentials(corp=used)
            finally:
                pre_save.disconnect(come_into_force, sender=Corp)

        coming[0].result()
        assert is_discarded
        assert in_force() == OLD

    @pytest.mark.django_db(transaction=True)
    def test_nothing_deadlocks_where_the_page_of_the_company_discards_it(self, used: Corp, wire: Wire) -> None:
        """Lock as the page does: it holds the company from its check to the end."""
        stage(used)
        wire.token(secret=NEW)
        wire.agent()

        with ThreadPoolExecutor(1) as other:
            with transaction.atomic():
                Corp.objects.select_for_update().get(pk=used.pk)
                coming = other.submit(confirm_elsewhere)
                wait([coming], timeout=0.5)  # long enough to take its locks
                is_discarded = services.discard_credentials(corp=used)
            coming.result()

        assert is_discarded
        assert in_force() == OLD

    def test_a_saved_secret_that_no_key_opens_is_no_hindrance(self, used: Corp, wire: Wire) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE integrations_corp SET secret = 'gAAA'")
        wire.token(secret=NEW)
        wire.agent()

        stage(used)
        try_once(used)

        assert in_force() == (1000002, NEW)

    def test_new_ones_that_no_key_opens_are_said_to_be_so(self, used: Corp, wire: Wire) -> None:
        stage(used)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE integrations_corp SET staged_secret = 'gAAA'")

        found = try_once(used)

        assert (found.staged_state, found.staged_finding["errcode"]) == (State.REFUSED, UNREADABLE_SECRET)
        assert in_force() == OLD


class TestInTheBackground:
    def test_what_may_pass_is_tried_again_a_minute_later_until_it_is_discarded(self, used: Corp, wire: Wire) -> None:
        wire.token(secret=NEW)
        wire.agent(refusal(60020))
        stage(used, at=timezone.now())
        do_jobs(services.CONFIRM)

        job = Job.objects.get(kind=services.CONFIRM)
        assert (job.status, job.try_count) == ("waiting", 0)
        assert job.due_at - timezone.now() > dt.timedelta(seconds=30)
        services.discard_credentials(corp=used)
        Job.objects.update(due_at=timezone.now())
        do_jobs(services.CONFIRM)
        assert Job.objects.get(kind=services.CONFIRM).status == "done"
        assert len(wire.paths()) == 2


class TestThePage:
    def test_a_new_secret_waits_and_the_old_one_serves(self, admin_client: Client, used: Corp) -> None:
        refused = errors_of(post(admin_client, page(used), agentid="1000009"))
        assert refused == {"new_secret": ["Paste the Secret of the app with this AgentId, too."]}

        text = text_of(post(admin_client, page(used), agentid="1000009", new_secret=NEW, name="新名"))

        assert in_force() == OLD
        assert Corp.objects.get().name == "新名"
        waiting = Corp.objects.get()
        assert (waiting.staged_agentid, waiting.staged_secret, waiting.staged_by) == (1000009, NEW, "root")
        assert Job.objects.get(kind=services.CONFIRM).kind == services.CONFIRM
        assert "in progress New AgentId 1000009 and Secret, handed in by root at" in text
        assert NEW not in text
        assert not AuditEntry.objects.filter(changes__icontains=NEW).exists()
        assert AuditEntry.objects.filter(changes__contains=[["staged_agentid", None, 1000009]]).exists()

    def test_over_another_way_they_serve_at_once_and_older_ones_that_still_wait_never(
        self, admin_client: Client, used: Corp
    ) -> None:
        stage(used)

        post(admin_client, page(used), api_base_url="https://gate.example", new_secret="newest-secret")

        confirm()
        assert in_force() == (1000002, "newest-secret")
        assert Corp.objects.get().staged_state == ""

    def test_it_says_why_they_were_refused_and_offers_what_to_do(
        self, admin_client: Client, used: Corp, wire: Wire
    ) -> None:
        wire.token(secret=NEW)
        wire.agent(refusal(301002))
        stage(used)
        try_once(used)

        text = text_of(admin_client.get(page(used)))
        assert "refused New AgentId 1000002 and Secret, handed in by root at" in text
        assert "The Secret belongs to another app than the AgentId." in text

        admin_client.post(page(used, "credentials_check"))
        assert Corp.objects.get().staged_state == State.WAITING
        admin_client.post(page(used, "credentials_discard"))
        discarded = Corp.objects.get()
        assert (discarded.staged_state, discarded.staged_agentid, discarded.staged_secret) == ("", None, "")
        assert "No new credentials are waiting any more." in text_of(
            admin_client.post(page(used, "credentials_check"), follow=True)
        )

    def test_a_check_that_broke_is_said_and_since_when_they_are_in_force(
        self, admin_client: Client, used: Corp, wire: Wire
    ) -> None:
        def told() -> str:
            steps = admin_client.get(reverse("admin:integrations_corp_steps", args=[used.pk])).json()
            return str(steps["parts"]["staged-credentials"])

        stage(used)
        Job.objects.update(status=Job.Status.FAILED, problem=BROKEN, finished_at=NOW)
        assert "error in this program" in told()
        wire.token(secret=NEW)
        wire.agent()
        confirm()

        assert "have been in use since" in told()
        assert "Discard the new credentials" not in text_of(admin_client.get(page(used)))


class TestWhoIsNoSuperuser:
    """People who may change a company but not its proxy, not even before it is enabled."""

    @pytest.mark.parametrize(
        "changes", [{"new_proxy_url": "http://own.example:1", "new_secret": NEW}, {"remove_proxy": "on"}]
    )
    def test_sets_no_proxy(self, administrator: User, corp: Corp, changes: dict[str, str]) -> None:
        corp.proxy_url = "http://user:pr0xy-pass@proxy.example.com:3128"
        corp.save()
        manager = client_of(administrator)

        opened = manager.get(page(corp))
        post(manager, page(corp), **changes)

        assert Corp.objects.get().proxy_url == "http://user:pr0xy-pass@proxy.example.com:3128"
        assert "proxy.example.com:3128" in opened.content.decode()
        assert "pr0xy-pass" not in opened.content.decode()
        assert {"new_proxy_url", "remove_proxy"} <= disabled_fields(opened)
