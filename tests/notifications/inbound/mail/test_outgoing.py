"""Mails that the door sends because of a mail: notes to senders about unreached people, and forwarded mails."""

import base64
from collections.abc import Sequence
from datetime import timedelta
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from typing import Any

import pytest
from django.core import mail as outbox
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from pytest_django import Settings

from accounts.models import User
from integrations.core.background import database_clock, database_now
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.inbound.mail import outgoing
from notifications.inbound.mail.parse import MailRules
from notifications.inbound.mail.server import RefusedError
from notifications.models import Delivery, InboundChannel, IncomingMessage, OutgoingMail, Run
from notifications.tasks import TICK
from tests.notifications.factories import make_manager, make_person
from tests.notifications.inbound.channels import mail, make_mail_channel, take
from tests.notifications.inbound.mail import senders
from tools.services import free_port

pytestmark = pytest.mark.django_db


def make_forwarding_channel(corp: Corp, **fields: Any) -> InboundChannel:
    """Create a channel that forwards mails for unknown recipients to partners."""
    rules = MailRules(forward="unknown", mail_domains=("partner.example.com",))
    return make_mail_channel(make_manager(corp), rules=rules, **fields)[0]


def send_outgoing() -> list[str]:
    outbox.outbox.clear()
    clock = database_clock()
    outgoing.send_mails(outgoing.hand_out_mails(now=clock()), clock=clock, is_stopping=lambda: False)
    return [str(one.subject) for one in outbox.outbox]


def settle_runs(run_ids: list[int]) -> None:
    for run_id in run_ids:
        render_run(run_id=run_id, now=database_now())
    Run.objects.update(status=Run.Status.FINISHED)
    Delivery.objects.update(status=Delivery.Status.ACCEPTED)


def test_the_sender_is_told_once_whom_it_did_not_reach(corp: Corp, channel: InboundChannel, zhang: User) -> None:
    barred = make_person(corp, "Gone", name="李四", is_active=False)
    recipients = ("ZhangWei@wecom.local", "Nobody@wecom.local", "Gone@wecom.local")
    _answer, run_ids = take(channel, mail(), *recipients)
    take(channel, mail(), *recipients)
    assert send_outgoing() == []

    settle_runs(run_ids)

    assert send_outgoing() == ["未送达：日报"]
    (sent,) = outbox.outbox
    assert (sent.to, sent.extra_headers["Auto-Submitted"]) == (["bi@example.com"], "auto-replied")
    assert "- Nobody@wecom.local\n- 李四\n" in sent.body
    assert "张伟" not in sent.body
    assert barred.username not in sent.body
    assert send_outgoing() == []

    settle_runs(take(channel, mail(message_id="<everybody>"), "ZhangWei@wecom.local")[1])
    assert send_outgoing() == []
    assert OutgoingMail.objects.latest("pk").status == OutgoingMail.Status.NEEDLESS


@pytest.mark.parametrize(
    ("sender", "lines"),
    [
        ("<>", ()),
        ("bi@example.com", ("Auto-Submitted: auto-generated",)),
        ("bi@example.com", ("List-Id: <x>",)),
        ("not an address", ()),
        ("victim@elsewhere.example.com", ()),
    ],
)
def test_nobody_answers_a_bounce_an_automatic_mail_or_whom_the_channel_does_not_name(
    channel: InboundChannel, sender: str, lines: tuple[str, ...]
) -> None:
    take(channel, mail(lines=lines), "Nobody@wecom.local", sender=sender)

    assert not OutgoingMail.objects.exists()


def test_a_channel_that_tells_nobody_and_one_without_a_mail_server_tell_nobody(
    corp: Corp, channel: InboundChannel, settings: Settings
) -> None:
    take(
        make_mail_channel(make_manager(corp), rules=MailRules(mail_domains=("example.com",)))[0],
        mail(),
        "No@wecom.local",
    )
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    take(channel, mail(), "Nobody@wecom.local")

    assert not OutgoingMail.objects.exists()


