"""Intake of mails: the sender, the recipients, and one message for each mail."""

import json
import zlib
from datetime import timedelta
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Attribute, AttributeValue, User, fold_value
from integrations.core.background import database_now
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.inbound.channels import make_digest
from notifications.inbound.content import FILE_BYTES
from notifications.inbound.mail.intake import SIZE_BYTES, Intake
from notifications.inbound.mail.parse import MailRules
from notifications.inbound.mail.server import ReceivedMail, RefusedError, SignIn
from notifications.models import Delivery, InboundCall, InboundChannel, IncomingMessage, OutgoingMail, Run
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.inbound.channels import mail, make_mail_channel, take
from tests.notifications.inbound.mail import senders

pytestmark = pytest.mark.django_db
UNREADABLE = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(3000))


def render_deliveries(run_ids: list[int]) -> list[Delivery]:
    now = database_now()
    for run_id in run_ids:
        render_run(run_id=run_id, now=now)
        assert Run.objects.get(pk=run_id).error_text == ""
    return list(Delivery.objects.order_by("pk"))


def test_a_channel_signs_in_with_its_public_id_with_or_without_a_domain_from_its_networks(corp: Corp) -> None:
    channel, password = make_mail_channel(make_manager(corp), rules=MailRules(networks=("10.1.0.0/16", "fd00::/8")))

    def sign_in(user: str = channel.public_id, password: str = password, address: str = "10.1.2.3") -> SignIn | None:
        return Intake(lambda _ids: None).sign_in(user=user, password=password, address=address)

    assert sign_in() == sign_in(f"{channel.public_id}@wecom.local") == SignIn(channel.pk, channel.digest, "10.1.2.3")
    assert [sign_in(password="x"), *map(sign_in, ("nobody", "", "a\0b"))] == [None] * 4
    assert sign_in(address="fd00::1") is not None
    assert [sign_in(address=address) for address in ("10.2.0.1", "127.0.0.1")] == [None, None]


def test_a_channel_that_is_off_or_a_webhook_or_of_somebody_who_left_does_not(corp: Corp) -> None:
    left = make_manager(corp)
    left.is_active = False
    left.save()
    without_password = InboundChannel.objects.create(name="x", kind="mail", is_enabled=True, owner=make_manager(corp))
    for channel, password in (
        make_mail_channel(make_manager(corp), is_enabled=False),
        make_mail_channel(left),
        make_mail_channel(make_manager(corp), kind="webhook", scheme="bearer"),
        (without_password, ""),
    ):
        sign_in = Intake(lambda _ids: None).sign_in
        assert sign_in(user=channel.public_id, password=password, address="10.0.0.1") is None


@pytest.mark.parametrize(
    "changed", [{"digest": make_digest("new")}, {"mapping": {"networks": ["10.2.0.0/16"]}}, {"is_enabled": False}]
)
def test_who_signed_in_with_what_counts_no_more_sends_no_more(
    corp: Corp, zhang: User, changed: dict[str, object]
) -> None:
    channel, password = make_mail_channel(make_manager(corp))
    intake = Intake(lambda _ids: None)
    signed_in = intake.sign_in(user=channel.public_id, password=password, address="10.1.0.1")
    assert signed_in is not None
    InboundChannel.objects.update(**changed)

    with pytest.raises(RefusedError) as refused:
        intake.accept_mail(signed_in, ReceivedMail("bi@example.com", ("ZhangWei@wecom.local",), mail()))

    assert refused.value.answer.startswith("550 ")
    assert not IncomingMessage.objects.exists()


def test_people_are_named_by_userid_login_id_or_their_own_address(
    corp: Corp, channel: InboundChannel, zhang: User
) -> None:
    login = Attribute.objects.bi_login_ids().get()
    li, wang = make_person(corp, "LiNa"), make_person(corp, "WangWu")
    AttributeValue.objects.create(attribute=login, user=li, value="lina.bi", folded=fold_value("lina.bi"))

    _answer, run_ids = take(
        channel,
        mail(),
        "zhangwei@wecom.local",
        "lina.bi@WECOM.local",
        "ZHANG.WEI@corp.example.com",
        "wangwu@wecom.local",
    )

    message = IncomingMessage.objects.get()
    assert set(message.people.all()) == {zhang, li, wang}
    assert (message.origin, message.channel, message.unknown, len(run_ids)) == ("mail", channel, [], 1)
    (delivery,) = render_deliveries(run_ids)
    assert set(json.loads(bytes(delivery.body))["touser"].split("|")) == {"ZhangWei", "LiNa", "WangWu"}


def test_nobody_is_meant_by_a_name_that_two_have(corp: Corp, channel: InboundChannel, zhang: User) -> None:
    login = Attribute.objects.bi_login_ids().get()
    other = make_person(corp, "Other")
    AttributeValue.objects.create(attribute=login, user=other, value="zhangwei", folded="zhangwei")

    take(channel, mail(), "ZhangWei@wecom.local", "other@wecom.local", "zhangwei@elsewhere.example.com")

    message = IncomingMessage.objects.get()
    assert list(message.people.all()) == [other]
    assert [(one["kind"], one["value"]) for one in message.unknown] == [
        ("account", "ZhangWei"),
        ("email", "zhangwei@elsewhere.example.com"),
    ]


