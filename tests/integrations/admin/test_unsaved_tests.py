"""Tests of a data source and a query as typed, before they are saved. No password is sent back."""

import socket
from typing import Any

import psycopg
import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from sqlalchemy.exc import OperationalError

from integrations.clients.sources.sql import explain_failure, hide_port_state
from integrations.data import Problem
from integrations.datasources import source_tests
from integrations.models import Card, Corp, DataSource, Job
from integrations.models.datasources import explain_problem, set_network_access
from tests.browser_form import parse_form
from tests.integrations.admin.test_source_admin import ALL, BACKEND, CARD, SECRET, SOURCE
from tests.integrations.clients.sources import databases
from tests.integrations.clients.sources.databases import Database
from tests.integrations.clients.sources.place import make_source
from tests.integrations.conftest import staff
from tests.jobs import do_jobs

pytestmark = pytest.mark.django_db
TRY_SOURCE, TRY_CARD = "/admin/integrations/datasource/try/", "/admin/integrations/card/try/"
FIELDS = {"db_kind": "postgresql", "db_host": "db.example.com", "db_name": "sales", "db_user": "reader"}


def token_of(answer: dict[str, Any]) -> str:
    return str(answer["url"]).rstrip("/").rpartition("/")[2]


def try_unsaved(client: Client, address: str, values: dict[str, Any]) -> str:
    """Return what the page shows when the test is finished."""
    answer = client.post(address, values).json()
    if answer["is_unfinished"]:
        assert "正在测试" in answer["html"]
        do_jobs()
        answer = client.get(answer["url"]).json()
    assert not answer["is_unfinished"]
    return str(answer["html"])


def test_a_database_is_tried_before_it_is_saved(chinese_root: Client, postgresql: Database) -> None:
    values = {**SOURCE, "name": "", "new_sql_url": postgresql.url, "allows_private_addresses": "on"}
    assert "毫秒内得到响应" in try_unsaved(chinese_root, TRY_SOURCE, values)
    wrong = postgresql.url.replace(databases.SECRET, "wrong")
    assert 'class="problem"' in try_unsaved(chinese_root, TRY_SOURCE, {**values, "new_sql_url": wrong})
    assert not DataSource.objects.exists()


@pytest.mark.parametrize(
    ("values", "sentence_shown"),
    [
        ({"db_host": ""}, "主机"),
        ({"db_host": "db.example.com", "db_port": "99999"}, "端口"),
        ({"kind": "json", "http_url": "ftp://x"}, "https://主机/路径"),
        ({"new_sql_url": "oracle://u:p@h/db"}, "oracle"),
    ],
)
def test_what_is_wrong_without_asking_anybody_is_said_at_once(
    chinese_root: Client, values: dict[str, str], sentence_shown: str
) -> None:
    html = try_unsaved(chinese_root, TRY_SOURCE, {**SOURCE, **FIELDS, "db_password": SECRET, **values})
    assert 'class="errorlist"' in html
    assert sentence_shown in html
    assert SECRET not in html


def test_a_password_is_neither_in_the_cache_nor_in_an_answer(chinese_root: Client) -> None:
    answer = chinese_root.post(TRY_SOURCE, {**SOURCE, **FIELDS, "db_password": SECRET})
    kept = cache.get(f"{source_tests.UNSAVED_TEST}:{token_of(answer.json())}:typed")
    assert kept
    assert SECRET not in repr(kept)
    assert SECRET not in str(list(Job.objects.values()))
    assert SECRET not in answer.content.decode()


def test_a_saved_password_is_tried_at_its_own_place_and_sent_to_no_other(chinese_root: Client) -> None:
    saved = f"postgresql://reader:{SECRET}@db.example.com:5433/sales"
    source = make_source(name="库", kind="sql", sql_url=saved)
    page = reverse("admin:integrations_datasource_change", args=[source.pk])
    values = {**parse_form(chinese_root.get(page).content.decode(), "datasource_form"), "_id": source.pk}

    moved = chinese_root.post(TRY_SOURCE, {**values, "db_host": "evil.example.com"}).json()
    same = chinese_root.post(TRY_SOURCE, {**values, "db_name": "stock"}).json()

    assert "请重新输入密码" in moved["html"]
    assert not moved["is_unfinished"]
    assert same["is_unfinished"]
    source.refresh_from_db()
    assert source.sql_url == saved


def test_a_network_that_the_source_may_not_enter_is_said_with_the_fix(chinese_root: Client) -> None:
    html = try_unsaved(chinese_root, TRY_SOURCE, {**SOURCE, "kind": "json", "http_url": "http://127.0.0.1:1"})
    assert "该地址指向本机" in html
    assert "可以位于内网" in explain_problem(Problem.ADDRESS_FORBIDDEN, {})