def test_what_a_sender_is_told_holds_no_words_that_an_address_can_carry(channel: InboundChannel) -> None:
    take(channel, mail(), '"Locked, see https://evil.example/"@wecom.local', "Nobody@wecom.local")

    send_outgoing()

    assert outbox.outbox[0].body.split("\n")[2:5] == ["- Nobody@wecom.local", "……另有 1 个", ""]


def test_senders_of_a_channel_are_told_so_much_in_an_hour(
    channel: InboundChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "BOUNCES_PER_HOUR", 3)
    for number in range(outgoing.BOUNCES_PER_HOUR + 1):
        take(channel, mail(message_id=f"<{number}>"), "Nobody@wecom.local")
    send_outgoing()
    send_outgoing()

    statuses = sorted(OutgoingMail.objects.values_list("status", flat=True))

    assert statuses == ["failed"] + ["sent"] * outgoing.BOUNCES_PER_HOUR


class DyingBackend(EmailBackend):
    """A worker that is killed once the mail server has the mail."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        super().send_messages(messages)
        raise SystemExit


def test_a_mail_whose_worker_died_behind_the_mail_server_is_not_sent_twice(
    channel: InboundChannel, settings: Settings
) -> None:
    take(channel, mail(), "Nobody@wecom.local")
    kept, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, f"{__name__}.DyingBackend"
    with pytest.raises(SystemExit):
        send_outgoing()
    settings.EMAIL_BACKEND = kept
    later = database_now() + outgoing.LEASE + timedelta(seconds=1)

    handed_out = outgoing.hand_out_mails(now=later)

    row = OutgoingMail.objects.get()
    assert (handed_out, len(outbox.outbox)) == ([], 1)
    assert (row.status, row.error) == ("failed", "it may have been sent, or not")


def test_a_mail_that_the_mail_server_did_not_take_is_tried_again_and_given_up_at_last(
    channel: InboundChannel, settings: Settings
) -> None:
    take(channel, mail(), "Nobody@wecom.local")
    kept, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    send_outgoing()
    assert OutgoingMail.objects.get().status == OutgoingMail.Status.WAITING
    settings.EMAIL_BACKEND = kept
    later = database_now() + timedelta(minutes=2)

    outgoing.send_mails(outgoing.hand_out_mails(now=later), clock=lambda: later, is_stopping=lambda: False)

    assert len(outbox.outbox) == 1
    take(channel, mail(message_id="<2>"), "Nobody@wecom.local")
    OutgoingMail.objects.filter(status="waiting").update(attempt_count=len(outgoing.RETRY_AFTER) + 1)
    assert send_outgoing() == []
    assert OutgoingMail.objects.latest("pk").status == OutgoingMail.Status.FAILED


@pytest.mark.parametrize(
    ("forward", "to"),
    [
        ("", []),
        ("unknown", ["partner@partner.example.com"]),
        ("everybody", ["zhang.wei@corp.example.com", "partner@partner.example.com"]),
    ],
)
def test_a_mail_is_passed_on_to_the_domains_that_the_channel_names(
    corp: Corp, zhang: User, forward: str, to: list[str]
) -> None:
    rules = MailRules(forward=forward, mail_domains=("partner.example.com", "corp.example.com"))
    channel = make_mail_channel(make_manager(corp), rules=rules)[0]
    recipients = ("zhang.wei@corp.example.com", "partner@partner.example.com", "x@other.example.com", "a@wecom.local")

    take(channel, senders.guandata(), *recipients)
    send_outgoing()

    assert sorted(one.to[0] for one in outbox.outbox) == sorted(to)
    for one in outbox.outbox:
        assert one.from_email == "guanwecom@localhost"
        assert one.reply_to == ["bi@example.com"]
        assert {part.get_filename() for part in one.message().walk() if part.get_filename()} == {"销售日报.xlsx"}
        assert "cid:page_image_0" in one.message().as_string()


def test_a_mail_for_outsiders_alone_is_passed_on_once_though_it_becomes_no_message(corp: Corp) -> None:
    channel = make_forwarding_channel(corp)

    take(channel, mail("text for partners"), "a@partner.example.com")

    assert send_outgoing() == ["日报"]
    assert "text for partners" in outbox.outbox[0].body
    assert not IncomingMessage.objects.exists()
    again = outbox.outbox[-1].message().as_bytes()  # the mail that we forwarded comes back
    take(channel, again, "a@partner.example.com")
    assert send_outgoing() == []


def test_mails_passed_on_count_for_the_limit_of_the_day(corp: Corp) -> None:
    channel = make_forwarding_channel(corp, daily_limit=2)
    take(channel, mail(), "a@partner.example.com", "b@partner.example.com")
    take(channel, mail(), "b@partner.example.com", "a@partner.example.com")  # a repeat is not forwarded again

    with pytest.raises(RefusedError) as refused:
        take(channel, mail(message_id="<2>"), "c@partner.example.com")

    assert refused.value.answer.startswith("452 ")
    assert OutgoingMail.objects.count() == 2


def test_html_that_is_passed_on_is_cleaned(corp: Corp) -> None:
    html = (
        '<p onclick="x()">hi</p><script>x()</script><form action="https://evil.example"></form><img src="http://e.x/t">'
    )

    take(make_forwarding_channel(corp), mail(html, lines=("Content-Type: text/html",)), "a@partner.example.com")
    send_outgoing()

    part = next(part for part in outbox.outbox[0].message().walk() if part.get_content_type() == "text/html")
    assert str(part.get_payload()).strip() == "<p>hi</p><img>"


def test_only_what_the_channel_sends_of_a_mail_is_passed_on(corp: Corp) -> None:
    message = MIMEMultipart("mixed")
    message["Message-ID"], message["Subject"] = "<1@bi>", "日报"
    for name, content in (("a.csv", b"city,amount\r\n"), ("b.pdf", senders.pdf()), ("c.exe", b"MZ" * 10)):
        part = MIMEApplication(content)
        part.add_header("Content-Disposition", "attachment", filename=name)
        message.attach(part)
    rules = MailRules(forward="unknown", mail_domains=("partner.example.com",), attachments=("csv", "exe"))
    channel = make_mail_channel(make_manager(corp), rules=rules)[0]

    take(channel, senders.as_sent(message), "a@partner.example.com")
    send_outgoing()

    (sent,) = outbox.outbox
    assert [(one.filename, one.content) for one in sent.attachments] == [("a.csv", b"city,amount\r\n")]
    assert sent.body == "未发送：b.pdf, c.exe"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: image/p\r\n ng\r\nContent-ID: <a>",
        "Content-Type: image/png\r\nContent-ID: <a\r\n X-Evil: b>",
        "Content-Type: image/png\r\nContent-ID: <a\rX-Evil: b>",
        "Content-Type: image/png\r\nContent-ID: <é>",
        "Content-Type: image/é\r\nContent-ID: <a>",
    ],
)
def test_headers_of_a_picture_bring_no_others_into_what_is_passed_on(corp: Corp, head: str) -> None:
    channel = make_forwarding_channel(corp)
    picture = base64.encodebytes(senders.png()).decode().replace("\n", "\r\n")
    content = (
        "Message-ID: <1@bi>\r\nSubject: x\r\nContent-Type: multipart/related; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/html\r\n\r\n<p>hi</p>\r\n"
        f"--b\r\n{head}\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        f"{picture}\r\n--b--\r\n"
    )

    take(channel, content.encode(), "a@partner.example.com")
    send_outgoing()

    said = outbox.outbox[0].message().as_string()
    assert "Content-Type: image/png" in said
    assert "\nX-Evil" not in said
    assert OutgoingMail.objects.get().status == OutgoingMail.Status.SENT


def test_mails_that_became_no_message_are_forgotten(channel: InboundChannel) -> None:
    take(channel, mail(), "Nobody@wecom.local")
    now = database_now()

    TICK.do_steps(now=now + timedelta(days=6))
    assert OutgoingMail.objects.count() == 1
    TICK.do_steps(now=now + timedelta(days=8))
    assert not OutgoingMail.objects.exists()
