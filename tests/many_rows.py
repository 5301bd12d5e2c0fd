"""Made-up rows, in any number, in every table that an administrator can list."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.contrib.auth.models import Group
from django.db.models import Max, Model

from accounts.models import AuditEntry, User, WeComAccount
from integrations.models import Card, Corp, DataSource, SiteAddress
from notifications.models import (
    AlertRule,
    Attempt,
    Delivery,
    InboundChannel,
    Incident,
    IncomingMessage,
    Receipt,
    Report,
    Run,
    Subscription,
)

NOW = datetime(2026, 11, 24, 1, 0, 30, tzinfo=UTC)
BATCH = 5_000
SOURCES_AT_MOST = 50
Row = TypeVar("Row", bound=Model)


def fill(number: int, *, corps: int | None = None) -> None:
    """Add `number` rows to each table, beside those that exist. `corps` sets another number of companies."""
    start = {model: model._default_manager.aggregate(top=Max("pk"))["top"] or 0 for model in (User, Run, Corp)}
    first = start[User]
    numbers = range(first, first + number)
    _make_companies(start[Corp], number if corps is None else corps)
    corp = Corp.objects.order_by("pk")[0]
    people = _bulk(User, [{"username": f"person{n}", "name": f"员工{n}"} for n in numbers])
    _bulk(
        WeComAccount,
        [{"user": who, "corp": corp, "userid": f"U{who.pk}", "userid_folded": f"u{who.pk}"} for who in people],
    )
    reports = _bulk(Report, [{"title": f"报告{n}", "body": "正文", "created_at": NOW} for n in numbers])
    pushes = _bulk(
        Subscription,
        [{"name": f"订阅{n}", "report": r, "crontab": "0 9 * * *"} for n, r in zip(numbers, reports, strict=True)],
    )
    _bulk(Group, [{"name": f"组{n}"} for n in numbers])
    _bulk(
        AuditEntry,
        [
            {"action": "changed", "model": "accounts.user", "object_id": n, "actor_name": "管理员", "corp": corp}
            for n in numbers
        ],
    )
    make_pushes(corp, pushes, people, number)
    _make_incidents(corp, people)


def make_pushes(corp: Corp, pushes: list[Subscription], people: list[User], number: int) -> None:
    """Make `number` runs, each with a delivery, an attempt and a receipt, a minute apart, the last now."""
    top = Run.objects.aggregate(top=Max("pk"))["top"] or 0
    moments = [NOW - timedelta(minutes=number - n) for n in range(number)]
    times = [{"slot_at": at, "claimed_at": at, "render_after": at, "finished_at": at} for at in moments]
    failed = [n % 500 == 7 for n in range(number)]
    runs = _bulk(
        Run,
        [
            {
                **{"key": f"many:{top + n}", "subscription": pushes[n % len(pushes)], "trigger": "schedule"},
                **{"status": "failed" if failed[n] else "finished", "recipient_count": 1, **times[n]},
            }
            for n in range(number)
        ],
    )
    frozen = {"corpid": corp.corpid, "agentid": corp.agentid, "body": b"{}", "language": "zh-hans"}
    kind = {"corp": corp, "channel": "wecom", "message_form": "text", "recipient_count": 1, "text": "正文"}
    deliveries = _bulk(
        Delivery,
        [
            {
                **{"run": runs[n], "title": f"日报{n % 50}", "status": "failed" if failed[n] else "accepted"},
                **{"created_at": moments[n], "next_attempt_at": moments[n], "expires_at": moments[n], **frozen, **kind},
            }
            for n in range(number)
        ],
    )
    one = {"number": 1, "outcome": "accepted"}
    _bulk(Attempt, [{"delivery": d, "fencing_token": uuid.uuid4(), "started_at": NOW, **one} for d in deliveries])
    _bulk(
        Receipt,
        [
            {
                **{"run": runs[n], "delivery": deliveries[n], "user": people[n % len(people)], "channel": "wecom"},
                **{"address": f"{corp.pk}:u{n}", "status": "invalid" if n % 1000 == 11 else ""},
            }
            for n in range(number)
        ],
    )


def _make_incidents(corp: Corp, people: list[User]) -> None:
    """Make an incident and an incoming message for each person, from at most 50 rules and channels."""
    owners = people[:SOURCES_AT_MOST]
    [source] = _bulk(DataSource, [{"name": f"数据源{owners[0].pk}", "kind": "sql", "corp": corp}])
    cards = _bulk(Card, [{"name": f"卡片{one.pk}", "source": source} for one in owners])
    rules = _bulk(
        AlertRule,
        [
            {"name": f"规则{one.pk}", "card": card, "corp": corp, "owner": one}
            for one, card in zip(owners, cards, strict=True)
        ],
    )
    channels = _bulk(InboundChannel, [{"name": f"通道{one.pk}", "owner": one, "corp": corp} for one in owners])
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    incidents, messages = [], []
    for number, one in enumerate(people):
        rule, channel = rules[number % len(rules)], channels[number % len(channels)]
        common = {"key": f"many:{one.pk}", "title": f"磁盘{one.pk}", "corp": corp, "channel": channel}
        source_fields = {"rule": rule, "channel": None} if number % 2 else {}
        incidents.append({**common, **source_fields, **times, "acknowledged_by": one, "silenced_by": one})
        messages.append({**common, "origin": "channel", "requested_by": one, "created_at": NOW})
    _bulk(Incident, incidents)
    _bulk(IncomingMessage, messages)


def _make_companies(first: int, number: int) -> None:
    numbers = range(first, first + number)
    addresses = _bulk(SiteAddress, [{"url": f"https://site{n}.example.test/"} for n in numbers])
    rows = [
        {"name": f"公司{n}", "corpid": f"ww{n:016d}", "agentid": 1, "secret": "s", "site_address": address}
        for n, address in zip(numbers, addresses, strict=True)
    ]
    _bulk(Corp, rows)


def _bulk(model: type[Row], rows: list[dict[str, Any]]) -> list[Row]:
    return model._default_manager.bulk_create([model(**row) for row in rows], batch_size=BATCH)
