"""Authenticates API calls by `Authorization: Bearer …` alone, and limits their rate."""

from __future__ import annotations

import logging
from typing import Any

import redis
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from accounts.authentication.state import network_of
from integrations.core.redis import seconds_to_wait
from notifications.api import tokens
from notifications.api.problems import ProblemError
from notifications.api.tokens import Action
from notifications.models import ApiToken

logger = logging.getLogger(__name__)

UNAVAILABLE_SECONDS = 5


class TokenAuth(HttpBearer):
    """What each operation of the API asks for first. The address is counted before the token is looked up."""

    def __call__(self, request: HttpRequest) -> Any:
        count(f"api:address:{network_of(request) or 'unknown'}", settings.API_CALLS_PER_ADDRESS)
        scheme, _space, secret = request.headers.get(self.header, "").strip().partition(" ")
        if scheme.lower() != self.openapi_scheme or not secret.strip():
            raise ProblemError("missing_token", headers={"WWW-Authenticate": "Bearer"})
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken:
        now = timezone.now()
        found = tokens.find(secret=token, now=now)
        if found is None:
            raise ProblemError("invalid_token", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        count(f"api:token:{found.pk}", settings.API_CALLS_PER_TOKEN)
        tokens.note_use(found, ip=address_of(request), now=now)
        return found


def token_for(request: HttpRequest, action: Action) -> ApiToken:
    """The caller's token, where it may do such a thing."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]  # set by ninja: what TokenAuth answered
    if not tokens.may(token, action):
        raise ProblemError("action_not_allowed")
    return token


def address_of(request: HttpRequest) -> str | None:
    return request.META.get("REMOTE_ADDR") or None


def count(key: str, at_most: int) -> None:
    """Whoever cannot be counted waits: a limit that can be switched off from outside would be none."""
    try:
        seconds = seconds_to_wait(key, at_most=at_most)
    except redis.RedisError as error:
        logger.error("a call of the API could not be counted: %s", type(error).__name__)
        raise ProblemError("unavailable", headers={"Retry-After": str(UNAVAILABLE_SECONDS)}) from error
    if seconds:
        raise ProblemError("too_many_requests", headers={"Retry-After": str(seconds)})
