"""Previews of a push and of an alert rule: waiting, finished or failed, and for which person."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import requests
import responses
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.models import Card, CardData, DataSource
from notifications.models import AlertRule, Report
from tests.accounts.people import sent_form
from tests.guandata import GuandataAnswers
from tests.integrations.clients.sources.place import make_card, make_source
from tests.notifications.admin.conftest import client_of
from tests.notifications.alerts.rules import row
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.preview_pages import fetch, preview
from tests.notifications.reports.places import page_values

pytestmark = pytest.mark.django_db
OF_PUSH, OF_RULE = reverse("admin:notifications_subscription_preview"), reverse("admin:notifications_alertrule_preview")


@dataclass(frozen=True)
class Page:
    """The page of a push or of an alert rule. `shown` appears in its preview only once the data has been fetched."""

    path: str
    shown: str
    values: Callable[[Client, Card], Mapping[str, Any]]


def push_values(_client: Client, card: Card) -> Mapping[str, Any]:
    return page_values(card, body="合计 {{ c0.sum('销售额') }}")


def rule_values(client: Client, card: Card) -> Mapping[str, Any]:
    values = sent_form(client, reverse("admin:notifications_alertrule_add"))
    return {**values, "card": card.pk, **row(0, "any", "销售额", "lt", "100")}


PAGES = [
    pytest.param(Page(OF_PUSH, "合计 224.5", push_values), id="push"),
    pytest.param(Page(OF_RULE, "会触发", rule_values), id="rule"),
]


@pytest.fixture
def bi() -> Iterator[GuandataAnswers]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        answers = GuandataAnswers(wire)
        answers.gives("sign_in")
        yield answers


@pytest.fixture
def card(bi: GuandataAnswers) -> Card:
    bi.gives("card_data")
    return make_card()


@pytest.mark.parametrize("place", PAGES)
class TestPreview:
    def test_answers_at_once_that_the_data_is_being_fetched_and_asks_no_source(
        self, root: Client, card: Card, bi: GuandataAnswers, place: Page
    ) -> None:
        values = place.values(root, card)

        first = root.post(place.path, values).json()
        again = root.post(place.path, {**values, "_token": first["token"]}).json()

        for answer in (first, again):
            assert re.search(r"正在读取数据….*data-elapsed>\d+ 秒<.*<progress", answer["message"], re.DOTALL)
            assert place.shown not in answer["message"]
        assert again["token"] == first["token"] != ""
        assert (CardData.objects.count(), bi.calls("card_data"), bi.calls("sign_in")) == (1, 0, 0)
        fetch()
        last = root.post(place.path, {**values, "_token": first["token"]}).json()
        assert place.shown in last["message"]
        assert last["token"] == ""
        assert bi.calls("card_data") == 1
        # Nothing is saved, and no address contains the values.
        assert [model.objects.count() for model in (Report, AlertRule)] == [0, 0]
        assert not re.findall(r'(?:href|src|action)="[^"]*(?:销售额|%E9%94%80)', last["message"])

    def test_says_that_no_worker_takes_it_and_which(self, root: Client, card: Card, place: Page) -> None:
        values = place.values(root, card)
        token = root.post(place.path, values).json()["token"]
        CardData.objects.update(requested_at=timezone.now() - timedelta(seconds=11))

        answer = root.post(place.path, {**values, "_token": token}).json()

        assert "还没有开始取数：请检查是否有后台进程负责“data”" in answer["message"]
        assert 'class="problem"' in answer["message"]
        assert answer["token"] == token  # the page keeps polling

    @pytest.mark.parametrize(
        ("failure", "said"),
        [
            (b"<html>", "没有取到“区域销售额”的数据：数据源返回的格式与预期不符"),
            (requests.ReadTimeout(), "数据源用时超过 30 秒。请减少取数范围，或调高时间上限。"),
        ],
    )
    def test_of_a_source_that_fails_or_is_slow_says_what_to_do(
        self, root: Client, bi: GuandataAnswers, place: Page, failure: Any, said: str
    ) -> None:
        bi.gives("card_data", failure)

        assert said in preview(root, place.path, place.values(root, make_card()))
        assert bi.calls("card_data") == 1

    def test_is_shared_by_those_who_see_the_card_and_write_such_pages(
        self, root: Client, card: Card, place: Page
    ) -> None:
        corp = make_corp()
        DataSource.objects.update(corp=corp)
        manager, stranger = client_of(make_manager(corp)), client_of(make_manager(make_corp()))
        sent = {**place.values(root, card)}
        sent["_token"] = root.post(place.path, sent).json()["token"]
        fetch()

        assert place.shown in manager.post(place.path, sent).json()["message"]
        assert client_of(make_person(corp, "li")).post(place.path, sent).status_code == 302
        assert "128.5" not in stranger.post(place.path, sent).text
        # The preview ends with the right to see the card, even between request and answer.
        DataSource.objects.update(corp=make_corp())
        assert "128.5" not in manager.post(place.path, sent).text


def test_what_is_wrong_without_data_is_said(root: Client, card: Card) -> None:
    assert "您可见的人中没有" in preview(root, OF_PUSH, page_values(card, _person="99999999"))
    assert "请按 2026-11-28 09:00 的格式填写时间。" in preview(root, OF_PUSH, page_values(card, _at="tomorrow"))
    # The page of a rule shows the rows also while a condition is wrong.
    assert "errorlist" in preview(root, OF_RULE, {**rule_values(root, card), **row(0, "sum", "销售额", "lt", "viel")})


def test_a_push_over_a_source_whose_key_is_lost_says_so(root: Client, settings: Any) -> None:
    source = make_source(name="仓库", kind="sql", sql_url="postgresql://robot:sim@db.example.com/sales")
    card = Card.objects.create(source=source, name="库", sql="SELECT 1")
    settings.FIELD_ENCRYPTION_KEYS = ["c2ltLW90aGVyLWtleS1zaW0tb3RoZXIta2V5LXNpbSE="]

    assert "FIELD_ENCRYPTION_KEYS" in preview(root, OF_PUSH, page_values(card))