def test_the_first_rows_of_a_query_are_shown_before_it_is_saved(chinese_root: Client, postgresql: Database) -> None:
    source = make_source(kind="sql", sql_url=postgresql.url, allows_private_addresses=True)
    values = {**CARD, "name": "", "source": source.pk, "sql": "SELECT amount AS 金额 FROM facts ORDER BY amount"}

    html = try_unsaved(chinese_root, TRY_CARD, values)

    assert '<th scope="col" class="n">金额' in html
    assert html.count('<td class="n">') == source_tests.ROWS_SHOWN
    assert "还有更多行" in html
    assert "没有" not in html
    assert not Card.objects.exists()
    assert "does not exist" in try_unsaved(chinese_root, TRY_CARD, {**values, "sql": "SELECT * FROM nowhere"})
    assert "只能" in try_unsaved(chinese_root, TRY_CARD, {**values, "sql": "DELETE FROM facts"})


def test_a_test_is_its_own_person_s_alone(chinese_root: Client, client: Client, corp: Corp) -> None:
    answer = chinese_root.post(TRY_SOURCE, {**SOURCE, **FIELDS, "db_password": SECRET}).json()
    other = Client()
    other.force_login(staff("chief", corp, permissions=ALL), backend=BACKEND)
    assert other.get(answer["url"]).status_code == 404
    assert chinese_root.get("/admin/integrations/datasource/try/forged/").status_code == 404


def test_what_no_worker_came_for_is_not_kept(chinese_root: Client, django_user_model: Any) -> None:
    source = DataSource(kind="json", http_url="https://api.example.com")
    person = django_user_model.objects.get()
    token = source_tests.request_unsaved_test(source, None, by=person, now=timezone.now())
    cache.clear()
    do_jobs()
    assert "不再保留" in chinese_root.get(f"{TRY_SOURCE}{token}/").json()["html"]


def test_credentials_that_no_key_opens_are_said(chinese_root: Client, settings: Any) -> None:
    source = make_source(kind="json", http_url="https://api.example.com", http_headers={"Authorization": SECRET})
    settings.FIELD_ENCRYPTION_KEYS = ["b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXktMTI="]
    page = reverse("admin:integrations_datasource_change", args=[source.pk])
    html = try_unsaved(
        chinese_root, TRY_SOURCE, {**parse_form(chinese_root.get(page).text, "datasource_form"), "_id": source.pk}
    )
    assert "FIELD_ENCRYPTION_KEYS" in html


def test_a_source_of_another_company_is_not_tried(client: Client, corp: Corp, other_corp: Corp) -> None:
    theirs = make_source(name="乙", kind="sql", corp=other_corp)
    client.force_login(staff("chief", corp, permissions=ALL), backend=BACKEND)
    assert client.post(TRY_SOURCE, {**SOURCE, "_id": theirs.pk}).status_code == 404
    assert "errorlist" in client.post(TRY_CARD, {**CARD, "source": theirs.pk, "sql": "SELECT 1"}).json()["html"]


@pytest.mark.parametrize(
    ("error", "problem", "words"),
    [
        (socket.gaierror(8, "x"), Problem.UNREACHABLE, "找不到这个主机名"),
        (ConnectionRefusedError(), Problem.UNREACHABLE, "拒绝连接"),
        ("connection failed: Connection refused", Problem.UNREACHABLE, "拒绝连接"),
        ("connection timeout expired", Problem.UNREACHABLE, "主机没有响应"),
        ('password authentication failed for user "u"', Problem.CREDENTIALS_REFUSED, "凭证"),
        ('role "u" does not exist', Problem.CREDENTIALS_REFUSED, "凭证"),
        ('database "d" does not exist', Problem.NO_DATABASE, "没有这个数据库"),
        ('permission denied for database "d"', Problem.NO_RIGHT, "没有权限"),
        ("server does not support SSL, but SSL was required", Problem.NO_TLS, "TLS"),
        ("SSL error: certificate verify failed", Problem.CERTIFICATE, "证书"),
        ("SSL error: wrong version number", Problem.UNREACHABLE, "端口有响应"),
    ],
)
def test_each_error_says_what_to_do(error: Any, problem: Problem, words: str) -> None:
    if isinstance(error, str):
        error = OperationalError("connect", None, psycopg.OperationalError(error))
    found = hide_port_state(explain_failure(error, "psycopg", seconds=5))
    assert found.problem is problem
    with set_network_access(lambda: True):
        assert words in explain_problem(found.problem, found.facts)
