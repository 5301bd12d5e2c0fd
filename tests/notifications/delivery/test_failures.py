"""What the pages of runs, messages and receipts say of what did not arrive, in both languages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.html import escape
from django.utils.translation import gettext

from integrations.clients.wecom import errcodes
from integrations.models import Corp
from notifications.delivery import explanations
from notifications.delivery.channels import LOST_WORKER, NO_THREAD, OTHER_APP, ROBOT_GONE
from notifications.delivery.rendering.render import render_run
from notifications.models import CorpQueue, Delivery, Receipt, Run
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
IP_REFUSED = "wecom message_send 60020: not allow to access from your ip, from ip: 203.0.113.9"


@pytest.fixture
def delivery(corp: Corp) -> Delivery:
    [pk] = render_run(run_id=make_run(make_subscription(make_person(corp, "lilei"))).pk, now=NOW)
    return Delivery.objects.get(pk=pk)


@pytest.fixture
def receipt(delivery: Delivery) -> Receipt:
    return delivery.receipts.get()


def in_language(person: Any, language: str) -> Client:
    client = Client(headers={"host": "localhost:3001", "accept-language": language})
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def store(delivery: Delivery, **fields: Any) -> Delivery:
    Delivery.objects.filter(pk=delivery.pk).update(**fields)
    delivery.refresh_from_db()
    return delivery


def pages(delivery: Delivery, receipt: Receipt) -> dict[str, str]:
    keys = {"run": delivery.run_id, "delivery": delivery.pk, "receipt": receipt.pk}
    return {name: reverse(f"admin:notifications_{name}_change", args=[key]) for name, key in keys.items()}


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_each_page_says_what_happened_who_mends_it_where_and_the_raw_answer(
    delivery: Delivery, receipt: Receipt, language: str
) -> None:
    store(delivery, status="failed", errcode=60020, error=IP_REFUSED)
    delivery.attempts.create(
        number=1, fencing_token="00000000-0000-0000-0000-000000000000", started_at=NOW, finished_at=NOW,
        outcome="refused", errcode=60020, answer='{"errcode": 60020}',
    )  # fmt: skip
    client, advice = in_language(make_superuser(), language), errcodes.explain(60020)
    with translation.override(language):
        words = [escape(gettext(text)) for text in (advice.what, advice.who, advice.where)]
    assert all(bool(re.search("[\u4e00-\u9fff]", text)) == (language == "zh-hans") for text in words)

    for name, url in pages(delivery, receipt).items():
        text = client.get(url).content.decode()
        [failure] = re.findall(r'<div class="log-failure">.*?</details>', text, re.DOTALL)
        shown, raw = failure.split("<details>")
        assert [word for word in words if word not in shown] == [], name
        assert "203.0.113.9" not in shown
        assert "203.0.113.9" in raw
        assert ("&quot;errcode&quot;: 60020" in raw) == (name != "run")


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_somebody_without_an_interface_licence_is_explained(
    delivery: Delivery, receipt: Receipt, language: str
) -> None:
    store(delivery, status="accepted", errcode=0, unlicensed_count=1)
    Receipt.objects.filter(pk=receipt.pk).update(status=Receipt.Status.UNLICENSED)
    with translation.override(language):
        said = explanations.explain_receipt(
            Receipt.objects.select_related("delivery").get(pk=receipt.pk), with_answer=True
        )
    assert said is not None

    client = in_language(make_superuser(), language)
    page = client.get(pages(delivery, receipt)["receipt"]).content.decode()
    listed = client.get(reverse("admin:notifications_receipt_changelist")).content.decode()

    assert bool(re.search("[\u4e00-\u9fff]", said.what)) == (language == "zh-hans")
    assert all(text in page for text in (said.what, said.who))
    assert said.what in listed


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"error": OTHER_APP.message}, "The company's app was changed after this message was made"),
        ({"error": ROBOT_GONE.message}, "The group's robot was deleted"),
        ({"error": NO_THREAD.message}, "The worker was too busy"),
        ({"error": LOST_WORKER.message, "status": "unknown"}, "The worker ended before WeCom's answer"),
        ({"error": "wecom message_send: HTTP status 502"}, "WeCom gave no answer that counts"),
        ({"error": "wecom gettoken 45009: api freq", "errcode": 45009}, "WeCom gives this server no token for an hour"),
        ({"error": "wecom message_send 45009: api freq", "errcode": 45009}, "Too many calls: WeCom's frequency limit"),
        ({"error": "the mail server answered 550", "errcode": 550, "channel": "email"}, "The mail server did not take"),
    ],
)
def test_what_no_answer_or_another_one_means(delivery: Delivery, fields: dict[str, Any], what: str) -> None:
    store(delivery, **{"status": "failed", **fields})

    with translation.override("en"):
        found = explanations.explain_delivery(delivery, with_answer=True)

    assert found is not None
    assert found.what.startswith(what)
    assert found.raw == fields["error"]
    assert found.who
    assert found.where


def test_what_arrived_has_no_failure(delivery: Delivery, receipt: Receipt) -> None:
    store(delivery, status="accepted", errcode=0, error="")

    assert explanations.explain_delivery(delivery, with_answer=True) is None
    assert explanations.explain_receipt(receipt, with_answer=True) is None
    assert explanations.explain_deliveries(delivery.run.deliveries.all()) == []


def test_while_its_company_is_held_each_page_of_the_push_says_so(delivery: Delivery, receipt: Receipt) -> None:
    CorpQueue.objects.create(corp=delivery.corp, blocked_since=NOW, blocked_errcode=60020)
    subscription = delivery.run.subscription
    assert subscription is not None
    of_subscription = [
        reverse("admin:notifications_subscription_change", args=[subscription.pk]),
        reverse("admin:notifications_subscription_run", args=[subscription.pk]),
    ]
    client = in_language(make_superuser(), "en")
    elsewhere = in_language(make_manager(make_corp(), permissions="subscription"), "en")

    for url in [*pages(delivery, receipt).values(), *of_subscription]:
        assert "“北山制造”: server address refused" in client.get(url).content.decode(), url
        assert "server address refused" not in elsewhere.get(url).content.decode(), url

    store(delivery, status="accepted")
    assert "server address refused" not in client.get(pages(delivery, receipt)["run"]).content.decode()


def test_what_a_run_lost_is_said_in_the_reader_s_language(delivery: Delivery) -> None:
    store(delivery, status="failed", errcode=60020, error=IP_REFUSED)
    Run.objects.update(status="finished", error="1 个接收人被拒绝。")
    url = reverse("admin:notifications_run_change", args=[delivery.run_id])

    assert "Refused for 1 recipient." in in_language(make_superuser(), "en").get(url).content.decode()
    lists = in_language(make_superuser(), "en").get(reverse("admin:notifications_run_changelist"))
    assert "Refused for 1 recipient." in lists.content.decode()
