"""How much of the limits of WeCom is used: of this minute and hour, and of the day's budget."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import redis

from integrations.models import Corp
from notifications.delivery.channels.wecom_app import address_scope, company_scope
from notifications.delivery.limiter import Scope, StoreLostError
from notifications.delivery.limiter.shared_gate import query

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Used:
    """`limit`: address_minute, address_hour, company_minute or company_hour. `corp_id`: None for an address, which
    companies share; `share`: from 0 to 1."""

    limit: str
    corp_id: int | None
    share: float


def used() -> list[Used]:
    """Of message/send, for each enabled company and each address. Empty where the limiter cannot be asked."""
    corps = list(Corp.objects.enabled().only("corpid", "proxy_url").order_by("pk"))
    scopes = list(_scopes(corps))
    try:
        minutes = _shares(scopes, "minute")
        hours = _shares(scopes, "hour")
    except (StoreLostError, redis.RedisError) as error:
        logger.warning("the limiter could not say what is used: %s", type(error).__name__)
        return []
    return [*minutes, *hours]


def _scopes(corps: Iterable[Corp]) -> Iterator[tuple[str, int | None, Scope]]:
    """Each scope once: rows that share a CorpId share its limits."""
    seen: set[str] = set()
    for corp in corps:
        own: tuple[str, int | None, Scope] = ("company", corp.pk, company_scope(corp.corpid))
        for kind, corp_id, scope in (("address", None, address_scope(corp)), own):
            if scope.key not in seen:
                seen.add(scope.key)
                yield kind, corp_id, scope


def _shares(scopes: list[tuple[str, int | None, Scope]], window: str) -> Iterator[Used]:
    """Of addresses the fullest stands for all."""
    limited = [(kind, corp_id, _of_window(scope, window)) for kind, corp_id, scope in scopes]
    limited = [one for one in limited if one[2].per_minute or one[2].per_hour]
    if not limited:
        return iter(())
    theirs = [scope for *_, scope in limited]
    # A hold is none of our calls: WeCom asked for it.
    room = query(lambda gate: gate.room(theirs, within_seconds=0, is_urgent=True, minds_hold=False))
    found: dict[tuple[str, int | None], float] = {}
    for kind, corp_id, scope in limited:
        share = 1 - room.calls[scope.key] / (scope.per_minute or scope.per_hour)
        found[kind, corp_id] = max(share, found.get((kind, corp_id), 0.0))
    return (Used(f"{kind}_{window}", corp_id, round(share, 4)) for (kind, corp_id), share in found.items())


def _of_window(scope: Scope, window: str) -> Scope:
    is_minute = window == "minute"
    return replace(
        scope, parallel=0, per_minute=scope.per_minute * is_minute, per_hour=scope.per_hour * (not is_minute)
    )
