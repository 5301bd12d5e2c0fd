"""Tokens of the HTTP API: what is stored of a secret, how a token is found, and what revoking ends."""

import base64
import hashlib

import pytest

from accounts.models import AuditEntry
from notifications.api import tokens
from notifications.models import ApiToken, Report, Run
from tests.notifications.api.conftest import Caller, make_editor, make_token
from tests.notifications.factories import make_corp, make_report, make_run, make_subscription, make_superuser

pytestmark = pytest.mark.django_db


def test_nothing_of_the_secret_is_kept_but_its_beginning() -> None:
    token, client = make_token(make_superuser())
    secret = client.defaults["HTTP_AUTHORIZATION"].removeprefix("Bearer ")

    stored = ApiToken.objects.filter(pk=token.pk).values().get()

    assert len(base64.urlsafe_b64decode(secret.removeprefix(tokens.BEGINNING) + "=")) * 8 == 256
    assert (stored["digest"], stored["prefix"]) == (hashlib.sha256(secret.encode()).hexdigest(), secret[:10])
    assert not any(secret[10:] in str(value) for value in stored.values())
    trail = " ".join(f"{entry.changes} {entry.note}" for entry in AuditEntry.objects.all())
    assert secret[4:] not in trail
    assert stored["digest"] not in trail


def test_runs_are_reached_by_their_subscriptions_and_the_owners_companies() -> None:
    corp = make_corp()
    report = make_report(corp=corp)
    mine, other = make_subscription(report=report), make_subscription(report=report)
    seen, unseen = make_run(mine), make_run(other)
    client = make_token(make_editor(corp), reach="subscriptions", subscriptions=[mine])[1]
    everything = make_token(make_editor(corp))[1]

    def find_statuses(caller: Caller) -> list[int]:
        return [caller.get(f"/api/v1/runs/{run.pk}").status_code for run in (seen, unseen)]

    assert find_statuses(client) == [200, 404]
    assert find_statuses(everything) == [200, 200]
    # The report moves to another company; earlier runs stay with the first.
    Report.objects.update(corp=make_corp())
    assert find_statuses(everything) == [404, 404]
    Run.objects.update(subscription=None)
    assert find_statuses(make_token(make_superuser())[1]) == [404, 404]
