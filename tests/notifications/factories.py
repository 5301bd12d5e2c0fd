"""Rows for the tests of notifications. All names and numbers are invented."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from django.contrib.auth.models import Permission

from accounts.models import User, WeComAccount, fold_userid
from integrations.models import Corp
from notifications.models import Report, Run, Subscription
from notifications.subscriptions.schedules import reschedule
from tests.rows import join, put

API = "https://wecom.example.test"
NOW = datetime(2026, 11, 24, 1, 0, 30, tzinfo=UTC)  # 09:00:30 in Shanghai
_numbers = count(1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def make_corp(**fields: Any) -> Corp:
    number = next(_numbers)
    defaults = {
        "name": f"Company {number}",
        "corpid": f"ww{number:016d}",
        "agentid": 1_000_000 + number,
        "secret": f"secret-{number}",
        "api_base_url": API,
        "is_enabled": True,
    }
    return put(Corp(**{**defaults, **fields}))


def make_person(corp: Corp | None = None, userid: str = "", **fields: Any) -> User:
    """Create a person; with a corp or a userid also a primary WeCom account."""
    username = fields.pop("username", f"person{next(_numbers)}")
    person = put(User(username=username, **fields))
    if corp is not None or userid:
        put(WeComAccount(user=person, corp=corp, userid=userid, userid_folded=fold_userid(userid)))
    return person


def make_superuser() -> User:
    return put(User(username=f"root{next(_numbers)}", is_staff=True, is_superuser=True))


def make_manager(*corps: Corp, permissions: str = "") -> User:
    """Create a manager of these companies, with the app's permissions whose codename contains `permissions`."""
    manager = put(User(username=f"manager{next(_numbers)}", is_staff=True))
    held = Permission.objects.filter(content_type__app_label="notifications", codename__contains=permissions)
    join(manager, "managed_corps", corps)
    join(manager, "user_permissions", held.order_by())
    return manager


def make_people(corp: Corp, number: int) -> list[User]:
    people = User.objects.bulk_create(User(username=f"{corp.pk}-{n}") for n in range(number))
    WeComAccount.objects.bulk_create(
        WeComAccount(user=person, corp=corp, userid=f"U{n}", userid_folded=f"u{n}") for n, person in enumerate(people)
    )
    return people


def make_report(**fields: Any) -> Report:
    return put(Report(**{"title": "日报", "body": "今天的销售额:100 万元", **fields}))


def make_subscription(*people: User, now: datetime = NOW, **fields: Any) -> Subscription:
    """Create a subscription for 09:00 in Shanghai that is due at NOW."""
    if "report" not in fields:
        fields["report"] = make_report()
    defaults = {"name": "每日九点", "crontab": "0 9 * * *", "time_zone": "Asia/Shanghai"}
    subscription = Subscription(**{**defaults, **fields})
    if "next_run_at" not in fields:
        reschedule(subscription, now=now.replace(hour=0))
    put(subscription)
    join(subscription, "users", people)
    return subscription


def make_run(subscription: Subscription, now: datetime = NOW, **fields: Any) -> Run:
    defaults = {
        "key": f"test:{next(_numbers)}",
        "subscription": subscription,
        "corp": subscription.report.corp,
        "trigger": Run.Trigger.SCHEDULE,
        "slot_at": now,
        "claimed_at": now,
        "render_after": now,
    }
    return put(Run(**{**defaults, **fields}))
