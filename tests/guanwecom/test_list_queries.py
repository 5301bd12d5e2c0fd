"""Lists of the admin need as many queries for 1,000 rows (nightly 10,000) as for 10, and count no large table."""

import re
from collections import Counter
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.authentication import sessions
from accounts.models import User
from guanwecom.operations import monitoring
from integrations.core import http, installation
from integrations.models import Corp, SiteAddress
from notifications.models import Attempt
from tests.many_rows import fill
from tests.nightly import IS_NIGHTLY

pytestmark = pytest.mark.django_db

LARGE_TABLES = (
    *("accounts_user", "accounts_wecomaccount", "accounts_auditentry"),
    *("notifications_run", "notifications_delivery", "notifications_attempt", "notifications_receipt"),
    *("notifications_report", "notifications_subscription", "integrations_callbackevent", "auth_group"),
)
COUNT = r"COUNT\([^)]*\)+(?: AS \"\w+\")? FROM "
# Counts of a whole table, or of a query without a limit. An alias such as U0 counts one row's own rows in a subquery.
OF_A_TABLE = re.compile(rf"{COUNT}\"({'|'.join(LARGE_TABLES)})\"(?! [A-Z]\d)")
# Counts of the last minute's calls use the index `attempt_started`: as many as WeCom takes, in a table of any age.
OF_A_MINUTE = re.compile(r" WHERE \"notifications_attempt\"\.\"started_at\" >= ")
OF_A_QUERY = re.compile(rf"{COUNT}\((?!.* LIMIT \d+\) subquery$)", re.DOTALL)


def lists() -> list[str]:
    """Return the overview, the global search, and for each registered model its list, a later page and a search."""
    found = ["/admin/", "/admin/search/?q=1"]
    for model, model_admin in admin.site._registry.items():
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        found += [path, f"{path}?p=2"]
        if model_admin.search_fields:
            found.append(f"{path}?q=1")
    return found


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> dict[str, Client]:
    """Browsers of a superuser and of somebody with every permission for some companies.

    What a process caches for seconds is not read again, however slowly pages open.
    """
    cached = ((http, "HOST_CACHE_SECONDS"), (http, "ORIGIN_CACHE_SECONDS"), (installation, "COPY_CACHE_SECONDS"))
    for module, name in (*cached, (monitoring, "SECRETS_CACHE_SECONDS")):
        monkeypatch.setattr(module, name, 1e9)
    monkeypatch.setattr(sessions, "STAFF_USE_RECORDED_EVERY", timedelta(days=1))
    SiteAddress.objects.filter(is_default=True).update(url="http://testserver/")
    return {who: client_of(who) for who in ("superuser", "limited")}


def client_of(who: str) -> Client:
    person = User.objects.create(username=who, is_staff=True, is_superuser=who == "superuser")
    person.user_permissions.set(Permission.objects.all())
    client = Client()
    client.force_login(person)
    return client


def queries_of(client: Client, path: str, *, is_first: bool = True) -> list[str]:
    """Return the queries of a page. `is_first`: visit it once before, so that the process's caches are filled."""
    if is_first:
        client.get(path)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path)
    assert answer.status_code in {200, 302, 403}, path  # 302: one row, shown at once; 403: not for the limited person
    return [query["sql"] for query in captured]


def full_counts(queries: list[str]) -> list[str]:
    return [
        sql for sql in queries if (OF_A_TABLE.search(sql) and not OF_A_MINUTE.search(sql)) or OF_A_QUERY.search(sql)
    ]


def test_every_list_takes_as_many_queries_for_many_rows_as_for_10(
    clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    for pages in admin.site._registry.values():
        monkeypatch.setattr(pages, "list_per_page", 20)  # as many more as show a query for each row
    fill(10)
    manages(Corp.objects.order_by("pk")[:1])
    counted = [(who, path) for who in clients for path in lists() if not path.endswith("p=2")]
    few = {(who, path): len(queries_of(clients[who], path)) for who, path in counted}

    fill(9_990 if IS_NIGHTLY else 990, corps=190)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as the database does by itself, but not within a test's transaction

    found = {(who, path): queries_of(clients[who], path, is_first=False) for who, path in counted}
    assert {visit: len(queries) for visit, queries in found.items()} == few
    # The overview counts one day's runs by state.
    of_lists = {visit: full_counts(queries) for visit, queries in found.items() if visit[1] != "/admin/"}
    assert {visit: counts for visit, counts in of_lists.items() if counts} == {}
    later = {path: clients["superuser"].get(path).status_code for path in lists() if path.endswith("p=2")}
    assert set(later.values()) <= {200, 302, 403}, later


def manages(corps: QuerySet[Corp]) -> None:
    for person in User.objects.filter(is_staff=True):
        person.managed_corps.set(corps)


def test_rows_are_counted_without_what_stands_beside_them_and_sorted_by_columns_with_an_index_alone(
    clients: dict[str, Client],
) -> None:
    fill(10)
    manages(Corp.objects.all())
    for client in clients.values():
        queries = queries_of(client, reverse("admin:notifications_report_changelist"))
        [count] = [sql for sql in queries if sql.startswith("SELECT COUNT(*)")]
        assert "notifications_report" in count
        assert "notifications_subscription" not in count
    path = reverse("admin:notifications_delivery_changelist")

    orders = {column: queries_of(clients["superuser"], f"{path}?o={column}") for column in (1, 4)}

    assert [sql for sql in orders[1] if 'ORDER BY "notifications_delivery"."title"' in sql]
    assert [sql for sql in orders[4] if '"recipient_count" ASC' in sql] == []


def test_a_persons_page_looks_up_once_whether_the_person_may_be_changed(clients: dict[str, Client]) -> None:
    fill(1)
    manages(Corp.objects.all())
    person = User.objects.get(username__startswith="person")

    queries = queries_of(clients["limited"], reverse("admin:accounts_user_change", args=[person.pk]))

    mine = f'"accounts_user"."id" = {person.pk})'
    asked = Counter(sql for sql in queries if sql.startswith("SELECT 1 ") and "is_staff" in sql and mine in sql)
    assert asked
    assert max(asked.values()) <= 2


def test_a_full_count_would_be_found() -> None:
    with CaptureQueriesContext(connection) as captured:
        User.objects.count()
        User.objects.values("name").distinct().count()
        Attempt.objects.count()
        User.objects.filter(is_active=True)[:5].count()
        Attempt.objects.filter(started_at__gte=timezone.now()).count()

    queries = [query["sql"] for query in captured]
    assert full_counts(queries) == queries[:3]
