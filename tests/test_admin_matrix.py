"""The administration's pages and actions for every role, limited or not, and for nobody signed in; its languages."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection, models, transaction
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, reverse
from pytest_django import DjangoDbBlocker, Settings

from tests.accounts.people import sent_form
from tests.admin_table import ACTIONS, TABLE, Row
from tests.admin_world import PEOPLE, World, make_state_queries, read_state
from tests.browser_form import read_page_version, skip_drawing

pytestmark = pytest.mark.django_db
# Other fields that the database or the page requires beside a choice.
NOW = datetime.now(UTC)
BESIDE: dict[tuple[str, Any], dict[str, Any]] = {
    ("repeat", "monthly"): {"month_day": "1"},
    **{("presence", name): {"left_at": NOW} for name in ("out_of_scope", "deleted", "missing")},
}
# Fields that only one row may have set, or that require another field to be set.
UNCHANGED = {"is_default", "is_bi_login_id", "is_employee_number"}
# Scripts, and commands for a terminal.
SILENT = re.compile(r"<(script|style|template|pre|code)\b.*?</\1>", re.DOTALL)
NAMED = re.compile(r'\b(?:title|placeholder|aria-label|alt)="([^"]*)"')
HAN = re.compile(r"[\u4e00-\u9fff]+")
# Chinese words of English pages: the language's own name, places in the BI's pages, and the link of a message in the
# installation's language.
CHINESE_NAMES = ("中文", "管理中心", "系统集成", "单点登录", "查看全部")
# English sentences: three words in a row that are neither names nor codes.
SENTENCE = re.compile(r"\b[A-Za-z]?[a-z]+ [a-z]+ [a-z]+\b")
NO_PAGES = ("_state", "_xlsx", "_csv", "_refused", "_export", "_search", "jsi18n", "autocomplete")


@pytest.fixture(scope="module")
def before(world: World, django_db_blocker: DjangoDbBlocker) -> dict[str, list[Any]]:
    """The state before each visit, which is always the same because each visit is rolled back."""
    with django_db_blocker.unblock():
        return read_state()


@pytest.fixture(autouse=True)
def _one_host(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]


@pytest.fixture(autouse=True)
def _no_contacts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out of refusals whom to ask, which tests/guanwecom/test_whom_to_ask.py checks: half of a refusal's time."""
    monkeypatch.setattr("accounts.views.errors.describe_contacts", lambda *_arguments: "")


def list_url_names(patterns: list[Any]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from list_url_names(pattern.url_patterns)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield pattern.name


def make_post_data(world: World, row: Row, path: str) -> dict[str, Any]:
    """Return the row's data. A form is sent as on a superuser's page, which holds more than others may send."""
    values = dict(row.data)
    if row.form is not None:
        values = {**sent_form(world.client("U"), path), **row.form}
    if "_opened" in values:  # the page with the form holds the version that it was opened with
        page = reverse(f"admin:{values.pop('_opened')}", args=[world.things[name].pk for name in row.args])
        with skip_drawing():
            opened: Any = world.client("U").get(page)
        values["page_version"] = opened.context_data["form"]["page_version"].value()
    if "_pick" in values:
        values["_selected_action"] = [world.things[values.pop("_pick")].pk]
    # The table names companies by words.
    for name in ("corp", "source", "target"):
        if values.get(name) in ("corp", "second"):
            values[name] = world.things[values[name]].pk
    if "_attribute" in values:
        values["attribute"] = world.things[values.pop("_attribute")].pk
    return values


class WriteCounter:
    """Counter of statements that may have changed what read_state() returns.

    Ignored are those that only read or mark a transaction, and those that name another table: nearly every visit
    records itself.
    """

    HARMLESS = ("SELECT", "SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")
    NAMED = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM) "?(\w+)"? ')

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        named = self.NAMED.match(sql)
        is_elsewhere = named is not None and named[1] not in make_state_queries()
        self.count += not (is_elsewhere or sql.lstrip().startswith(self.HARMLESS))
        return execute(sql, params, many, context)


def visit(
    client: Client, row: Row, path: str, values: dict[str, Any], before: dict[str, Any], *, is_drawn: bool
) -> tuple[Any, bool]:
    """Return the answer, and whether read_state() changed; roll the visit back. `is_drawn`: render the text."""
    writes = WriteCounter()
    with transaction.atomic():
        with connection.execute_wrapper(writes), nullcontext() if is_drawn else skip_drawing():
            response = client.post(path, values) if row.method == "post" else client.get(path)
        is_changed = writes.count > 0 and read_state() != before
        transaction.set_rollback(True)
    return response, is_changed


def read_text(response: Any) -> str:
    """Return the text of an answer, and close it if it is a download."""
    content: bytes = b"".join(response.streaming_content) if response.streaming else response.content
    return content.decode(errors="replace")


def read_all_words(html: str) -> str:
    """Return all words of a page, also those for screen readers."""
    html = SILENT.sub(" ", html)
    return unescape(" | ".join([re.sub(r"<[^>]*>", " | ", html), *NAMED.findall(html)]))


