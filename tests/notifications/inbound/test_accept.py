"""Accepting messages: once, within the sender's rights, and up to the bytes of the message."""

from datetime import timedelta
from typing import Any

import pytest

from integrations.models import Corp
from notifications.delivery.maintenance import purge_runs_and_incidents
from notifications.delivery.rendering.render import render_run
from notifications.inbound import calls
from notifications.inbound.accept import IncomingDraft, accept_message
from notifications.inbound.content import InboundError, check_file
from notifications.inbound.recipients import Address, AddressKind
from notifications.models import ApiToken, Delivery, IncomingMessage, Medium, MessageForm, Receipt, Run
from tests.notifications.delivery.attachments.places import body_of
from tests.notifications.factories import NOW, make_corp, make_manager, make_person
from tests.notifications.inbound.factories import make_incoming, make_sender, png

pytestmark = pytest.mark.django_db

PICTURE, PDF = check_file("看板.png", png(40, 30)), check_file("周报.pdf", b"%PDF-1.7 rest")


@pytest.fixture
def sender(corp: Corp) -> ApiToken:
    return make_sender(make_manager(corp))


def send_message(message: IncomingDraft, *, now: Any = NOW) -> list[Delivery]:
    for run_id in accept_message(message, now=now).run_ids:
        render_run(run_id=run_id, now=now)
        assert Run.objects.get(pk=run_id).error_text == ""
    return list(Delivery.objects.order_by("pk"))


def test_a_message_is_written_with_its_run_its_people_and_its_sender(corp: Corp, sender: ApiToken) -> None:
    zhang = make_person(corp, "ZhangWei")
    addresses = [Address(AddressKind.USER, zhang.username), Address(AddressKind.USERID, "nobody", corp=corp.corpid)]

    accepted = accept_message(make_incoming(sender, addresses=addresses, key="api:1:a", corp=corp), now=NOW)

    message, run = accepted.message, Run.objects.get(pk=accepted.run_ids[0])
    assert (message.title, message.token, message.requested_by, message.person_count) == (
        *("磁盘快满了", sender, sender.owner),
        1,
    )
    assert list(message.people.all()) == [zhang]
    assert message.unknown == [{"kind": "userid", "value": "nobody", "corp": corp.corpid, "reason": "unknown"}]
    assert (run.key, run.trigger, run.message, run.corp, run.api_token, run.requested_by) == (
        *(f"message:{message.pk}", "message", message, corp),
        *(sender, sender.owner),
    )


def test_a_sender_has_its_day_and_no_more(corp: Corp, sender: ApiToken) -> None:
    people = [make_person(corp, f"U{number}") for number in range(3)]
    ApiToken.objects.update(daily_limit=4)
    accept_message(make_incoming(sender, *people), now=NOW)

    with pytest.raises(InboundError) as refused:
        accept_message(make_incoming(sender, *people[:2]), now=NOW)
    accept_message(make_incoming(sender, people[0]), now=NOW)

    # NOW is 09:00:30 in Shanghai.
    assert (refused.value.code, refused.value.retry_after_seconds) == ("daily_limit_reached", 15 * 3600 - 30)
    accept_message(make_incoming(sender, *people), now=NOW + timedelta(seconds=15 * 3600 - 30))
    assert IncomingMessage.objects.count() == 3


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({}, MessageForm.TEXTCARD),
        ({"text": "剩 5%"}, MessageForm.TEXTCARD),
        ({"text": "很长" * 300}, MessageForm.TEXT),
        ({"text": "**剩** 5%", "markup": "markdown"}, MessageForm.MARKDOWN),
        ({"figures": [("剩余", "5%")]}, MessageForm.TEXT_NOTICE),
        ({"files": [PICTURE]}, MessageForm.IMAGE),
        ({"files": [PICTURE], "text": "见图"}, MessageForm.NEWS),
        ({"files": [PICTURE], "figures": [("剩余", "5%")]}, MessageForm.NEWS_NOTICE),
        ({"files": [PDF]}, MessageForm.FILE),
        ({"files": [PDF], "link": "https://bi.example.test/"}, MessageForm.TEXTCARD),
        ({"files": [PICTURE], "form": "text"}, MessageForm.TEXT),
    ],
)
def test_the_form_is_chosen_by_what_there_is(
    fields: dict[str, Any], form: MessageForm, corp: Corp, sender: ApiToken
) -> None:
    assert accept_message(make_incoming(sender, make_person(corp, "Zhang"), **fields), now=NOW).message.form == form


