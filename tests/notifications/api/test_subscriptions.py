"""Running a subscription over the API: the run that is made, refusals, and idempotency."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, User
from integrations.core.background import database_now
from integrations.models import Corp
from notifications import tasks
from notifications.delivery.runs.triggers import find_old_requests
from notifications.models import ApiToken, Run, Subscription
from tests.audit import clear_trail
from tests.notifications.api.conftest import make_editor, make_token
from tests.notifications.api.test_security import LIST, assert_problem, run_path
from tests.notifications.factories import make_person, make_report, make_run, make_subscription

pytestmark = pytest.mark.django_db
JSON = "application/json"


def run_once(client: Client, subscription: Subscription, key: str = "", body: Any = None, **more: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    content: dict[str, Any] = {} if body is None else {"data": json.dumps(body), "content_type": JSON}
    return client.post(run_path(subscription), headers=headers, **content, **more)


def end_runs() -> None:
    Run.objects.update(status=Run.Status.FINISHED)


class TestRunning:
    def test_makes_a_run_that_says_by_which_token(
        self,
        editor: User,
        corp: Corp,
        subscription: Subscription,
        enqueued: list[int],
        django_capture_on_commit_callbacks: Callable[..., Any],
    ) -> None:
        token, client = make_token(editor)
        client.handler.enforce_csrf_checks = True  # no CSRF token is asked for
        clear_trail()

        with django_capture_on_commit_callbacks(execute=True):
            answer = run_once(client, subscription, REMOTE_ADDR="192.0.2.5")

        run = Run.objects.get()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/api/v1/runs/{run.pk}"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json() == {
            "id": run.pk,
            "subscription_id": subscription.pk,
            "trigger": "url",
            "state": "waiting",
            "due_at": answer.json()["due_at"],
            "claimed_at": answer.json()["claimed_at"],
            "rendered_at": None,
            "finished_at": None,
            "error": "",
            "counts": {"recipients": 0, "skipped": 0, "accepted": 0, "refused": 0, "unknown": 0, "waiting": 0},
        }
        assert (run.trigger, run.status, run.requested_by, run.api_token) == ("url", "waiting", editor, token)
        assert (run.corp, run.key.startswith(f"api:{subscription.pk}:")) == (corp, True)
        assert enqueued == [run.pk]
        entry = AuditEntry.objects.get()
        assert (entry.action, entry.actor_id, entry.ip, entry.corp_id) == ("done", editor.pk, "192.0.2.5", corp.pk)
        assert (entry.model, entry.object_id) == ("notifications.subscription", subscription.pk)
        assert run.key in entry.note
        assert token.prefix in entry.note
        ApiToken.objects.filter(pk=token.pk).delete()
        assert Run.objects.get().api_token is None

    @pytest.mark.usefixtures("late_web")
    def test_a_run_has_the_database_s_time(self, client: Client, subscription: Subscription) -> None:
        answer = run_once(client, subscription, "key")

        run, age = Run.objects.get(), timedelta(minutes=5)
        assert answer.status_code == 202
        assert (database_now() - run.slot_at < age, database_now() - run.claimed_at < age) == (True, True)

    @pytest.mark.parametrize("body", ['{"trigger": "data_update"}', '{"trigger": "url"}', "{}", "null"])
    def test_the_body_names_the_trigger_or_is_empty(
        self, body: str, client: Client, subscription: Subscription
    ) -> None:
        """Paused subscriptions are run too, and their messages wait. A trial does not block the run."""
        Subscription.objects.update(is_paused=True)
        make_run(subscription, trigger="trial")
        trigger = "data_update" if "data" in body else "url"

        answer = client.post(run_path(subscription), data=body, content_type=JSON)

        assert (answer.status_code, answer.json()["trigger"]) == (202, trigger)


class TestRefusals:
    def test_a_disabled_one_runs_by_hand_only(self, client: Client, subscription: Subscription) -> None:
        Subscription.objects.update(is_enabled=False)

        answer = client.post(run_path(subscription), headers={"accept-language": "en", "Idempotency-Key": "night-7"})

        assert_problem(answer, 409, "subscription_disabled")
        assert answer.json()["detail"] == ("The push is disabled: it runs by hand only, in the administration.")
        assert not Run.objects.exists()
        # A refusal does not use the key up.
        Subscription.objects.update(is_enabled=True)
        assert run_once(client, subscription, "night-7").status_code == 202

    @pytest.mark.parametrize(("name", "hours"), [("valid_from", 1), ("valid_to", -1)])
    def test_one_runs_within_its_validity_only(
        self, name: str, hours: int, client: Client, subscription: Subscription
    ) -> None:
        Subscription.objects.update(**{name: timezone.now() + timedelta(hours=hours)})

        assert_problem(run_once(client, subscription), 409, "outside_validity")
        assert not Run.objects.exists()

    @pytest.mark.parametrize("status", ["waiting", "sending"])
    def test_of_one_subscription_one_runs_at_a_time(
        self, status: str, client: Client, corp: Corp, subscription: Subscription
    ) -> None:
        first = run_once(client, subscription)
        Run.objects.update(status=status)

        second = run_once(client, subscription)

        assert first.status_code == 202
        assert_problem(second, 409, "run_under_way")
        assert Run.objects.count() == 1
        other = make_subscription(make_person(corp, "li"), report=make_report(corp=corp))
        assert run_once(client, other).status_code == 202
        end_runs()
        assert run_once(client, subscription).status_code == 202

    @pytest.mark.parametrize(
        ("status", "code", "kind", "body"),
        [
            *((422, "invalid_request", JSON, body) for body in (b'{"trigger": "manual"}', b'{"more": 1}', b"[]")),
            *((400, "malformed_request", JSON, body) for body in (b'{"trigger": Infinity}', b"1" * 5000)),
            (413, "body_too_large", JSON, b" " * (256 * 1024 + 1)),
            *((415, "unsupported_media_type", kind, b"{}") for kind in ("application/x-www-form-urlencoded", "")),
        ],
    )
    def test_a_body_that_cannot_be_read(
        self, status: int, code: str, kind: str, body: bytes, client: Client, subscription: Subscription
    ) -> None:
        answer = client.post(run_path(subscription), data=body, content_type=kind)

        assert_problem(answer, status, code)
        assert bool(answer.json().get("errors")) is (status == 422)
        assert not Run.objects.exists()

    def test_an_id_that_no_row_has(self, client: Client) -> None:
        for key in ("0", str(2**63), "9" * 40):
            assert client.post(f"{LIST}/{key}/run").status_code in {404, 422}
            assert client.get(f"/api/v1/runs/{key}").status_code in {404, 422}


class TestIdempotency:
    def test_the_same_key_gives_the_same_answer_and_no_second_run(
        self, client: Client, subscription: Subscription
    ) -> None:
        first = run_once(client, subscription, "night-7", {"trigger": "data_update"})
        Run.objects.update(status=Run.Status.FINISHED, recipient_count=5)

        again = client.post(
            run_path(subscription),
            data='{ "trigger":"data_update" }',
            content_type=JSON,
            headers={"Idempotency-Key": "night-7"},
        )

        assert (first.status_code, again.status_code) == (202, 202)
        assert again.content == first.content
        assert again.headers["Location"] == first.headers["Location"]
        assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
        assert Run.objects.count() == 1

    def test_a_key_for_another_request_is_refused(self, client: Client, corp: Corp, subscription: Subscription) -> None:
        other = make_subscription(make_person(corp, "li"), report=make_report(corp=corp))
        run_once(client, subscription, "night-7")
        end_runs()
        elsewhere = make_token(make_editor(corp))[1]  # each token has its own keys

        assert "Idempotency-Replayed" not in run_once(elsewhere, other, "night-7").headers
        assert_problem(run_once(client, other, "night-7"), 422, "idempotency_key_reused")
        assert_problem(
            run_once(client, subscription, "night-7", {"trigger": "data_update"}), 422, "idempotency_key_reused"
        )
        assert Run.objects.count() == 2

    def test_a_key_is_free_again_after_24_hours(self, client: Client, subscription: Subscription) -> None:
        run_once(client, subscription, "night-7")
        end_runs()
        # The answer does not depend on the subscription's state now.
        Subscription.objects.update(is_enabled=False)
        Run.objects.update(claimed_at=timezone.now() - timedelta(hours=23, minutes=59))
        assert run_once(client, subscription, "night-7").headers["Idempotency-Replayed"] == "true"
        Subscription.objects.update(is_enabled=True)
        Run.objects.update(claimed_at=timezone.now() - timedelta(hours=24))

        answer = run_once(client, subscription, "night-7", {"trigger": "data_update"})

        assert answer.status_code == 202
        assert list(Run.objects.order_by("pk").values_list("request_key", flat=True)) == ["", "night-7"]

    @pytest.mark.parametrize("key", ["", "a b", "x" * 201, "schlüssel"])
    def test_a_key_that_cannot_be_one(self, key: str, client: Client, subscription: Subscription) -> None:
        answer = client.post(run_path(subscription), headers={"Idempotency-Key": key})

        assert_problem(answer, 422, "invalid_request")
        assert not Run.objects.exists()


class TestList:
    def test_shows_what_a_caller_needs(self, client: Client, subscription: Subscription) -> None:
        answer = client.get(LIST)

        assert answer.status_code == 200
        assert answer.json() == {
            "items": [
                {
                    "id": subscription.pk,
                    "name": "每日九点",
                    "report": "日报",
                    "channel": "wecom",
                    "is_enabled": True,
                    "is_paused": False,
                    "time_zone": "Asia/Shanghai",
                    "next_run_at": answer.json()["items"][0]["next_run_at"],
                }
            ],
            "next_after": None,
        }

    def test_pages_cost_the_same_and_lose_nothing(
        self, client: Client, corp: Corp, django_assert_num_queries: Any
    ) -> None:
        report = make_report(corp=corp)
        made = [make_subscription(report=report).pk for _number in range(5)]
        client.get(LIST)
        seen: list[int] = []
        after: int | None = 0

        with django_assert_num_queries(3 * QUERIES_A_PAGE):
            while after is not None:
                page = client.get(LIST, {"after": after, "limit": 2}).json()
                seen += [item["id"] for item in page["items"]]
                after = page["next_after"]

        assert seen == made


# Token with owner, last use, the owner's rights (two), and the page.
QUERIES_A_PAGE = 5


def test_old_requests_are_forgotten(editor: User) -> None:
    token = make_token(editor)[0]
    now = timezone.now()
    for number, hours in enumerate((23, 24, 30)):
        requested: dict[str, Any] = {"api_token": token, "request_key": f"k{number}", "request_answer": "{}"}
        make_run(make_subscription(), claimed_at=now - timedelta(hours=hours), **requested)

    assert find_old_requests(now).count() == 2
    tasks._purge(now)
    assert Run.objects.exclude(request_answer="").get().request_key == "k0"
    assert not find_old_requests(now).exists()
