"""Messages and whole runs sent again or taken back from their pages and from the list."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User
from integrations.models import Corp
from notifications.delivery import maintenance
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt, Run
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import NOW, make_person, make_report, make_run, make_subscription, make_superuser
from tests.notifications.one_delivery import claim_delivery

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]
LIST = "/admin/notifications/delivery/"


@pytest.fixture
def run(corp: Corp) -> Run:
    """A run of one push with two messages: one to lilei and han, one to jim."""
    people = [make_person(corp, userid) for userid in ("lilei", "han", "jim")]
    run = make_run(make_subscription(*people, report=make_report(corp=corp)))
    render_run(run_id=run.pk, now=NOW)
    other = Delivery.objects.get()
    other.pk, other.mark, other.recipient_count = None, "b" * 32, 1
    other.save()
    Receipt.objects.filter(address__endswith=":jim").update(delivery=other)
    Delivery.objects.exclude(pk=other.pk).update(recipient_count=2)
    run.refresh_from_db()
    return run


@pytest.fixture
def first(run: Run) -> Delivery:
    return Delivery.objects.earliest("pk")


def page(name: str, *deliveries: Delivery) -> str:
    return reverse(f"admin:notifications_delivery_{name}", args=[",".join(str(one.pk) for one in deliveries)])


def one_page(delivery: Delivery) -> str:
    return reverse("admin:notifications_delivery_change", args=[delivery.pk])


def change(delivery: Delivery, **fields: Any) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(**fields)
    delivery.refresh_from_db()


def accept(delivery: Delivery, *, hours_ago: int = 0, **fields: Any) -> None:
    settled_at = timezone.now() - timedelta(hours=hours_ago)
    change(delivery, **{"status": "accepted", "settled_at": settled_at, "msgid": "m1", **fields})


def send_again(client: Client, *deliveries: Delivery, **data: Any) -> Any:
    numbers = {f"number-{one.pk}": "1" for one in deliveries}
    return client.post(page("resend", *deliveries), {**numbers, **data})


def receivers(again: Run) -> list[str]:
    render_run(run_id=again.pk, now=NOW)
    found = Receipt.objects.filter(run=again, delivery__isnull=False)
    return sorted(address.partition(":")[2] for address in found.values_list("address", flat=True))


def test_the_people_of_that_message_alone_get_it_again(root: Client, run: Run, first: Delivery) -> None:
    Delivery.objects.update(status="failed")
    assert page("resend", first) in root.get(one_page(first)).content.decode()
    assert "2 人" in root.get(page("resend", first)).content.decode()

    answer = send_again(root, first)

    again = Run.objects.get(resends=run)
    assert answer["Location"] == reverse("admin:notifications_run_change", args=[again.pk])
    assert (again.trigger, again.resends_mark, again.requested_by) == (
        "resend",
        first.mark,
        User.objects.get(is_superuser=True),
    )
    assert receivers(again) == ["han", "lilei"]
    # A message that failed again may be sent again.
    Delivery.objects.filter(run=again).update(status="failed")
    send_again(root, first, **{f"number-{first.pk}": "2"})
    assert receivers(Run.objects.filter(resends=run).latest("pk")) == ["han", "lilei"]


def test_two_clicks_and_two_administrators_send_it_once(root: Client, run: Run, first: Delivery) -> None:
    Delivery.objects.update(status="failed")
    other = client_of(make_superuser())

    answers = [
        send_again(root, first),
        send_again(root, first),
        send_again(other, first, **{f"number-{first.pk}": "2"}),
    ]

    again = Run.objects.get(resends=run)
    assert len({answer["Location"] for answer in answers}) == 1
    assert "只会发送一次" in root.get(answers[1]["Location"]).content.decode()
    assert AuditEntry.objects.filter(note__contains=first.title, object_id=run.pk).count() == 1
    # Once it has gone out, nothing is sent again for the message, nor for its whole run.
    receivers(again)
    assert send_again(root, first, **{f"number-{first.pk}": "2"})["Location"] == one_page(first)
    assert not Receipt.objects.unreached(run, mark=first.mark).exists()
    assert set(Receipt.objects.unreached(run).values_list("delivery__mark", flat=True)) == {"b" * 32}
    assert Run.objects.filter(resends=run).count() == 1


def test_those_of_whom_nobody_knows_need_a_tick(root: Client, run: Run, first: Delivery) -> None:
    change(first, status="unknown")
    assert "with_unknown" in root.get(page("resend", first)).content.decode()

    send_again(root, first, with_unknown="on")

    assert receivers(Run.objects.get(resends=run)) == ["han", "lilei"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "accepted"}, "没有确认未收到的人。"),
        ({"status": "pending"}, "还在发送途中。"),
        ({"status": "failed", "recall_requested_at": NOW}, "已被撤回。"),
        ({"status": "failed", "run__subscription": None}, "不属于任何推送"),
    ],
)
def test_what_cannot_be_sent_again_says_why(root: Client, first: Delivery, fields: dict[str, Any], words: str) -> None:
    Run.objects.filter(pk=first.run_id).update(**{k[5:]: v for k, v in fields.items() if k.startswith("run__")})
    change(first, **{name: value for name, value in fields.items() if not name.startswith("run__")})

    shown = root.get(page("resend", first)).content.decode()
    send_again(root, first)

    assert words in shown
    assert '<button type="submit" class="button default">' not in shown
    assert page("resend", first) not in root.get(one_page(first)).content.decode()
    assert Run.objects.count() == 1


def test_a_waiting_message_is_canceled_and_the_other_goes_out(root: Client, run: Run, first: Delivery) -> None:
    other = Delivery.objects.latest("pk")
    assert page("recall", first) in root.get(one_page(first)).content.decode()

    answer = root.post(page("recall", first))

    assert answer["Location"] == one_page(first)
    first.refresh_from_db()
    assert first.status == "canceled"
    assert claim_delivery(first.pk, now=NOW) is None
    assert claim_delivery(other.pk, now=NOW) is not None
    assert page("recall", first) not in root.get(one_page(first)).content.decode()
    # The run reports no loss, and the rest is not sent again.
    change(other, status="accepted", settled_at=NOW)
    maintenance.sweep_deliveries(now=NOW)
    run.refresh_from_db()
    assert (run.status, run.error) == ("finished", "")
    assert not Receipt.objects.unreached(run).exists()


def test_two_clicks_and_two_administrators_take_it_back_once(root: Client, run: Run, first: Delivery) -> None:
    root.post(page("recall", first))
    first.refresh_from_db()
    when = first.recall_requested_at

    answer = client_of(make_superuser()).post(page("recall", first), follow=True)

    first.refresh_from_db()
    assert first.recall_requested_at == when
    assert "已经提交过" in answer.content.decode()
    assert AuditEntry.objects.filter(object_id=run.pk, note__startswith="撤回").count() == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hours_ago": 25}, "24 小时"),
        ({"msgid": ""}, "重发时才被接受"),
        ({"channel": "email"}, "群机器人消息和邮件发出后无法撤回"),
        ({"recall_requested_at": NOW}, "已经提交过"),
        ({"status": "failed"}, "没有可撤回的"),
    ],
)
def test_what_wecom_does_not_take_back_says_why(
    root: Client, first: Delivery, fields: dict[str, Any], words: str
) -> None:
    accept(first, **fields)
    before = first.recall_requested_at

    shown = root.get(page("recall", first)).content.decode()
    answer = root.post(page("recall", first), follow=True)

    assert words in shown
    assert words in answer.content.decode()
    assert '<button type="submit" class="button default">' not in shown
    first.refresh_from_db()
    assert first.recall_requested_at == before


def run_page(name: str, run: Run) -> str:
    return reverse(f"admin:notifications_run_{name}", args=[run.pk])


@pytest.mark.django_db(transaction=True)
def test_a_whole_run_is_sent_again_once(root: Client, run: Run, enqueued: list[list[int]]) -> None:
    Delivery.objects.update(status="failed")
    address, number = run_page("resend", run), f"number-{run.pk}"
    assert address in root.get(run_page("change", run)).content.decode()
    assert "3 人" in root.get(address).content.decode()
    for not_ours in ("", "x", "²", "-1", "9" * 30):
        assert root.post(address, {number: not_ours}).status_code == 200
    assert Run.objects.count() == 1

    answers = [root.post(address, {number: "1"}) for _twice in range(2)]

    again = Run.objects.get(resends=run)
    assert [answer["Location"] for answer in answers] == [run_page("change", again)] * 2
    assert (enqueued, again.resends_unknown) == ([[again.pk]], False)


def test_a_whole_run_is_taken_back_once(root: Client, run: Run) -> None:
    assert run_page("recall", run) in root.get(run_page("change", run)).content.decode()
    assert root.get(run_page("recall", run)).status_code == 200
    run.refresh_from_db()
    assert (Run.objects.count(), run.recall_requested_at) == (1, None)

    for _twice in range(2):
        root.post(run_page("recall", run))

    assert set(Delivery.objects.values_list("status", flat=True)) == {"canceled"}
    text = root.get(run_page("change", run)).content.decode()
    assert run_page("recall", run) not in text
    assert "撤回" in text


def test_of_several_each_is_done_or_says_why(root: Client, run: Run, first: Delivery) -> None:
    other = Delivery.objects.latest("pk")
    change(other, status="failed")

    for name in ("resend", "recall"):
        chosen = {"action": name, "_selected_action": [first.pk, other.pk]}
        assert root.post(LIST, chosen)["Location"] == page(name, other, first)
    answer = root.post(page("recall", first, other), follow=True)

    assert [str(one) for one in answer.context["messages"]] == [
        "等待中的消息已取消，已发出的正在从企业微信撤回。",
        f"{other.title}: 企业微信没有接受这条消息，没有可撤回的内容。",
    ]
    send_again(root, first, other)
    assert receivers(Run.objects.get(resends=run)) == ["jim"]


@pytest.mark.parametrize("keys", ["x", "0", "1,", "999999999999999999999"])
def test_an_address_that_names_no_message_is_not_found(root: Client, first: Delivery, keys: str) -> None:
    assert root.get(f"{LIST}recall/{keys}/").status_code == 404
