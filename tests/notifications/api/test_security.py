"""Access to the API: only tokens, while token and owner are entitled, and not too often."""

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone

from accounts.models import User
from integrations.core.redis import LIMIT_SECONDS
from integrations.models import Corp
from notifications.models import ApiToken, Run, Subscription
from tests.notifications.api.conftest import HOST, Caller, client_with, make_token
from tests.notifications.factories import make_corp, make_report, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
LIST = "/api/v1/subscriptions"


def run_path(subscription: Subscription) -> str:
    return f"{LIST}/{subscription.pk}/run"


def assert_problem(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (status, code, status)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json()) - {"errors"} == {"type", "title", "status", "code", "detail"}


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer  ", "Basic Z3djOng=", "gwc_secret"])
def test_without_a_token_nothing_is_answered(authorization: str | None, subscription: Subscription) -> None:
    client = Caller(headers=HOST if authorization is None else {**HOST, "authorization": authorization})

    answer = client.post(run_path(subscription))

    assert_problem(answer, 401, "missing_token")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not Run.objects.exists()


@pytest.mark.parametrize("secret", ["gwc_" + "x" * 43, "x", "\u00e9" * 30, "a b", "'; --", "0" * 7000])
def test_an_unknown_token_is_refused(secret: str, subscription: Subscription) -> None:
    answer = client_with(secret).post(run_path(subscription))

    assert_problem(answer, 401, "invalid_token")
    assert not Run.objects.exists()


@pytest.mark.parametrize("change", ["revoked_at", "expires_at", "is_active", "is_staff"])
def test_a_token_that_has_ended_is_like_an_unknown_one(change: str, editor: User, subscription: Subscription) -> None:
    client = make_token(editor)[1]
    unknown = client_with("gwc_nobody").post(run_path(subscription))
    if change.startswith("is_"):
        User.objects.filter(pk=editor.pk).update(**{change: False})
    else:
        ApiToken.objects.update(**{change: timezone.now() - timedelta(seconds=1)})

    answer = client.post(run_path(subscription))

    assert_problem(answer, 401, "invalid_token")
    assert answer.content == unknown.content
    assert not Run.objects.exists()


def test_a_token_without_the_action_is_refused_before_anything_is_looked_up(
    editor: User, subscription: Subscription
) -> None:
    reads, runs = make_token(editor, may_run=False)[1], make_token(editor, may_read=False)[1]

    assert_problem(reads.post(run_path(subscription)), 403, "action_not_allowed")
    assert_problem(reads.post(f"{LIST}/999999/run"), 403, "action_not_allowed")
    assert_problem(runs.get(LIST), 403, "action_not_allowed")
    assert_problem(runs.get("/api/v1/runs/999999"), 403, "action_not_allowed")
    assert not Run.objects.exists()


def test_a_token_loses_what_its_owner_loses(editor: User, client: Client, subscription: Subscription) -> None:
    editor.managed_corps.clear()
    assert_problem(client.post(run_path(subscription)), 404, "not_found")
    editor.groups.clear()

    assert_problem(client.post(run_path(subscription)), 403, "action_not_allowed")
    assert_problem(client.get(LIST), 403, "action_not_allowed")


def test_another_company_is_as_if_it_were_not_there(client: Client) -> None:
    theirs = make_subscription(report=make_report(corp=make_corp()))
    everybodys = make_subscription(report=make_report())

    absent = client.post(f"{LIST}/999999/run")

    for hidden in (theirs, everybodys):
        answer = client.post(run_path(hidden))
        assert_problem(answer, 404, "not_found")
        assert answer.content == absent.content
    assert not Run.objects.exists()


def test_a_token_reaches_only_the_companies_or_subscriptions_it_names(corp: Corp, subscription: Subscription) -> None:
    other_corp = make_corp()
    other = make_subscription(report=make_report(corp=other_corp))
    root = make_superuser()
    of_corp = make_token(root, reach="corps", corps=[other_corp])[1]
    of_subscription = make_token(root, reach="subscriptions", subscriptions=[other])[1]

    for client in (of_corp, of_subscription):
        assert [item["id"] for item in client.get(LIST).json()["items"]] == [other.pk]
        assert_problem(client.post(run_path(subscription)), 404, "not_found")
    # A token whose companies are deleted, or that names none, reaches nothing.
    for row in (other, other.report, other_corp):
        row.delete()
    for client in (of_corp, make_token(root, reach="subscriptions")[1]):
        assert client.get(LIST).json()["items"] == []


def test_a_session_opens_nothing_and_is_not_even_read(subscription: Subscription) -> None:
    browser = Caller(headers=HOST)
    browser.force_login(make_superuser(), backend="django.contrib.auth.backends.ModelBackend")

    answer = browser.post(run_path(subscription))

    assert_problem(answer, 401, "missing_token")
    assert not answer.cookies
    assert not Run.objects.exists()


def test_use_is_noted_once_a_minute(editor: User) -> None:
    token, client = make_token(editor)

    client.get(LIST, REMOTE_ADDR="192.0.2.7")
    token.refresh_from_db()
    first = token.last_used_at
    client.get(LIST, REMOTE_ADDR="192.0.2.8")
    token.refresh_from_db()

    assert first is not None
    assert (token.last_used_at, token.last_used_from) == (first, "192.0.2.7")
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    client.get(LIST, REMOTE_ADDR="192.0.2.8")
    token.refresh_from_db()
    assert token.last_used_from == "192.0.2.8"


class TestLimits:
    def test_one_token_waits_and_others_do_not(self, editor: User, settings: Any) -> None:
        settings.API_CALLS_PER_TOKEN = 2
        hasty, calm = make_token(editor)[1], make_token(editor)[1]

        answers = [hasty.get(LIST).status_code for _call in range(2)]
        refused = hasty.get(LIST)

        assert answers == [200, 200]
        assert_problem(refused, 429, "too_many_requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= LIMIT_SECONDS
        assert calm.get(LIST).status_code == 200

    def test_one_address_waits_whatever_it_brings(
        self, editor: User, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.API_CALLS_PER_TOKEN = 1
        monkeypatch.setattr("notifications.api.tokens.CALLS_PER_ADDRESS", 2)
        client = make_token(editor)[1]
        for _try in range(2):
            assert_problem(client_with("gwc_guess").get(LIST, REMOTE_ADDR="192.0.2.9"), 401, "invalid_token")

        assert_problem(client.get(LIST, REMOTE_ADDR="192.0.2.9"), 429, "too_many_requests")
        # Calls that the address is refused do not count for the token.
        assert client.get(LIST, REMOTE_ADDR="192.0.2.10").status_code == 200

    def test_where_nothing_can_be_counted_nothing_is_done(
        self, client: Client, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_key: str, *, at_most: int) -> bool:
            raise redis.ConnectionError

        monkeypatch.setattr("integrations.core.redis.allows", away)

        answer = client.post(run_path(subscription))

        assert_problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert not Run.objects.exists()