def test_whom_the_owner_may_not_reach_is_as_unknown_as_who_does_not_exist(channel: InboundChannel) -> None:
    make_person(make_corp(), "Foreign")

    foreign, _runs = take(channel, mail(message_id="<1>"), "Foreign@wecom.local")
    nobody, _runs = take(channel, mail(message_id="<2>"), "Nobody@wecom.local")

    assert foreign == nobody == "250 2.0.0 Accepted"
    assert not IncomingMessage.objects.exists()
    assert [one.unknown for one in OutgoingMail.objects.order_by("pk")] == [
        ["Foreign@wecom.local"],
        ["Nobody@wecom.local"],
    ]


def test_a_mail_that_comes_again_is_one_message_and_not_read_again(channel: InboundChannel, zhang: User) -> None:
    answer, run_ids = take(channel, mail(), "ZhangWei@wecom.local")

    assert take(channel, b"Message-ID: <1@bi>\r\n" + UNREADABLE, "ZhangWei@wecom.local") == (answer, [])
    assert (IncomingMessage.objects.count(), Run.objects.count(), len(run_ids)) == (1, 1, 1)


def test_a_sender_that_sends_one_mail_to_each_recipient_reaches_each_once(
    corp: Corp, channel: InboundChannel, zhang: User
) -> None:
    li = make_person(corp, "LiNa")

    take(channel, mail(), "ZhangWei@wecom.local")
    take(channel, mail(), "LiNa@wecom.local")
    take(channel, mail(), "LiNa@wecom.local", "ZhangWei@wecom.local", "Nobody@wecom.local")

    assert [list(one.people.all()) for one in IncomingMessage.objects.order_by("pk")] == [[zhang], [li]]


def test_another_channel_another_message_id_and_other_bytes_without_one_are_another_message(
    corp: Corp, channel: InboundChannel, zhang: User
) -> None:
    second, without_id = make_mail_channel(channel.owner)[0], senders.superset(subject="other")
    for one, content in (
        (channel, mail()),
        (channel, mail(message_id="<2@bi>")),
        (second, mail()),
        (channel, senders.superset()),
        (channel, without_id),
        (channel, without_id),  # the same bytes are the same mail
    ):
        take(one, content, "ZhangWei@wecom.local")

    assert IncomingMessage.objects.count() == 5


def test_the_channel_shows_what_became_of_each_mail(corp: Corp, zhang: User) -> None:
    channel = make_mail_channel(make_manager(corp), daily_limit=1)[0]
    take(channel, mail(message_id="<1>"), "ZhangWei@wecom.local")
    take(channel, mail(message_id="<1>"), "ZhangWei@wecom.local")
    take(channel, mail(message_id="<1>"), "ZhangWei@wecom.local", "ZhangWei@wecom.local")
    take(channel, mail(message_id="<2>"), "Nobody@wecom.local")
    with pytest.raises(RefusedError):
        take(channel, mail(message_id="<3>"), "ZhangWei@wecom.local")

    message = IncomingMessage.objects.get()
    rows = InboundCall.objects.order_by("pk").values_list("outcome", "message", "count")
    assert list(rows) == [
        ("accepted", message.pk, 1),
        ("repeated", None, 2),
        ("refused", None, 1),
        ("refused", None, 1),
    ]


def test_a_dashboard_becomes_a_news_card_and_its_sheet_a_file_and_the_whole_mail_is_kept(
    channel: InboundChannel, zhang: User
) -> None:
    content = senders.guandata()
    _answer, run_ids = take(channel, content, "ZhangWei@wecom.local")
    assert zlib.decompress(bytes(IncomingMessage.objects.get().original)) == content

    card, sheet = render_deliveries(run_ids)
    assert (card.title, card.message_form, card.link) == (
        *("【订阅】销售日报 2026-11-27", "news"),
        "https://bi.example.com/page/p1",
    )
    assert card.text == "您好，您订阅的销售日报已更新：\n\n查看详情"
    assert (sheet.title, sheet.message_form) == ("销售日报.xlsx", "file")


def test_the_channel_says_how_urgent_and_in_which_form(corp: Corp, zhang: User) -> None:
    channel = make_mail_channel(make_manager(corp), form="text", priority=1, lifetime_hours=3)[0]

    _answer, run_ids = take(channel, senders.guandata(), "ZhangWei@wecom.local")

    first = render_deliveries(run_ids)[0]
    assert (first.message_form, first.priority) == ("text", 1)
    assert first.expires_at - Run.objects.get(pk=run_ids[0]).slot_at == timedelta(hours=3)


def test_the_door_lets_a_mail_through_that_carries_the_largest_file() -> None:
    in_base64 = FILE_BYTES * 4 // 3 * 78 // 76  # two characters end each line of 76

    assert in_base64 + 10_000 < SIZE_BYTES


def test_a_mail_costs_as_many_queries_however_many_files_it_has(channel: InboundChannel, zhang: User) -> None:
    """Mails of a channel are stored one after the other, so every query delays the next mail."""
    counts = []
    for name, number in {"first": 1, "one": 1, "five": 5}.items():  # each process queries its own identity once
        message = MIMEMultipart("mixed")
        message["Message-ID"] = f"<{name}@bi>"
        for position in range(number):
            file = MIMEApplication(b"%PDF-1.7 rest", _subtype="pdf")
            file.add_header("Content-Disposition", "attachment", filename=f"{position}.pdf")
            message.attach(file)
        with CaptureQueriesContext(connection) as asked:
            _answer, run_ids = take(channel, senders.as_sent(message), "ZhangWei@wecom.local")
        counts.append(len(asked))
        assert len(run_ids) == number

    assert counts[1] == counts[2]
