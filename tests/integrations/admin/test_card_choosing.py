"""Choosing a card of the BI: lists, search, filled-in fields, and what is said if the BI cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import responses
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.datasources.catalogue import find_listing, read_entries, request_listing
from integrations.models import Card, Corp, Job
from tests.bi import make_bi, make_listing
from tests.guandata import APP_TOKEN, HOST, GuandataAnswers
from tests.integrations.admin.test_source_admin import ALL, BACKEND, CARD
from tests.integrations.clients.sources.place import NOW, make_card, make_source
from tests.integrations.conftest import staff
from tests.jobs import do_jobs

pytestmark = pytest.mark.django_db
CHOOSE = "admin:integrations_card_choose"


@pytest.fixture
def bi() -> Iterator[GuandataAnswers]:
    make_bi(base_url=HOST, app_token=APP_TOKEN)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        yield GuandataAnswers(wire)


def open_list(client: Client, address: str = "", **sent: Any) -> str:
    """Return the page that lists the choices."""
    return client.get(address or reverse(CHOOSE), sent or None).text


class TestListing:
    def test_pages_and_cards_are_asked_for_in_the_background_and_kept(self, bi: GuandataAnswers) -> None:
        bi.gives("page_list", body={"token": APP_TOKEN})
        bi.gives("page_cards", headers={"token": APP_TOKEN})

        for page_id in ("", "p1"):
            request_listing(page_id=page_id, by=AnonymousUser(), now=timezone.now())
            do_jobs()

        pages, cards = read_entries(find_listing()), read_entries(find_listing("p1"))
        assert [one[0] for one in pages] == ["p1"]  # deleted ones are left out
        assert cards[0][0] == "c1"
        assert (bi.calls("page_list"), bi.calls("page_cards")) == (1, 1)

    @pytest.mark.parametrize(
        ("listed", "minutes", "anew", "is_asked"),
        [
            ({}, 9, False, False),
            ({}, 9, True, True),
            ({}, 10, False, True),
            ({"status": "running", "finished_at": None}, 19, True, False),
            ({"status": "failed", "problem": "broken"}, 1, False, True),
            ({"payload": {"page": "", "version": 99}}, 1, False, True),  # for another connection
        ],
    )
    def test_what_is_fresh_or_under_way_is_not_asked_for_again(
        self, bi: GuandataAnswers, listed: dict[str, Any], minutes: int, anew: bool, is_asked: bool
    ) -> None:
        known = make_listing([["p1", "x", ""]], at=NOW, **listed)

        job = request_listing(page_id="", by=AnonymousUser(), now=NOW + timedelta(minutes=minutes), anew=anew)

        assert (job.pk != known.pk) is is_asked

    @pytest.mark.parametrize(
        ("changes", "answer", "problem", "missing"),
        [
            ({"base_url": ""}, None, "not-set-up", "bi-address"),
            ({"app_token": ""}, None, "not-set-up", "app-token"),
            ({}, {"status": 502, "answer": b"down"}, "broken", None),
            ({}, {"answer": ConnectionError("no route")}, "unreachable", None),
            ({}, {"answer": {"result": "fail", "error": {"status": 401, "message": APP_TOKEN}}}, "not-admitted", None),
            ({}, {"answer": b"<html>"}, "not-understood", None),
            ({"key": "lost"}, None, "key-missing", None),
        ],
    )
    def test_why_there_is_no_list_is_kept_without_a_secret(
        self,
        bi: GuandataAnswers,
        changes: dict[str, str],
        answer: dict[str, Any] | None,
        problem: str,
        missing: str | None,
        settings: Any,
    ) -> None:
        is_lost = changes == {"key": "lost"}
        make_bi(**{"base_url": HOST, "app_token": APP_TOKEN, **({} if is_lost else changes)})
        if answer:
            bi.gives("page_list", **answer)
        job = request_listing(page_id="", by=AnonymousUser(), now=NOW)
        if is_lost:
            settings.FIELD_ENCRYPTION_KEYS = ["b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXktMTI="]
        do_jobs()

        job.refresh_from_db()
        assert (job.status, job.problem, job.result) == ("failed", problem, {})
        assert job.facts.get("missing") == missing
        assert APP_TOKEN not in str(job.facts)


def test_a_page_then_a_card_fill_in_the_form_of_a_new_card(root: Client, bi: GuandataAnswers) -> None:
    source = make_source()
    form = root.get(reverse("admin:integrations_card_add"), {"source": source.pk}).text
    assert f'formaction="{reverse(CHOOSE)}"' in form

    asked: Any = root.post(reverse(CHOOSE), {**CARD, "name": "", "source": source.pk})
    running = open_list(root, asked.url)
    make_listing([["p1", "销售<总览>", "PAGE"]], at=timezone.now())
    pages = open_list(root, asked.url)
    root.post(asked.url, {"page": "p1"})
    make_listing([["c1", "每日销售额", "CHART"], ["t1", "标题", "TEXT"]], "p1", at=timezone.now())
    cards = open_list(root, source=source.pk, page="p1")

    assert "The BI is being asked" in running
    assert "data-unfinished" in running
    assert "销售&lt;总览&gt;" in pages
    assert "holds no data (TEXT)" in cards
    link = next(part for part in cards.split('"') if "bi_card_id=c1" in part).replace("&amp;", "&")
    assert "bi_card_id=t1" not in cards
    filled = root.get(link)
    form = filled.context["adminform"].form
    assert [form.initial[name] for name in ("name", "bi_page_id", "bi_card_id")] == ["每日销售额", "p1", "c1"]
    assert "chosen and not saved yet" in filled.text
    root.post(link, {**CARD, "name": "每日销售额", "source": source.pk, "bi_page_id": "p1", "bi_card_id": "c1"})
    assert Card.objects.get().bi_card_id == "c1"


TYPED = {
    "bi_view": "GRAPH", "bi_filters": '[{"name": "城市", "filterType"', "bi_parameters": "[]",
    "kinds": '{"日期": "date"}', "units": "{}", "as_of_column": "日期",
}  # fmt: skip


def link_to(card_id: str, page: str) -> str:
    return next(part for part in page.split('"') if f"bi_card_id={card_id}" in part).replace("&amp;", "&")


def read_form(client: Client, address: str) -> dict[str, Any]:
    """Return the field values of the form at this address."""
    form = client.get(address).context["adminform"].form
    return {name: form[name].value() for name in form.fields}


def leave_form(client: Client, query: str = "", **typed: Any) -> str:
    """Press the form's button to the list. Return the address of the list."""
    answer: Any = client.post(reverse(CHOOSE) + query, {"page": "p1", "bi_card_id": "", "bi_page_id": "", **typed})
    return str(answer.url)


