"""Lists of the admin with 100,000 people and 1,000,000 receipts: each opens in good time.

Runs with `make nightly` and prints the time of each list.
"""

import time

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from integrations.models import Corp, SiteAddress
from notifications.models import Delivery, Receipt
from tests.guanwecom.test_list_queries import lists
from tests.many_rows import fill
from tests.nightly import nightly

pytestmark = [pytest.mark.django_db, nightly]
# For the whole page, on two shared cores.
SECONDS = 2.0
DELIVERIES = "/admin/notifications/delivery/"
RECEIPTS = "/admin/notifications/receipt/"
RUNS = "/admin/notifications/run/"
FILTERED = [
    *(f"{RECEIPTS}?status={status}" for status in ("accepted", "invalid", "failed", "skipped", "pending", "unknown")),
    *(f"{RUNS}?day={day}" for day in ("today", "week")),
    f"{RUNS}?status__exact=failed",
    f"{RUNS}?status__exact=missed",
    *(f"{DELIVERIES}?q={words}" for words in ("日报7", "没有这样的标题", "person77777")),
    f"{DELIVERIES}?status__exact=unknown",
    f"{RECEIPTS}?q=person77777",
    *(
        f"{path}?{query}"
        for path in (RUNS, DELIVERIES, RECEIPTS)
        for query in ("person=person77777", "push=订阅77777", "push=没有这样的推送", "from=2026-11-24&to=2026-11-24")
    ),
    "/admin/accounts/user/?q=77777",
    "/admin/accounts/user/?linked=no",
    "/admin/",
]
# Nine more for each of the 100,000 receipts.
MORE_RECEIPTS = """
INSERT INTO notifications_receipt (run_id, delivery_id, user_id, channel, address, status, reason)
SELECT run_id, delivery_id, user_id, channel, address || '-' || n, CASE WHEN n = 1 THEN status ELSE '' END, reason
FROM notifications_receipt CROSS JOIN generate_series(1, 9) n
"""


@pytest.fixture
def root() -> Client:
    SiteAddress.objects.filter(is_default=True).update(url="http://testserver/")
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_every_list_opens_in_good_time_with_a_million_receipts(root: Client) -> None:
    fill(100_000, corps=50)
    Corp.objects.update(is_enabled=True)
    with connection.cursor() as cursor:
        cursor.execute(MORE_RECEIPTS)
        cursor.execute("ANALYZE")
    assert Receipt.objects.count() == 1_000_000
    times = {path: _seconds(root, path) for path in [*lists(), *FILTERED, *_by_company()]}

    print("\n".join(f"{seconds * 1000:7.0f} ms  {path}" for path, seconds in times.items()))  # noqa: T201  # the report

    assert {path: seconds for path, seconds in times.items() if seconds > SECONDS} == {}


def _by_company() -> list[str]:
    """Return addresses of logs for a company with nearly all messages, one with a few old ones, and one with none."""
    busy, quiet, idle = Corp.objects.order_by("pk")[:3]
    oldest = Delivery.objects.order_by("pk").values("pk")[:200]
    Delivery.objects.filter(pk__in=oldest).update(corp=quiet)
    return [f"{path}?corp={one.pk}" for path in (RUNS, DELIVERIES, RECEIPTS) for one in (busy, quiet, idle)]


def _seconds(client: Client, path: str) -> float:
    client.get(path)
    began = time.perf_counter()
    answer = client.get(path)
    assert answer.status_code in {200, 302}, path
    return time.perf_counter() - began
