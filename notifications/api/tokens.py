"""Tokens of the HTTP API: making, finding and revoking them, and what each may do.

A token never may more than its owner may at the moment of the call: less, if the owner was given less since.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import Q, QuerySet

from notifications.inbound.signatures import digest_of
from notifications.models import AlertRule, ApiToken, Run, Subscription
from notifications.models.inbound import MAY_SEND

# By which a scanner of source code or logs knows one.
BEGINNING, SIGNING_BEGINNING = "gwc_", "gws_"
SECRET_BYTES = 32
PREFIX_CHARACTERS = len(BEGINNING) + 6
# How exactly it is known when a token was used last.
USE_NOTED_EVERY = timedelta(minutes=1)


class Action(StrEnum):
    """What a token may be for."""

    RUN = "run"
    READ = "read"
    ALERT = "alert"
    SEND = "send"


# What the owner must hold in the administration for it.
_NEEDED = {
    Action.RUN: ("notifications.change_subscription",),
    Action.READ: ("notifications.view_subscription", "notifications.view_run"),
    Action.ALERT: ("notifications.change_alertrule",),
    Action.SEND: (MAY_SEND,),
}


def new_secret() -> str:
    """Letters, digits, "-" and "_": 47 characters with 256 random bits."""
    return BEGINNING + secrets.token_urlsafe(SECRET_BYTES)


def seal(token: ApiToken, *, secret: str, now: datetime) -> None:
    """Give an unsaved token its secret: what is kept of it tells nobody the rest. One that sends messages gets a second
    secret, which we keep, to sign its webhooks with."""
    if token.may_send:
        token.signing_secret = SIGNING_BEGINNING + secrets.token_urlsafe(SECRET_BYTES)
    token.digest, token.prefix, token.created_at = digest_of(secret), secret[:PREFIX_CHARACTERS], now


def find(*, secret: str, now: datetime) -> ApiToken | None:
    """The usable token with this secret, with its owner. One look-up in an index, for any secret."""
    return ApiToken.objects.usable(now).select_related("owner").filter(digest=digest_of(secret)).first()


def note_use(token: ApiToken, *, ip: str | None, now: datetime) -> None:
    """When and from where it was used last, written once a minute at most."""
    rarely = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
    ApiToken.objects.filter(rarely, pk=token.pk).update(last_used_at=now, last_used_from=ip)


def revoke(token: ApiToken, *, now: datetime) -> bool:
    """End it at once and for good. False where it was revoked already. Stands in the audit trail."""
    with transaction.atomic():
        current = ApiToken.objects.select_for_update().get(pk=token.pk)
        if current.revoked_at is not None:
            return False
        current.revoked_at = now
        current.save(update_fields=["revoked_at"])
        return True


def may(token: ApiToken, action: Action) -> bool:
    """Whether token and owner may do such a thing at all."""
    is_meant = {
        Action.RUN: token.may_run,
        Action.READ: token.may_read,
        Action.ALERT: token.may_alert,
        Action.SEND: token.may_send,
    }
    return is_meant[action] and token.owner.has_perms(_NEEDED[action])


def subscriptions_of(token: ApiToken) -> QuerySet[Subscription]:
    """Those that the token reaches: of what its owner sees, what it was limited to."""
    seen = Subscription.objects.visible_to(token.owner)
    if token.reach == ApiToken.Reach.CORPS:
        return seen.filter(report__corp__in=token.corps.all())
    if token.reach == ApiToken.Reach.SUBSCRIPTIONS:
        return seen.filter(pk__in=token.subscriptions.values("pk"))
    return seen


def rules_of(token: ApiToken) -> QuerySet[AlertRule]:
    """The alert rules that the token may have checked: of what its owner sees, what it was limited to."""
    rules = AlertRule.objects.visible_to(token.owner)
    if token.reach == ApiToken.Reach.CORPS:
        return rules.filter(receiver__corp__in=token.corps.all())
    return rules if token.reach == ApiToken.Reach.EVERYTHING else rules.none()


def runs_of(token: ApiToken) -> QuerySet[Run]:
    """The runs of those subscriptions that the owner sees: a run keeps the company that it was for."""
    return Run.objects.visible_to(token.owner).filter(subscription__in=subscriptions_of(token))