def test_what_was_typed_stays_until_the_card_is_chosen(root: Client, bi: GuandataAnswers) -> None:
    source = make_source()
    make_listing([["c1", "每日销售额", "CHART"]], "p1", at=timezone.now())

    listed = leave_form(root, source=source.pk, name="我的名称", **TYPED)
    searched = open_list(root, f"{listed}&q=每日")
    filled = read_form(root, link_to("c1", searched))

    chosen = {"name": "我的名称", "source": str(source.pk), "bi_card_id": "c1", "bi_page_id": "p1"}
    assert filled == {**chosen, **TYPED}
    back = next(one for one in searched.split('"') if "/card/add/?" in one and "bi_card_id" not in one)
    assert read_form(root, back.replace("&amp;", "&")) == {**filled, "bi_card_id": "", "bi_page_id": ""}


def test_each_tab_has_what_was_typed_in_it_and_nobody_else_has(
    root: Client, bi: GuandataAnswers, django_user_model: Any
) -> None:
    source = make_source()
    make_listing([["c1", "每日销售额", "CHART"]], "p1", at=timezone.now())
    first, second = (leave_form(root, source=source.pk, name=name) for name in ("甲", "乙"))
    links = [link_to("c1", open_list(root, listed)) for listed in (first, second)]
    listed = leave_form(root, source=source.pk, name="丙", bi_filters="x" * 100_001)  # too long to keep
    assert "draft" not in listed
    assert read_form(root, link_to("c1", open_list(root, listed)))["name"] == "每日销售额"
    unnamed = leave_form(root, source=source.pk, name="", **TYPED)  # a card without a name gets the BI's name
    assert read_form(root, link_to("c1", open_list(root, unnamed)))["name"] == "每日销售额"
    stranger = Client()
    stranger.force_login(django_user_model.objects.create_superuser("other"), backend=BACKEND)

    assert [read_form(root, link)["name"] for link in links] == ["甲", "乙"]
    assert read_form(stranger, links[0])["name"] == "每日销售额"


