"""API tokens: create, find, revoke, permissions and rate limits. A token may never do more than its owner may at the
time of the call."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from accounts.authentication.flow import find_network
from integrations.core.redis import seconds_to_wait
from notifications.api.problems import ProblemError
from notifications.inbound.channels import make_digest
from notifications.models import ApiToken, Subscription
from notifications.models.inbound import MAY_SEND

# Beginnings of our secrets, by which secret scanners recognise them.
BEGINNING, SIGNING_BEGINNING = "gwc_", "gws_"
SECRET_BYTES = 32
PREFIX_CHARACTERS = len(BEGINNING) + 6  # stored in plain text, to tell tokens apart
# The last use is stored at most once in this time.
USE_NOTED_EVERY = timedelta(minutes=1)


class Action(StrEnum):
    """An action that a token may allow. ApiToken has a column `may_…` for each."""

    RUN = "run"
    READ = "read"
    ALERT = "alert"
    SEND = "send"


# Permissions that the owner needs for each action.
_NEEDED = {
    Action.RUN: ("notifications.change_subscription",),
    Action.READ: ("notifications.view_subscription", "notifications.view_run"),
    Action.ALERT: ("notifications.change_alertrule",),
    Action.SEND: (MAY_SEND,),
}


def make_secret(token: ApiToken, *, now: datetime) -> str:
    """Make the secret of an unsaved token and return it: 47 URL-safe characters with 256 random bits. Only its digest
    and prefix are stored. A token that sends messages also gets a stored secret to sign its webhooks."""
    secret = BEGINNING + secrets.token_urlsafe(SECRET_BYTES)
    if token.may_send:
        token.signing_secret = SIGNING_BEGINNING + secrets.token_urlsafe(SECRET_BYTES)
    token.digest, token.prefix, token.created_at = make_digest(secret), secret[:PREFIX_CHARACTERS], now
    return secret


def revoke(token: ApiToken, *, now: datetime) -> bool:
    """Revoke the token for good. Return False if it was revoked already. Recorded in the audit trail."""
    with transaction.atomic():
        current = ApiToken.objects.select_for_update().get(pk=token.pk)
        if current.revoked_at is not None:
            return False
        current.revoked_at = now
        current.save(update_fields=["revoked_at"])
        return True


def is_allowed(token: ApiToken, action: Action) -> bool:
    """Return whether both the token and its owner may do this."""
    return getattr(token, f"may_{action.value}") and token.owner.has_perms(_NEEDED[action])


def find_subscriptions(token: ApiToken) -> QuerySet[Subscription]:
    """Return the subscriptions within the token's scope that its owner sees."""
    visible = Subscription.objects.visible_to(token.owner)
    if token.reach == ApiToken.Reach.CORPS:
        return visible.filter(report__corp__in=token.corps.all())
    if token.reach == ApiToken.Reach.SUBSCRIPTIONS:
        return visible.filter(pk__in=token.subscriptions.values("pk"))
    return visible


logger = logging.getLogger(__name__)

UNAVAILABLE_SECONDS = 5
# Calls per minute and client address (IPv6: per /48), over all tokens.
CALLS_PER_ADDRESS = 600


class TokenAuth(HttpBearer):
    """Authentication of all API operations. Counts the call per address before looking up the token."""

    def __call__(self, request: HttpRequest) -> Any:
        count_call(f"api:address:{find_network(request) or 'unknown'}", CALLS_PER_ADDRESS)
        scheme, _space, secret = request.headers.get(self.header, "").strip().partition(" ")
        if scheme.lower() != self.openapi_scheme or not secret.strip():
            raise ProblemError("missing_token", headers={"WWW-Authenticate": "Bearer"})
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken:
        now = timezone.now()
        found = ApiToken.objects.usable(now).select_related("owner").filter(digest=make_digest(token)).first()
        if found is None:
            raise ProblemError("invalid_token", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        count_call(f"api:token:{found.pk}", settings.API_CALLS_PER_TOKEN)
        is_outdated = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
        ApiToken.objects.filter(is_outdated, pk=found.pk).update(
            last_used_at=now, last_used_from=read_client_address(request)
        )
        return found


def require_token(request: HttpRequest, action: Action) -> ApiToken:
    """Return the caller's token. Raises ProblemError if it may not do `action`."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]  # set by ninja to the result of TokenAuth
    if not is_allowed(token, action):
        raise ProblemError("action_not_allowed")
    return token


def read_client_address(request: HttpRequest) -> str | None:
    return request.META.get("REMOTE_ADDR") or None


def count_call(key: str, at_most: int) -> None:
    """Count a call. Raises ProblemError over the limit, also if Valkey is down: otherwise an attacker could switch the
    limit off."""
    try:
        seconds = seconds_to_wait(key, at_most=at_most)
    except redis.RedisError as error:
        logger.error("a call of the API could not be counted: %s", type(error).__name__)
        raise ProblemError("unavailable", headers={"Retry-After": str(UNAVAILABLE_SECONDS)}) from error
    if seconds:
        raise ProblemError("too_many_requests", headers={"Retry-After": str(seconds)})
