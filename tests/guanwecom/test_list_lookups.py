"""Lists of the administration refuse lookups of fields that they do not show."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Field
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models.fields import EncryptedTextField
from notifications.api.tokens import make_secret
from notifications.models import ApiToken

pytestmark = pytest.mark.django_db
SECRET_WORDS = ("digest", "password", "secret", "token", "private_key", "session_key", "aes_key", "body")


@pytest.fixture
def superuser() -> User:
    return User.objects.create_superuser("root")


def is_secret(column: Field[Any, Any]) -> bool:
    names_one = any(word in column.name for word in SECRET_WORDS) and not column.is_relation
    return names_one or isinstance(column, EncryptedTextField)


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label_lower)
def test_no_list_is_searched_filtered_or_sorted_by_a_secret(model: Any, superuser: User, rf: RequestFactory) -> None:
    listed, request = admin.site._registry[model], rf.get("/")
    request.user = superuser
    secrets = [column.name for column in model._meta.concrete_fields if is_secret(column)]

    for name in secrets:
        for lookup in (name, f"{name}__startswith", f"{name}__regex", f"{name}__gte"):
            assert listed.lookup_allowed(lookup, "a", request) is False, lookup
    asked = (
        *(listed.get_search_fields(request), listed.get_sortable_by(request), listed.get_ordering(request)),
        listed.get_list_filter(request),
    )
    assert not {str(one).lstrip("-^=@").split("__")[0] for names in asked for one in names} & set(secrets)


def test_a_digest_is_not_guessed_letter_by_letter(superuser: User, client: Client) -> None:
    now = timezone.now()
    token = ApiToken(name="etl", owner=superuser, expires_at=now)
    make_secret(token, now=now)
    token.save()
    client.force_login(superuser, backend="django.contrib.auth.backends.ModelBackend")
    path = reverse("admin:notifications_apitoken_changelist")

    right, wrong = (client.get(path, {"digest__startswith": start}) for start in (token.digest[0], "x"))

    assert (right.status_code, wrong.status_code) == (400, 400)
