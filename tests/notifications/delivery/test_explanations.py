"""Explanations of failures on the pages of runs, messages and receipts, in both languages."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import escape
from django.utils.translation import gettext

from accounts.models import User
from integrations.clients.wecom import errcodes
from integrations.models import Corp
from notifications.delivery import explanations, maintenance
from notifications.delivery.channels import LOST_WORKER, NO_THREAD, OTHER_APP, ROBOT_GONE
from notifications.delivery.explanations import name_run, name_runs, sum_up_losses
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import recall
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import CorpQueue, Delivery, Incident, IncidentEvent, Receipt, Run, SubscriptionChoice
from tests.notifications.admin.conftest import client_of
from tests.notifications.alerts.conftest import make_alert_channel
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_people,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.one_delivery import send_delivery
from tests.notifications.wecom_stub import WeComStub, errcode

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


def update_delivery(delivery: Delivery, **fields: Any) -> Delivery:
    Delivery.objects.filter(pk=delivery.pk).update(**fields)
    delivery.refresh_from_db()
    return delivery


def make_addresses(delivery: Delivery, receipt: Receipt) -> dict[str, str]:
    keys = {"run": delivery.run_id, "delivery": delivery.pk, "receipt": receipt.pk}
    return {name: reverse(f"admin:notifications_{name}_change", args=[key]) for name, key in keys.items()}


def test_each_page_says_what_happened_who_mends_it_where_and_the_raw_answer(
    delivery: Delivery, receipt: Receipt
) -> None:
    update_delivery(delivery, status="failed", errcode=60020, error=IP_REFUSED)
    delivery.attempts.create(
        number=1, fencing_token="00000000-0000-0000-0000-000000000000", started_at=NOW, finished_at=NOW,
        outcome="refused", errcode=60020, answer='{"errcode": 60020}',
    )  # fmt: skip
    client, advice = in_language(make_superuser(), "zh-hans"), errcodes.explain(60020)
    words = [escape(gettext(text)) for text in (advice.what, advice.who, advice.where)]
    assert all(re.search("[\u4e00-\u9fff]", text) for text in words)

    for name, url in make_addresses(delivery, receipt).items():
        text = client.get(url).content.decode()
        [failure] = re.findall(r'<div class="log-failure">.*?</details>', text, re.DOTALL)
        shown, raw = failure.split("<details>")
        assert [word for word in words if word not in shown] == [], name
        assert "203.0.113.9" not in shown
        assert "203.0.113.9" in raw
        assert ("&quot;errcode&quot;: 60020" in raw) == (name != "run")


def test_somebody_without_an_interface_licence_is_explained(delivery: Delivery, receipt: Receipt) -> None:
    update_delivery(delivery, status="accepted", errcode=0, unlicensed_count=1)
    Receipt.objects.filter(pk=receipt.pk).update(status=Receipt.Status.UNLICENSED)
    with translation.override("en"):
        said = explanations.explain_receipt(
            Receipt.objects.select_related("delivery").get(pk=receipt.pk), with_answer=True
        )
    assert said is not None

    client = in_language(make_superuser(), "en")
    page = client.get(make_addresses(delivery, receipt)["receipt"]).content.decode()
    listed = client.get(reverse("admin:notifications_receipt_changelist")).content.decode()

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
    update_delivery(delivery, **{"status": "failed", **fields})

    with translation.override("en"):
        found = explanations.explain_delivery(delivery, with_answer=True)

    assert found is not None
    assert found.what.startswith(what)
    assert found.raw == fields["error"]
    assert found.who
    assert found.where


def test_what_arrived_has_no_failure(delivery: Delivery, receipt: Receipt) -> None:
    update_delivery(delivery, status="accepted", errcode=0, error="")

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

    for url in [*make_addresses(delivery, receipt).values(), *of_subscription]:
        assert "“北山制造”: server address refused" in client.get(url).content.decode(), url
        assert "server address refused" not in elsewhere.get(url).content.decode(), url

    update_delivery(delivery, status="accepted")
    assert "server address refused" not in client.get(make_addresses(delivery, receipt)["run"]).content.decode()


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_person(corp, "Owner")


PLAIN = {"settled_at": NOW, "recipient_count": 1, "invalid_count": 0, "unlicensed_count": 0}


def render_subscription(*people: User, **fields: Any) -> Run:
    run = make_run(make_subscription(*people, **fields))
    render_run(run_id=run.pk, now=NOW)
    run.refresh_from_db()
    return run


def end_run(run: Run, *deliveries: dict[str, Any]) -> Run:
    """Give the run these deliveries, run the sweep, and return the finished run."""
    original = Delivery.objects.get(run=run)
    for number, fields in enumerate(deliveries):
        original.pk, original.mark = (original.pk if number == 0 else None), f"{run.pk}-{number}"
        for name, value in {**PLAIN, **fields}.items():
            setattr(original, name, value)
        original.save()
    maintenance.sweep_deliveries(now=NOW)
    run.refresh_from_db()
    assert run.status == Run.Status.FINISHED
    return run


def make_notices() -> list[Run]:
    return list(Run.objects.filter(pk__in=request_owner_notices(now=NOW)))


@pytest.mark.parametrize(
    ("deliveries", "sentence"),
    [
        ([{"status": "failed", "recipient_count": 3}], "3 个接收人被拒绝。"),
        ([{"status": "failed"}, {"status": "accepted"}], "1 个接收人被拒绝。"),
        ([{"status": "canceled", "recipient_count": 2}], "已过期，未发给 2 个接收人。"),
        ([{"status": "unknown"}, {"status": "accepted"}], "1 个接收人结果未知，不确定是否收到。"),
        (
            [{"status": "failed"}, {"status": "canceled"}, {"status": "unknown", "recipient_count": 7}],
            "1 个接收人被拒绝。 已过期，未发给 1 个接收人。 7 个接收人结果未知，不确定是否收到。",
        ),
        # WeCom named all recipients as invalid.
        ([{"status": "failed", "invalid_count": 1}], "没有送达任何人：原因见送达明细。"),
        (
            [{"status": "accepted", "recipient_count": 2, "invalid_count": 1, "unlicensed_count": 1}],
            "没有送达任何人：原因见送达明细。",
        ),
        ([{"status": "accepted"}], ""),
        # Whom WeCom names is no loss while others got it.
        ([{"status": "accepted", "recipient_count": 100, "invalid_count": 2, "unlicensed_count": 3}], ""),
        # Personal messages: somebody is always invalid in a large company.
        ([{"status": "failed", "invalid_count": 1}, {"status": "accepted"}], ""),
        # The only recipient of a delivery has left meanwhile.
        ([{"status": "canceled", "recipient_count": 0}, {"status": "accepted"}], ""),
    ],
)
def test_a_run_that_lost_somebody_says_so_and_its_owner_is_notified(
    deliveries: list[dict[str, Any]], sentence: str, owner: User
) -> None:
    run = end_run(render_subscription(owner, owner=owner), *deliveries)

    assert run.error_text == sentence
    assert [list(notice.notified_runs.all()) for notice in make_notices()] == ([[run]] if sentence else [])
    assert make_notices() == []


def test_a_content_that_wecom_refuses_is_reported_all_the_way(
    corp: Corp, owner: User, wire: WeComStub, clock: FakeClock
) -> None:
    run = render_subscription(owner, *make_people(corp, 4), owner=owner, name="周报")
    wire.sends.append(errcode(40058))
    assert send_delivery(Delivery.objects.get().pk, clock=clock)

    maintenance.sweep_deliveries(now=clock.now)
    [notice] = make_notices()
    render_run(run_id=notice.pk, now=NOW)

    delivery = Delivery.objects.get(run=notice)
    assert delivery.title == "1 次推送未送达所有人"
    assert "“周报”" in delivery.text
    assert "5 个接收人被拒绝。" in delivery.text
    assert delivery.link == reverse("admin:notifications_run_change", args=[run.pk])


def test_what_was_recalled_or_paused_is_no_news(owner: User, clock: FakeClock) -> None:
    recalled = render_subscription(owner, owner=owner)
    recall.request_recall(recalled, person=make_superuser(), now=NOW)
    paused = render_subscription(owner, owner=owner, lifetime_hours=1, is_paused=True)

    maintenance.sweep_deliveries(now=clock.advance(hours=2))

    recalled.refresh_from_db()
    paused.refresh_from_db()
    assert (recalled.status, recalled.error_text) == (Run.Status.FINISHED, "")
    assert paused.error_text
    assert make_notices() == []


@pytest.mark.parametrize(
    ("number", "error"), [(2, "没有送达任何人：原因见送达明细。"), (0, "没有送达任何人：没有选择接收人。")]
)
def test_a_run_that_reaches_nobody_is_reported(owner: User, number: int, error: str) -> None:
    run = render_subscription(*make_people(make_corp(is_enabled=False), number), owner=owner)

    assert (run.status, run.error_text) == (Run.Status.FINISHED, error)
    assert len(make_notices()) == 1


def test_who_has_paused_it_is_no_loss(corp: Corp, owner: User) -> None:
    person = make_person(corp, "Paused")
    subscription = make_subscription(person, owner=owner)
    SubscriptionChoice.objects.create(
        subscription=subscription, user=person, kind=SubscriptionChoice.Kind.PAUSED, chosen_at=NOW
    )
    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)

    run.refresh_from_db()
    assert (run.status, run.error, Receipt.objects.get().reason) == (Run.Status.FINISHED, "", "paused")
    assert make_notices() == []


def test_many_ended_runs_cost_two_questions(owner: User) -> None:
    runs = [render_subscription(owner) for _ in range(5)]
    Delivery.objects.update(status=Delivery.Status.FAILED)

    with CaptureQueriesContext(connection) as queries:
        found = sum_up_losses([run.pk for run in runs])

    assert len(queries) == 2
    assert set(found) == {run.pk for run in runs}
    assert sum_up_losses([]) == {}


def test_the_administration_points_at_them(owner: User) -> None:
    lost = end_run(render_subscription(owner, owner=owner), {"status": "failed"})
    fine = end_run(render_subscription(owner, owner=owner), {"status": "accepted"})
    Run.objects.update(claimed_at=timezone.now())
    root = client_of(make_superuser())

    index = root.get(reverse("admin:index")).content.decode()
    page = root.get(reverse("admin:notifications_run_change", args=[lost.pk])).content.decode()
    listed = root.get(f"{reverse('admin:notifications_run_changelist')}?reached=not_all&day=week")

    assert "过去 24 小时有 1 次执行未送达所有人" in index
    assert '<span class="pill pill-warn">部分送达</span>' in page
    assert "1 个接收人被拒绝。" in page
    english = in_language(make_superuser(), "en").get(reverse("admin:notifications_run_changelist")).content.decode()
    assert "Refused for 1 recipient." in english
    assert [row.pk for row in listed.context["cl"].result_list] == [lost.pk]
    orders = root.get(reverse("admin:notifications_subscription_changelist")).content.decode()
    assert orders.count("部分送达") == 1
    for run, is_lost in ((lost, True), (fine, False)):
        order = root.get(reverse("admin:notifications_subscription_change", args=[run.subscription_id]))
        assert ("部分送达" in order.content.decode()) == is_lost


TODAY = timezone.now()


def make_incident(**fields: Any) -> Incident:
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), TODAY)
    return Incident.objects.create(**({"key": "k", "title": "销售额过低"} | times | fields))


def make_alert(kind: str, *incidents: Incident) -> Run:
    times = dict.fromkeys(("slot_at", "claimed_at", "render_after"), TODAY)
    run = Run.objects.create(key=f"incident:{incidents[0].pk}:{kind}", trigger=Run.Trigger.ALERT, **times)
    for incident in incidents:
        IncidentEvent.objects.create(incident=incident, run=run, kind="notified", notice=kind, at=TODAY)
    return run


@pytest.mark.parametrize(
    ("kind", "chinese", "english"),
    [
        ("fire", "销售额过低 · 触发", "销售额过低 · triggered"),
        ("repeat", "销售额过低 · 重复提醒", "销售额过低 · reminder"),
        ("recover", "销售额过低 · 恢复", "销售额过低 · recovered"),
    ],
)
def test_an_alert_is_named_by_its_title_and_what_happened(kind: str, chinese: str, english: str) -> None:
    run = make_alert(kind, make_incident())

    found = {}
    for language in ("zh-hans", "en"):
        with translation.override(language):
            found[language] = name_run(run)

    assert found == {"zh-hans": chinese, "en": english}


def test_storms_notices_and_what_is_gone_are_named_without_a_key() -> None:
    channel = make_alert_channel(name="机房")
    storm = make_alert("fire", make_incident(key="a", channel=channel), make_incident(key="b", channel=channel))
    times = dict.fromkeys(("slot_at", "claimed_at", "render_after"), TODAY)
    alert, notice, push = (
        Run.objects.create(key=f"{trigger}:1", trigger=trigger, **times) for trigger in ("alert", "notice", "schedule")
    )
    owner = make_person(name="李雷", username="lilei")
    told = Run.objects.create(key="notice:2", trigger="notice", requested_by=owner, **times)

    assert [name_run(run) for run in (storm, alert, notice, push, told)] == [
        "机房：2 条预警 · 触发",
        "已删除的预警",
        "通知负责人",
        "已删除的推送",
        "通知负责人：李雷 (lilei)",
    ]


def test_names_of_many_take_two_queries(django_assert_num_queries: Any) -> None:
    runs = [make_alert("fire", make_incident(key=f"k{number}")) for number in range(5)]
    runs.append(make_run(make_subscription(name="日报")))

    with django_assert_num_queries(2):
        found = name_runs(runs)

    assert list(found.values()) == ["销售额过低 · 触发"] * 5 + ["日报"]


def test_lists_and_pages_show_names_and_no_key() -> None:
    client, run = client_of(make_superuser()), make_alert("fire", make_incident())
    page_url = reverse("admin:notifications_run_change", args=[run.pk])

    listed = client.get(reverse("admin:notifications_run_changelist"))
    page = client.get(page_url).content.decode()
    found = client.get(reverse("admin:search"), {"q": "销售额"})

    assert f'<a href="{page_url}">销售额过低 · 触发 ' in found.content.decode()
    assert "销售额过低 · 触发" in listed.content.decode()
    assert run.key not in listed.content.decode() + found.content.decode()
    # Folded, for supporters.
    before, _summary, behind = page.partition('<details class="module log-technical" data-key="facts">')
    assert (before.count(run.key), behind.count(run.key)) == (0, 1)
