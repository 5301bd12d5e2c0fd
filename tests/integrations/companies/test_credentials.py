"""New credentials of a company that was enabled serve once WeCom has confirmed them, and not before."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
import responses
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction
from django.db.models.signals import pre_delete
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import AuditEntry, User
from accounts.users.roles import Role
from integrations.clients.errors import UNREADABLE_SECRET
from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.core.client_factory import token_store
from integrations.directory.sync import request_run
from integrations.jobs.registry import BROKEN
from integrations.models import CheckRun, Corp, Job, StagedCredentials, SyncRun
from tests.integrations.companies.diagnosis.wire import AGENT, API, Wire, refusal
from tests.integrations.companies.test_corp_admin import ADD, errors_of, page, post, text_of
from tests.integrations.conftest import client_of, staff
from tests.jobs import do_jobs

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(seconds=1)
NEW = "new-secret"
State = StagedCredentials.State


@pytest.fixture
def wire() -> Iterator[Wire]:
    with responses.RequestsMock() as mock, translation.override("en"):
        yield Wire(mock)


@pytest.fixture
def used(corp: Corp) -> Corp:
    """The company, enabled for the first time long ago."""
    Corp.objects.update(is_enabled=True, first_enabled_at=NOW)
    corp.refresh_from_db()
    return corp


def staged(corp: Corp, agentid: int = 1000002, *, at: dt.datetime = NOW) -> StagedCredentials:
    return services.stage_credentials(corp=corp, agentid=agentid, secret=NEW, by=User(username="root"), now=at)


def tried(waiting: StagedCredentials, *, at: dt.datetime = NOW) -> StagedCredentials:
    services.carry_out_credentials_check(staged_id=waiting.pk, clock=lambda: at)
    return StagedCredentials.objects.get()


def carry_out_elsewhere(waiting: StagedCredentials) -> Corp | None:
    """As in another process."""
    try:
        return services.carry_out_credentials_check(staged_id=waiting.pk, clock=lambda: NOW)
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
        wire.agent()

        with django_capture_on_commit_callbacks(execute=True):
            settled = tried(staged(used))

        assert in_force() == (1000002, NEW)
        assert (settled.state, settled.settled_at, settled.secret) == (State.IN_FORCE, NOW, "")
        assert Corp.objects.get().connection_version == 2
        assert token_store().get(used.corpid, used.agentid, lambda: FetchedToken("new", 7200)) == "new"

    def test_another_app_is_taken_with_its_agentid(self, used: Corp, wire: Wire) -> None:
        wire.token(secret=NEW)
        wire.get("agent/get", {**AGENT, "agentid": 1000009}, agentid=1000009)

        tried(staged(used, 1000009))

        assert in_force() == (1000009, NEW)

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [({**AGENT, "agentid": 1000009}, "other_app"), (refusal(301002), "other_app"), (refusal(40056), "other_app")],
    )
    def test_the_secret_of_another_app_is_refused(
        self, used: Corp, wire: Wire, answer: dict[str, object], problem: str
    ) -> None:
        wire.token(secret=NEW)
        wire.agent(answer)

        refused = tried(staged(used))

        assert in_force() == OLD
        assert (refused.state, refused.problem) == (State.REFUSED, problem)
        explained = services.explain_credentials(refused)
        assert explained is not None
        assert explained.what == "The Secret belongs to another app than the AgentId."

    def test_a_mistyped_secret_is_refused_in_wecom_s_words_and_not_tried_again(self, used: Corp, wire: Wire) -> None:
        wire.token(refusal(40001), secret=NEW)

        refused = tried(staged(used))

        assert in_force() == OLD
        assert (refused.state, refused.errcode) == (State.REFUSED, 40001)
        assert wire.paths() == ["gettoken"]

    def test_an_address_that_is_not_trusted_yet_is_waited_for_and_named(self, used: Corp, wire: Wire) -> None:
        wire.token(secret=NEW)
        wire.agent(refusal(60020))

        waiting = tried(staged(used))

        assert (waiting.state, waiting.caller_ip) == (State.WAITING, "203.0.113.9")

    def test_silence_is_tried_for_a_day(self, used: Corp, wire: Wire) -> None:
        for _time in range(2):
            wire.mock.get(f"{API}/gettoken", status=502)
        waiting = tried(staged(used))
        assert (waiting.state, waiting.problem) == (State.WAITING, "unreachable")

        refused = tried(waiting, at=NOW + services.TRIED_FOR)

        assert refused.state == State.REFUSED
        assert in_force() == OLD

    def test_an_app_that_became_another_company_meanwhile_is_refused_unasked(self, used: Corp, wire: Wire) -> None:
        waiting = staged(used, 1000009)
        Corp.objects.create(name="另一个", corpid=used.corpid, agentid=1000009, secret="x")

        assert tried(waiting).problem == "connected"

    @pytest.mark.parametrize("change", ["discarded", "replaced"])
    def test_what_was_discarded_or_replaced_while_wecom_was_asked_never_serves(
        self, used: Corp, wire: Wire, change: str
    ) -> None:
        waiting = staged(used)

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

        assert services.carry_out_credentials_check(staged_id=waiting.pk, clock=lambda: NOW) is None

        assert in_force() == OLD
        left = list(StagedCredentials.objects.values_list("state", flat=True))
        assert left == ([] if change == "discarded" else [State.WAITING])

    @pytest.mark.django_db(transaction=True)
    def test_what_comes_into_force_while_it_is_discarded_is_not_called_discarded(self, used: Corp, wire: Wire) -> None:
        """Django looks for the row and then deletes it by its key: it was deleted though it served by then."""
        waiting = staged(used)
        wire.token(secret=NEW)
        wire.agent()
        coming: list[Future[Corp | None]] = []

        def come_into_force(**_of_signal: object) -> None:
            if not coming:
                coming.append(other.submit(carry_out_elsewhere, waiting))
                wait(coming, timeout=0.5)  # where nothing holds the row it is in force by now

        with ThreadPoolExecutor(1) as other:
            pre_delete.connect(come_into_force, sender=StagedCredentials)
            try:
                is_discarded = services.discard_credentials(corp=used)
            finally:
                pre_delete.disconnect(come_into_force, sender=StagedCredentials)

        coming[0].result()
        assert is_discarded
        assert in_force() == OLD

    @pytest.mark.django_db(transaction=True)
    def test_nothing_deadlocks_where_the_page_of_the_company_discards_it(self, used: Corp, wire: Wire) -> None:
        """The page holds the company from its check to the end."""
        waiting = staged(used)
        wire.token(secret=NEW)
        wire.agent()

        with ThreadPoolExecutor(1) as other:
            with transaction.atomic():
                Corp.objects.select_for_update().get(pk=used.pk)
                coming = other.submit(carry_out_elsewhere, waiting)
                wait([coming], timeout=0.5)  # long enough to hold what it will need
                is_discarded = services.discard_credentials(corp=used)
            in_force_now = coming.result()

        assert (is_discarded, in_force_now) == (True, None)
        assert in_force() == OLD

    def test_a_saved_secret_that_no_key_opens_is_no_hindrance(self, used: Corp, wire: Wire) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE integrations_corp SET secret = 'gAAA'")
        wire.token(secret=NEW)
        wire.agent()

        tried(staged(used))

        assert in_force() == (1000002, NEW)

    def test_new_ones_that_no_key_opens_are_said_to_be_so(self, used: Corp, wire: Wire) -> None:
        waiting = staged(used)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE integrations_stagedcredentials SET secret = 'gAAA'")

        found = tried(waiting)

        assert (found.state, found.errcode) == (State.REFUSED, UNREADABLE_SECRET)
        assert in_force() == OLD


class TestInTheBackground:
    def test_the_connection_is_checked_with_what_came_into_force(self, used: Corp, wire: Wire) -> None:
        wire.token(secret=NEW)
        wire.agent()

        staged(used)
        do_jobs(services.CONFIRM)

        assert set(CheckRun.objects.values_list("connection_version", flat=True)) == {2}
        assert wire.paths() == ["gettoken", "agent/get"]
        assert Job.objects.get(kind=services.CONFIRM).status == "done"

    def test_what_may_pass_is_tried_again_a_minute_later_until_it_is_discarded(self, used: Corp, wire: Wire) -> None:
        wire.token(secret=NEW)
        wire.agent(refusal(60020))
        staged(used, at=timezone.now())
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
        text = text_of(post(admin_client, page(used), new_secret=NEW, name="新名"))

        assert in_force() == OLD
        assert Corp.objects.get().name == "新名"
        waiting = StagedCredentials.objects.get()
        assert (waiting.agentid, waiting.secret, waiting.staged_by) == (1000002, NEW, "root")
        assert Job.objects.get(kind=services.CONFIRM).kind == services.CONFIRM
        assert "being checked New AgentId 1000002 and Secret, handed in by root at" in text
        assert NEW not in text
        assert not AuditEntry.objects.filter(changes__icontains=NEW).exists()

    def test_a_new_agentid_needs_its_secret(self, admin_client: Client, used: Corp) -> None:
        refused = errors_of(post(admin_client, page(used), agentid="1000009"))
        assert refused == {"new_secret": ["Paste the Secret of the app with this AgentId, too."]}

        post(admin_client, page(used), agentid="1000009", new_secret=NEW)

        assert in_force() == OLD
        assert StagedCredentials.objects.get().agentid == 1000009

    def test_over_another_way_they_serve_at_once(self, admin_client: Client, used: Corp) -> None:
        post(admin_client, page(used), api_base_url="https://gate.example", new_secret=NEW)

        assert in_force() == (1000002, NEW)
        assert not StagedCredentials.objects.exists()

    def test_older_ones_that_still_wait_never_replace_what_serves_at_once(
        self, admin_client: Client, used: Corp
    ) -> None:
        older = staged(used)

        post(admin_client, page(used), api_base_url="https://gate.example", new_secret="newest-secret")

        assert services.carry_out_credentials_check(staged_id=older.pk, clock=lambda: NOW) is None
        assert in_force() == (1000002, "newest-secret")
        assert not StagedCredentials.objects.exists()

    def test_it_says_why_they_were_refused_and_offers_what_to_do(
        self, admin_client: Client, used: Corp, wire: Wire
    ) -> None:
        wire.token(secret=NEW)
        wire.agent(refusal(301002))
        tried(staged(used))

        text = text_of(admin_client.get(page(used)))
        assert "refused New AgentId 1000002 and Secret, handed in by root at" in text
        assert "The Secret belongs to another app than the AgentId." in text

        admin_client.post(page(used, "credentials_check"))
        assert StagedCredentials.objects.get().state == State.WAITING
        admin_client.post(page(used, "credentials_discard"))
        assert not StagedCredentials.objects.exists()
        assert "No new credentials wait any more." in text_of(
            admin_client.post(page(used, "credentials_check"), follow=True)
        )

    def test_a_check_that_broke_is_said(self, admin_client: Client, used: Corp) -> None:
        staged(used)
        Job.objects.update(status=Job.Status.FAILED, problem=BROKEN, finished_at=NOW)

        parts = admin_client.get(reverse("admin:integrations_corp_steps", args=[used.pk])).json()["parts"]

        assert "error in this program" in parts["staged-credentials"]

    def test_it_says_since_when_they_are_in_force(self, admin_client: Client, used: Corp, wire: Wire) -> None:
        wire.token(secret=NEW)
        wire.agent()
        tried(staged(used))

        parts = admin_client.get(reverse("admin:integrations_corp_steps", args=[used.pk])).json()["parts"]

        assert "are in force since" in parts["staged-credentials"]
        assert "Discard the new credentials" not in text_of(admin_client.get(page(used)))


class TestWhoIsNoSuperuser:
    """Whoever may change a company chooses its app until it is enabled, and its proxy never."""

    def test_chooses_no_other_app_for_a_company_that_was_enabled(self, administrator: User, used: Corp) -> None:
        manager = client_of(administrator)
        before = Corp.objects.values().get()
        content = manager.get(page(used)).content.decode()

        post(manager, page(used), agentid="1000009", new_secret=NEW)

        assert Corp.objects.values().get() == before
        assert not StagedCredentials.objects.exists()
        assert not {name for name in ("agentid", "new_secret") if f'name="{name}"' in content}
        assert "another app says who somebody is" in content

    def test_keeps_choosing_until_it_is_enabled(self, administrator: User, corp: Corp) -> None:
        post(client_of(administrator), page(corp), agentid="1000009", new_secret=NEW)

        assert in_force() == (1000009, NEW)

    @pytest.mark.parametrize(
        "changes", [{"new_proxy_url": "http://own.example:1", "new_secret": NEW}, {"remove_proxy": "on"}]
    )
    def test_sets_no_proxy(self, administrator: User, corp: Corp, changes: dict[str, str]) -> None:
        corp.proxy_url = "http://user:pr0xy-pass@proxy.example.com:3128"
        corp.save()
        manager = client_of(administrator)

        content = manager.get(page(corp)).content.decode()
        post(manager, page(corp), **changes)

        assert Corp.objects.get().proxy_url == "http://user:pr0xy-pass@proxy.example.com:3128"
        assert "proxy.example.com:3128" in content
        assert "pr0xy-pass" not in content
        assert 'name="new_proxy_url"' not in content

    def test_does_not_set_the_rights_after_a_sign_in(self, administrator: User, corp: Corp) -> None:
        manager = client_of(administrator)

        post(manager, page(corp), admin_rights_enabled="on")

        assert not Corp.objects.get().admin_rights_enabled
        assert 'name="admin_rights_enabled"' not in manager.get(page(corp)).content.decode()


NEW_CONTACTS_SECRET = "contacts-secret-0123456789"
ONLY_SUPERUSERS = (
    "Only a superuser may change this once the company has been enabled: it decides who is whom in the directory."
)


def in_role(role: Role) -> Client:
    """Somebody of all companies."""
    person = User.objects.create_user("somebody", is_staff=True, manages_all_corps=True)
    person.groups.add(Group.objects.get(name=role))
    return client_of(person)


@pytest.fixture
def saved(corp: Corp) -> Corp:
    corp.contacts_secret = NEW_CONTACTS_SECRET
    corp.save()
    return corp


@pytest.fixture
def enabled(corp: Corp) -> Corp:
    corp.is_enabled, corp.first_enabled_at = True, timezone.now()
    corp.save()
    return corp


def test_it_is_entered_with_a_new_company(admin_client: Client) -> None:
    post(admin_client, ADD, new_secret="the-secret", new_contacts_secret=f" {NEW_CONTACTS_SECRET}\u200b")

    assert Corp.objects.get().contacts_secret == NEW_CONTACTS_SECRET


def test_once_entered_the_directory_is_read_with_both_secrets(admin_client: Client, corp: Corp) -> None:
    assert "A Contacts sync Secret is saved." not in text_of(admin_client.get(page(corp)))

    response = post(admin_client, page(corp), new_contacts_secret=NEW_CONTACTS_SECRET)

    corp.refresh_from_db()
    assert (corp.contacts_secret, corp.secret, corp.connection_version) == (NEW_CONTACTS_SECRET, "the-secret", 2)
    assert "A Contacts sync Secret is saved." in text_of(response)
    assert LogEntry.objects.get().get_change_message() == "Changed Contacts sync Secret."
    run = request_run(corp=corp, trigger=SyncRun.Trigger.MANUAL, now=timezone.now())
    assert run.source == SyncRun.Source.BOTH


def test_it_is_kept_replaced_and_removed(admin_client: Client, saved: Corp) -> None:
    post(admin_client, page(saved), name="新名")
    assert Corp.objects.get().contacts_secret == NEW_CONTACTS_SECRET

    post(admin_client, page(saved), new_contacts_secret="another")
    assert Corp.objects.get().contacts_secret == "another"

    post(admin_client, page(saved), remove_contacts_secret="on")
    assert Corp.objects.get().contacts_secret == ""


def test_nothing_shows_it(admin_client: Client, saved: Corp) -> None:
    pages = [
        admin_client.get(page(saved)),
        post(admin_client, page(saved), name="", new_contacts_secret="typed-now"),
        post(admin_client, page(saved), new_contacts_secret="typed-now"),
        admin_client.get(page(saved, "history")),
    ]

    assert not any(re.search(f"{NEW_CONTACTS_SECRET}|typed-now", response.content.decode()) for response in pages)  # type: ignore[attr-defined]  # the client's own class
    told = f"{list(LogEntry.objects.values())} {list(AuditEntry.objects.values())}"
    assert not re.search(f"{NEW_CONTACTS_SECRET}|typed-now", told)


def test_the_saved_one_is_not_sent_another_way(admin_client: Client, saved: Corp) -> None:
    way = {"new_proxy_url": "http://elsewhere.example:1", "new_secret": "the-secret"}

    refused = post(admin_client, page(saved), **way)

    assert errors_of(refused) == {
        "new_contacts_secret": ["Paste this Secret again, or remove it: with this change it would be sent another way."]
    }
    assert Corp.objects.get().proxy_url == ""
    post(admin_client, page(saved), **way, new_contacts_secret=NEW_CONTACTS_SECRET)
    assert Corp.objects.get().proxy_url == "http://elsewhere.example:1"


# --- Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR])
def test_of_a_company_that_was_enabled_no_role_enters_it(enabled: Corp, role: Role) -> None:
    client = in_role(role)

    content = client.get(page(enabled))
    post(client, page(enabled), name="新名", new_contacts_secret=NEW_CONTACTS_SECRET)

    enabled.refresh_from_db()
    assert (enabled.name, enabled.contacts_secret) == ("新名", "")
    assert b'name="new_contacts_secret"' not in content.content
    assert ONLY_SUPERUSERS in text_of(content)
    assert re.search(r"Contacts sync Secret\W+not entered", text_of(content))


def test_nor_does_the_company_s_own_administrator_remove_it(enabled: Corp, saved: Corp) -> None:
    client = client_of(staff("one", saved, permissions=("view_corp", "change_corp")))

    text = text_of(client.get(page(saved)))
    post(client, page(saved), remove_contacts_secret="on", domain_id="guanbi")

    saved.refresh_from_db()
    assert (saved.domain_id, saved.contacts_secret) == ("guanbi", NEW_CONTACTS_SECRET)
    assert re.search(r"Contacts sync Secret\W+saved", text)


def test_a_superuser_enters_it(admin_client: Client, enabled: Corp) -> None:
    post(admin_client, page(enabled), new_contacts_secret=NEW_CONTACTS_SECRET)

    assert Corp.objects.get().contacts_secret == NEW_CONTACTS_SECRET


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMINISTRATOR, Role.INTEGRATION_ADMINISTRATOR])
def test_before_the_first_enabling_the_roles_enter_it(corp: Corp, role: Role) -> None:
    post(in_role(role), page(corp), new_contacts_secret=NEW_CONTACTS_SECRET)

    assert Corp.objects.get().contacts_secret == NEW_CONTACTS_SECRET


def test_who_may_only_look_sees_whether_one_is_saved(saved: Corp) -> None:
    client = in_role(Role.READ_ONLY)

    text = text_of(client.get(page(saved)))

    assert re.search(r"Contacts sync Secret\W+saved", text)
    assert "Only a superuser" not in text