def test_what_was_typed_over_a_saved_card_stays_and_is_saved_as_a_change(root: Client, bi: GuandataAnswers) -> None:
    card = make_card(bi_filters=[{"name": "a", "filterType": "IN"}])
    make_listing([["c9", "另一张", "CHART"]], "p1", at=timezone.now())

    listed = leave_form(root, f"?card={card.pk}", source=card.source_id, name="新名", bi_filters="", kinds="{}")
    link = link_to("c9", open_list(root, listed))
    filled = read_form(root, link)
    card.refresh_from_db()
    assert card.bi_card_id == "c1"  # choosing saves nothing
    refused: Any = root.post(link, {**CARD, **filled, "kinds": "x"})
    root.post(link, {**CARD, **filled})

    assert urlsplit(link).path == reverse("admin:integrations_card_change", args=[card.pk])
    assert (filled["name"], filled["bi_filters"], filled["bi_card_id"]) == ("新名", "", "c9")
    card.refresh_from_db()
    assert (card.name, card.bi_filters, card.bi_card_id) == ("新名", [], "c9")
    assert {"name", "bi_card_id"} <= set(refused.context["adminform"].form.changed_data)


def test_many_are_searched_and_cut_visibly(root: Client, bi: GuandataAnswers) -> None:
    source = make_source()
    make_listing([[f"p{number}", f"页面 {number}", "PAGE"] for number in range(230)], at=NOW)

    whole = open_list(root, source=source.pk)
    found = open_list(root, source=source.pk, q=" 页面 229 ")

    assert whole.count('name="page"') == 200
    assert "30 more" in whole
    assert found.count('name="page"') == 1
    assert 'value="p229"' in found


def test_a_failure_is_said_with_the_way_to_mend_it_and_the_id_can_be_typed(
    root: Client, bi: GuandataAnswers, corp: Corp
) -> None:
    source = make_source(corp=corp)
    make_listing(at=NOW, status="failed", problem="not-set-up", facts={"missing": "app-token"})

    page = open_list(root, source=source.pk)

    assert "The data source is not set up completely: the BI&#x27;s app token is missing." in page
    address = reverse("admin:integrations_biconnection_changelist")
    assert f'<a href="{address}">To the connection with the BI</a>' in page
    assert "Back to the form, where the ID can be typed" in page
    state = root.get(reverse("admin:integrations_card_choose_state"), {"source": source.pk}).json()
    assert (state["is_unfinished"], address in state["html"]) == (False, True)
    root.force_login(staff("chief", corp, permissions=ALL), backend=BACKEND)
    limited = open_list(root, source=source.pk)
    assert "Who sees all companies can set up the connection" in limited
    assert "biconnection" not in limited


class TestWhoMay:
    def test_only_who_keeps_cards_where_the_source_is_seen(
        self, client: Client, bi: GuandataAnswers, corp: Corp, other_corp: Corp
    ) -> None:
        mine, hidden = make_source(name="a", corp=corp), make_source(name="b", corp=other_corp)
        other_kind = make_source(name="c", kind="sql", corp=corp)
        card = make_card(hidden, name="hidden")
        client.force_login(staff("chief", corp, permissions=ALL), backend=BACKEND)

        def status(**sent: Any) -> tuple[int, int]:
            return client.get(reverse(CHOOSE), sent).status_code, client.post(reverse(CHOOSE), sent).status_code

        assert status(source=mine.pk) == (200, 302)
        before = Job.objects.count()
        for source in (hidden, other_kind):
            assert status(source=source.pk) == (404, 404)
        assert status(source=mine.pk, card=card.pk) == (404, 404)
        assert status(source="x") == (404, 404)
        assert status(source=mine.pk, page="p" * 101) == (404, 404)
        assert Job.objects.count() == before
