"""No page of the administration mixes its languages: no Chinese on an English one, no English on a Chinese one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import DjangoDbBlocker, Settings

from tests.admin_table import TABLE, Row
from tests.admin_world import World, build
from tests.test_admin_matrix import path_of, text_of

pytestmark = pytest.mark.django_db

PAGES = [row for row in TABLE if row.method == "get" and row.expected["U"] == 200]
# Scripts, and commands for a terminal.
SILENT = re.compile(r"<(script|style|template|pre|code)\b.*?</\1>", re.DOTALL)
NAMED = re.compile(r'\b(?:title|placeholder|aria-label|alt)="([^"]*)"')
HAN = re.compile(r"[\u4e00-\u9fff]+")
# A language's own name; where the BI, which speaks Chinese, shows something; a message as it will arrive, in the
# language of the installation.
CHINESE_NAMES = ("中文", "管理中心", "系统集成", "单点登录", "查看全部")
# Sentences of English: three words that are neither names nor codes, one after the other.
SENTENCE = re.compile(r"\b[A-Za-z]?[a-z]+ [a-z]+ [a-z]+\b")


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    with django_db_blocker.unblock(), transaction.atomic():
        yield build()
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def _one_host(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]


def words_of(client: Client, path: str, language: str) -> str:
    """All that the page says, also to those who do not see it."""
    html = SILENT.sub(" ", text_of(client.get(path, headers={"accept-language": language})))
    return unescape(" | ".join([re.sub(r"<[^>]*>", " | ", html), *NAMED.findall(html)]))


def is_page(row: Row) -> bool:
    """Without the trail: it keeps words of the language in which something was done."""
    if row.page.startswith("accounts_auditentry"):
        return False
    return not row.page.endswith(
        ("_state", "_xlsx", "_csv", "_refused", "_export", "_search", "jsi18n", "autocomplete")
    )


@pytest.mark.parametrize("row", [row for row in PAGES if is_page(row)], ids=lambda row: row.label)
def test_no_page_mixes_its_languages(row: Row, world: World) -> None:
    client: Any = world.client("U")

    english = words_of(client, path_of(world, row), "en")
    chinese = words_of(client, path_of(world, row), "zh-hans")

    for name in CHINESE_NAMES:
        english = english.replace(name, "")
    assert HAN.findall(english) == []
    assert "<time" not in english  # markup shown as text
    assert SENTENCE.findall(chinese) == []
