"""Saving a corp: what has to be tested again, and what becomes of its token."""

import datetime as dt

import pytest
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.core.client_factory import token_store
from integrations.models import Corp
from tests.integrations.conftest import CORPID

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


def token_of(corp: Corp, fresh: str) -> str:
    """Return the token that all processes share; `fresh` is what WeCom would give now."""
    return token_store().get(corp.corpid, corp.agentid, lambda: FetchedToken(fresh, 7200))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("secret", "new"),
        ("agentid", 7),
        ("corpid", "ww" + "2" * 16),
        ("api_base_url", "https://gate.example.com"),
        ("proxy_url", "http://proxy:1"),
        ("ca_bundle", "x"),
    ],
)
def test_a_changed_connection_has_to_be_tested_again_and_drops_the_token(
    corp: Corp, column: str, value: object, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert token_of(corp, "old") == "old"
    setattr(corp, column, value)

    with django_capture_on_commit_callbacks(execute=True):
        assert services.save_corp(corp=corp, changed_fields={column}) is True

    saved = Corp.objects.get(pk=corp.pk)
    assert (saved.connection_version, corp.connection_version) == (2, 2)
    assert getattr(saved, column) == value
    assert token_store().get(CORPID, 1000002, lambda: FetchedToken("new", 7200)) == "new"


def test_another_change_keeps_test_and_token_and_saving_works_without_valkey(
    corp: Corp, settings: Settings, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert token_of(corp, "old") == "old"
    corp.name = "北山制造集团"
    corp.secret = "not to be saved"

    with django_capture_on_commit_callbacks(execute=True):
        assert services.save_corp(corp=corp, changed_fields={"name"}) is False
        with transaction.atomic():  # a change that is rolled back
            services.save_corp(corp=corp, changed_fields={"secret"})
            transaction.set_rollback(True)

    saved = Corp.objects.get(pk=corp.pk)
    assert (saved.name, saved.secret, saved.connection_version) == ("北山制造集团", "the-secret", 1)
    assert token_of(corp, "new") == "old"
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    with django_capture_on_commit_callbacks(execute=True):
        assert services.save_corp(corp=corp, changed_fields={"secret"}) is True
    assert Corp.objects.get().secret == "not to be saved"
