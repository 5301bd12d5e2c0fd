"""Choosing a card of the BI: lists, search, filled-in fields, and what is said if the BI cannot be asked."""

import html
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

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
from tests.integrations.admin.test_source_admin import ALL, BACKEND
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
        ("listed", "minutes", "refresh", "is_asked"),
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
        self, bi: GuandataAnswers, listed: dict[str, Any], minutes: int, refresh: bool, is_asked: bool
    ) -> None:
        known = make_listing([["p1", "x", ""]], at=NOW, **listed)

        job = request_listing(page_id="", by=AnonymousUser(), now=NOW + timedelta(minutes=minutes), refresh=refresh)

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


def test_a_page_is_chosen_then_a_card_with_the_values_for_the_form(root: Client, bi: GuandataAnswers) -> None:
    source = make_source()
    address = f"{reverse(CHOOSE)}?source={source.pk}"
    card = make_card(source)
    for form in (
        f"{reverse('admin:integrations_card_add')}?source={source.pk}",
        f"/admin/integrations/card/{card.pk}/",
    ):
        assert f'href="{address}" target="_blank" rel="opener"' in root.get(form, follow=True).text

    root.post(address)
    running = open_list(root, address)
    make_listing([["p1", "销售<总览>", "PAGE"]], at=timezone.now())
    pages = open_list(root, address)
    asked: Any = root.post(address, {"page": "p1"})
    make_listing([["c1", "每日销售额", "CHART"], ["t1", "标题", "TEXT"]], "p1", at=timezone.now())
    cards = open_list(root, asked.url)

    assert "The BI is being asked" in running
    assert "data-unfinished" in running
    assert "销售&lt;总览&gt;" in pages
    assert "holds no data (TEXT)" in cards
    chosen = [json.loads(html.unescape(one)) for one in re.findall(r'data-chosen="([^"]*)"', cards)]
    assert chosen == [{"bi_page_id": "p1", "bi_card_id": "c1", "name": "每日销售额"}]
    assert not Card.objects.exclude(pk=card.pk).exists()


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
    assert "The ID can also be typed into the form" in page
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
        client.force_login(staff("chief", corp, permissions=ALL), backend=BACKEND)

        def status(**sent: Any) -> tuple[int, int]:
            return client.get(reverse(CHOOSE), sent).status_code, client.post(reverse(CHOOSE), sent).status_code

        assert status(source=mine.pk) == (200, 302)
        before = Job.objects.count()
        for source in (hidden, other_kind):
            assert status(source=source.pk) == (404, 404)
        assert status(source="x") == (404, 404)
        assert status(source=mine.pk, page="p" * 101) == (404, 404)
        assert Job.objects.count() == before