def is_page(row: Row) -> bool:
    """Return whether the row is a page with words. The audit trail stores words in the language of each action."""
    is_trail = row.page.startswith("accounts_auditentry")
    return row.method == "get" and row.expected["U"] == 200 and not (is_trail or row.page.endswith(NO_PAGES))


def assert_one_language(english: str, chinese: str) -> None:
    """Assert that the English page has no Chinese, and the Chinese one no English."""
    for name in CHINESE_NAMES:
        english = english.replace(name, "")
    assert HAN.findall(english) == []
    assert "<time" not in english  # no markup shown as text
    assert SENTENCE.findall(chinese) == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.label)
def test_everybody_gets_exactly_what_the_table_says(row: Row, world: World, before: dict[str, Any]) -> None:
    path = row.path(world)
    values = make_post_data(world, row, path)
    found: dict[str, int] = {}
    changed: set[str] = set()
    leaked: set[str] = set()
    texts: dict[str, str] = {}
    drawn = {"U"} if (row.page.removesuffix("_change"), *row.args) in saved_rows() else {"U", "R1"}
    for who in PEOPLE:
        client = world.client(who)
        # Those who may save send the version of the page that they opened: a page with fewer fields has another one.
        opens = row.form is not None and who in row.changed_by.split()
        theirs = {**values, **read_page_version(client, path)} if opens else values
        # Of the pages of other people only the status is checked; test_every_kind_of_a_saved_object draws theirs too.
        is_drawn = row.expected[who] != 200 or who in drawn or who[-1] == "2"
        response, is_changed = visit(client, row, path, theirs, before, is_drawn=is_drawn)
        found[who] = response.status_code
        if is_changed:
            changed.add(who)
        is_refused = response.status_code not in {200, 409}
        text = texts[who] = read_text(response)
        if (is_refused or who[-1] == "2") and "alpha" in text.lower():
            leaked.add(who)

    assert found == row.expected
    assert changed == (set(row.changed_by.split()))
    assert leaked == set()
    if is_page(row):
        chinese = read_text(world.client("U").get(path, headers={"accept-language": "zh-hans"}))
        assert_one_language(read_all_words(texts["U"]), read_all_words(chinese))


def test_no_page_changes_anything_by_get() -> None:
    assert [row.label for row in TABLE if row.method == "get" and row.changed_by] == []


def test_every_page_has_a_row() -> None:
    pages = set(list_url_names(admin.site.get_urls()))

    assert pages == {row.page for row in TABLE}


def test_every_action_has_a_row(world: World) -> None:
    request = RequestFactory().get("/admin/")
    request.user = world.people["U"]
    offered = {
        (f"{model._meta.app_label}_{model._meta.model_name}", name)
        for model, model_admin in admin.site._registry.items()
        for name in model_admin.get_actions(request)
    }

    assert offered == {(row.page.removesuffix("_changelist"), row.data["action"]) for row in ACTIONS}


def saved_rows() -> dict[tuple[str, str], Row]:
    """Return the pages of saved objects by model and thing. Audit entries cannot be changed, so they are left out."""
    pages = [row for row in TABLE if row.method == "get" and row.page.endswith("_change") and len(row.args) == 1]
    return {
        (row.page.removesuffix("_change"), row.args[0]): row
        for row in pages
        if row.page not in {"auth_user_password_change", "accounts_auditentry_change"}
    }


def variants(saved: models.Model) -> Iterator[dict[str, Any]]:
    """Yield values for the fields with choices, so that each other choice occurs in one of them."""
    fields = [one for one in saved._meta.concrete_fields if one.name not in UNCHANGED]
    choices = {one.name: [value for value, _label in one.flatchoices] for one in fields if one.choices}
    choices |= {one.name: [False, True] for one in fields if isinstance(one, models.BooleanField)}
    first = {
        name: each.index(value) if (value := getattr(saved, name)) in each else -1 for name, each in choices.items()
    }
    turns = max((len(each) - (first[name] >= 0) for name, each in choices.items()), default=0)
    for turn in range(1, turns + 1):
        values = {name: each[(first[name] + turn) % len(each)] for name, each in choices.items()}
        yield values | {name: value for chosen in values.items() for name, value in BESIDE.get(chosen, {}).items()}


@pytest.mark.parametrize(("page", "thing"), saved_rows())
def test_every_kind_of_a_saved_object_opens_as_the_first(page: str, thing: str, world: World) -> None:
    row = saved_rows()[page, thing]
    changelist = next(one for one in TABLE if (one.page, one.method) == (f"{page}_changelist", "get"))
    saved = world.things[thing]
    readers = [who for who in ("U", "S1", "I1", "P1", "R1", "E") if row.expected[who] == 200]
    wrong = {}
    for turn, values in enumerate(variants(saved)):
        visitors = readers if turn == 0 else [*{readers[0], readers[-1]}]
        with transaction.atomic():
            type(saved)._base_manager.filter(pk=saved.pk).update(**values)
            for who, each in (("U", changelist), *((who, row) for who in visitors)):
                client = world.client(who)
                client.raise_request_exception = False
                status = client.get(each.path(world)).status_code
                if status != each.expected[who]:
                    wrong[who, each.page, str(values)] = status
            transaction.set_rollback(True)

    assert wrong == {}