@pytest.mark.parametrize("form", [value for value in MessageForm if value not in {"xlsx", "csv"}])
def test_every_form_is_sent_also_without_words_picture_and_file(
    form: MessageForm, corp: Corp, sender: ApiToken
) -> None:
    (delivery,) = send_message(make_incoming(sender, make_person(corp, "Zhang"), form=form.value))

    assert (delivery.status, delivery.title) == ("pending", "磁盘快满了")
    assert Run.objects.get().status == Run.Status.SENDING


def test_what_it_says_comes_to_people_who_get_the_same_in_one_call(corp: Corp, sender: ApiToken) -> None:
    people = [make_person(corp, "ZhangWei"), make_person(corp, "LiLei")]
    leaver = make_person(corp, "Gone", is_active=False)

    (delivery,) = send_message(
        make_incoming(sender, *people, leaver, text="剩 5%", link="https://ops.example.test/disk", priority=0)
    )

    assert body_of(delivery)["touser"] == "ZhangWei|LiLei"
    assert body_of(delivery)["textcard"]["description"] == "剩 5%"
    assert (delivery.link, delivery.priority) == ("https://ops.example.test/disk", 0)
    assert delivery.expires_at == NOW + timedelta(hours=24)
    assert list(Receipt.objects.order_by("pk").values_list("user", "status", "reason")) == [
        *((person.pk, "", "") for person in people),
        (leaver.pk, "skipped", "user_disabled"),
    ]


def test_whoever_belongs_to_another_company_than_the_message_is_not_named(corp: Corp, sender: ApiToken) -> None:
    other = make_corp()
    sender.owner.managed_corps.add(other)
    mine, theirs = (
        Address(AddressKind.USER, make_person(one, userid).username) for one, userid in ((corp, "Zhang"), (other, "Li"))
    )

    accepted = accept_message(make_incoming(sender, corp=corp, addresses=[mine, theirs]), now=NOW)

    assert accepted.message.unknown == [{**theirs.to_document(), "reason": "unknown"}]


def test_figures_stand_in_a_card_or_else_in_the_text(corp: Corp, sender: ApiToken) -> None:
    figures = [("剩余", "5%"), ("主机", "db-1")]
    zhang = make_person(corp, "Zhang")

    card, text = (send_message(make_incoming(sender, zhang, figures=figures, form=form))[-1] for form in ("", "text"))

    assert body_of(card)["template_card"]["emphasis_content"] == {"title": "5%", "desc": "剩余"}
    assert text.text == "剩余: 5%\n主机: db-1"


def test_each_further_file_is_a_message_of_its_own(corp: Corp, sender: ApiToken) -> None:
    deliveries = send_message(
        make_incoming(sender, make_person(corp, "Zhang"), text="见附件", files=[PDF, PICTURE, PICTURE, PDF])
    )

    assert [(one.message_form, one.title) for one in deliveries] == [
        *(("news", "磁盘快满了"), ("file", "周报.pdf")),
        *(("image", "看板.png"), ("file", "周报.pdf")),
    ]
    assert {one.status for one in deliveries} == {"preparing"}
    assert [run.key.rpartition(":")[2] for run in Run.objects.order_by("pk")[1:]] == ["1", "2", "3"]
    message = IncomingMessage.objects.get()
    assert set(Run.objects.values_list("message", flat=True)) == {message.pk}
    assert message.person_count == 4


def test_a_message_is_forgotten_after_the_last_of_its_runs_and_after_a_year(corp: Corp, sender: ApiToken) -> None:
    later, person = NOW + timedelta(days=366), make_person(corp, "Zhang")
    files = [check_file(f"{number}.pdf", b"%PDF-1.7 rest") for number in range(2)]
    send_message(make_incoming(sender, person, files=files))
    Run.objects.update(status=Run.Status.FINISHED)

    assert calls.purge_calls(now=later) == 0
    while purge_runs_and_incidents(now=later):
        assert IncomingMessage.objects.count() == 1
    assert calls.purge_calls(now=NOW + timedelta(days=364)) == 0
    assert calls.find_old_messages(later).exists()
    assert calls.purge_calls(now=later) == 1

    assert [model.objects.count() for model in (IncomingMessage, Run, Medium)] == [0, 0, 0]
    assert person.__class__.objects.filter(pk=person.pk).exists()
