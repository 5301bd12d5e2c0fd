"""WeCom app channel: up to 1000 people a call; WeCom's duplicate check makes repeats safe."""

from __future__ import annotations

import json
from functools import cache
from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings

from accounts.models import fold_userid
from integrations.clients.errors import IntegrationError
from integrations.core import client_factory
from integrations.models import Corp
from notifications.delivery.channels.base import Caller, Requester, Sendable
from notifications.delivery.channels.outcomes import OTHER_APP, Outcome, outcome_of_error, outcome_of_result
from notifications.delivery.limiter import Budget, Member, Request, Scope
from notifications.models import Priority

_API = "message_send"


# Source: developer.work.weixin.qq.com/document/path/90454.
MEMBER_PER_HOUR = 1000


class WeComApp:
    """Channel.WECOM."""

    is_repeat_safe: ClassVar[bool] = True

    def requester(self, corp: Corp, *, daily_budget: int) -> Requester:
        scopes = app_scopes(corp)

        @cache
        def limits(corpid: str, agentid: int) -> tuple[Member, Budget]:
            app = app_name(corpid, agentid)
            return member_limits(app), Budget(app, daily_budget, settings.LIMIT_RESERVED_PERCENT)

        def request(delivery: Sendable) -> Request:
            member, budget = limits(delivery.corpid, delivery.agentid)
            return Request(
                id=f"{delivery.pk}.{delivery.attempt_count + 1}",
                scopes=scopes,
                is_urgent=delivery.priority == Priority.URGENT,
                member=member,
                members=_members(delivery) if member.is_limited else (),
                budget=budget,
                persons=delivery.recipient_count,
            )

        return request

    def held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        return (company_scope(delivery.corpid),)

    def caller(self, delivery: Sendable) -> Caller:
        corp, body = delivery.corp, bytes(delivery.body)
        if (delivery.corpid, delivery.agentid) != (corp.corpid, corp.agentid):
            return lambda: OTHER_APP
        try:
            client = client_factory.wecom_client(corp)
        except IntegrationError as error:
            refused = outcome_of_error(error)
            return lambda: refused

        def call() -> Outcome:
            try:
                return outcome_of_result(client.message_send(body))
            except IntegrationError as error:
                return outcome_of_error(error)

        return call


def app_name(corpid: str, agentid: int) -> str:
    """An app in the limiter's books."""
    return f"{corpid}:{agentid}"


def member_limits(app: str) -> Member:
    """Messages a minute and an hour. Source: developer.work.weixin.qq.com/document/path/90454 (30 and 1000)."""
    per_minute = settings.LIMIT_MEMBER_PER_MINUTE
    return Member(app, per_minute, MEMBER_PER_HOUR if per_minute else 0)


def app_scopes(corp: Corp) -> tuple[Scope, ...]:
    """What a call of message/send counts against."""
    return (address_scope(corp), company_scope(corp.corpid))


def company_scope(corpid: str, api: str = _API) -> Scope:
    """Rows that share a CorpId share its limit, which each API has for itself."""
    return Scope(
        f"company:{corpid}:{api}",
        per_minute=settings.LIMIT_COMPANY_PER_MINUTE,
        per_hour=settings.LIMIT_COMPANY_PER_HOUR,
        parallel=settings.LIMIT_COMPANY_PARALLEL,
        reserved_percent=settings.LIMIT_RESERVED_PERCENT,
    )


def address_scope(corp: Corp, api: str = _API) -> Scope:
    """The public address that WeCom sees: the proxy's where there is one, else that of this process."""
    proxy = urlsplit(corp.proxy_url) if corp.proxy_url else None  # of an unreadable one no call comes to be
    name = f"proxy:{proxy.hostname}:{proxy.port}" if proxy is not None else settings.EGRESS_NAME
    return Scope(
        f"address:{name}:{api}",
        per_minute=settings.LIMIT_ADDRESS_PER_MINUTE,
        per_hour=settings.LIMIT_ADDRESS_PER_HOUR,
        reserved_percent=settings.LIMIT_RESERVED_PERCENT,
    )


def _members(delivery: Sendable) -> tuple[str, ...]:
    return tuple(fold_userid(userid) for userid in json.loads(bytes(delivery.body))["touser"].split("|"))
