"""The admin pages of a mail channel and of its messages."""

from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags
from pytest_django import Settings

from integrations.core import heartbeats
from integrations.models import Corp, Heartbeat
from notifications.inbound.mail.intake import Intake
from notifications.inbound.mail.parse import EXTENSIONS, MailRules
from notifications.models import InboundChannel, IncomingMessage
from tests.browser_form import read_unchanged_form
from tests.notifications.factories import make_manager, make_person, make_superuser
from tests.notifications.inbound.channels import english_client, make_mail_channel, take
from tests.notifications.inbound.mail import senders

pytestmark = pytest.mark.django_db
LIST = "/admin/notifications/inboundchannel/"


@pytest.fixture
def client() -> Client:
    return english_client(make_superuser())


@pytest.fixture
def channel(corp: Corp) -> InboundChannel:
    return make_mail_channel(make_manager(corp))[0]


def page_of(channel: InboundChannel) -> str:
    return f"{LIST}{channel.pk}/change/"


def save_page(client: Client, channel: InboundChannel, **values: Any) -> Any:
    form = read_unchanged_form(client, page_of(channel))
    return client.post(page_of(channel), {**form, **values})


def read_words(answer: Any) -> str:
    return " ".join(strip_tags(answer.content.decode().replace("<", " <")).split())


def test_a_new_channel_shows_what_is_entered_at_the_sender_and_its_password_once(client: Client) -> None:
    answer = client.post(f"{LIST}add/", {"name": "BI", "kind": "mail", "preset": ""})

    channel, secret = InboundChannel.objects.get(), answer.context["secret"]
    text = read_words(answer)
    assert "Mail server (SMTP) the server on which the mail door runs Port 2525 Encryption none" in text
    assert f"User name {channel.public_id} Recipients loginId@wecom.local, userid@wecom.local" in text
    InboundChannel.objects.update(is_enabled=True)
    sign_in = Intake(lambda _ids: None).sign_in
    assert sign_in(user=channel.public_id, password=secret, address="10.0.0.1") is not None
    html = client.get(page_of(channel)).content.decode()
    assert secret not in html
    assert (channel.scheme, 'name="title"' in html, 'name="daily_limit"' in html) == ("password", False, True)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"MAIL_DOOR_CERTIFICATE": "/c.pem"}, "Encryption STARTTLS"),
        ({"MAIL_DOOR_CERTIFICATE": "/c.pem", "MAIL_DOOR_TLS_FROM_START": True}, "Encryption SSL/TLS"),
        ({"MAIL_DOOR_DOMAINS": ["push.example.com", "x.example.com"]}, "loginId@push.example.com"),
    ],
)
def test_the_page_says_how_the_door_is_set_up_and_that_it_does_not_run(
    client: Client, channel: InboundChannel, settings: Settings, values: dict[str, Any], word: str
) -> None:
    for name, value in values.items():
        setattr(settings, name, value)

    text = read_words(client.get(page_of(channel)))
    assert word in text
    assert "The mail door is not running" in text
    heartbeats.write_heartbeat(kind=Heartbeat.Kind.MAIL, name="host:1")
    assert "The mail door is not running" not in read_words(client.get(page_of(channel)))


def test_rules_are_written_as_people_write_them(client: Client, channel: InboundChannel) -> None:
    values = {
        "attachments": " .XLSX， pdf;csv  xlsx",
        "footers": "--\r\n 来自观远 \r\n",
        "networks": "10.1.0.0/16\r\nfd00::/8",
        "forward": "unknown",
        "tells_sender": "on",
        "mail_domains": "Partner.example.com",
        "form": "news",
    }

    assert save_page(client, channel, **values).status_code == 302
    assert save_page(client, channel).status_code == 302  # an untouched form changes nothing

    channel.refresh_from_db()
    assert MailRules.from_document(channel.mapping) == MailRules(
        networks=("10.1.0.0/16", "fd00::/8"),
        attachments=("xlsx", "pdf", "csv"),
        footers=("--", "来自观远"),
        tells_sender=True,
        forward="unknown",
        mail_domains=("partner.example.com",),
    )
    assert channel.form == "news"


@pytest.mark.usefixtures("undrawn")
def test_rules_that_cannot_work_are_refused_at_their_field(client: Client, channel: InboundChannel) -> None:
    form = read_unchanged_form(client, page_of(channel))
    cases = [
        ({"attachments": "xlsx, *.exe"}, "attachments"),
        ({"networks": "10.1.0.1/16"}, "networks"),
        ({"networks": "bi.example.com"}, "networks"),
        ({"forward": "everybody"}, "mail_domains"),
        ({"tells_sender": "on"}, "mail_domains"),
        ({"forward": "everybody", "mail_domains": "not a domain!"}, "mail_domains"),
        ({"forward": "somebody"}, "forward"),
    ]

    for values, field in cases:
        answer = client.post(page_of(channel), {**form, **values})
        assert list(answer.context["adminform"].form.errors) == [field]
    channel.refresh_from_db()
    assert channel.mapping == {}
    assert MailRules.from_document(channel.mapping).attachments == EXTENSIONS


def test_superusers_alone_set_the_domains_to_which_mails_may_go(channel: InboundChannel, corp: Corp) -> None:
    channel.mapping = MailRules(mail_domains=("partner.example.com", "x.example.com")).to_document()
    channel.owner, channel.corp = make_manager(corp, permissions="inboundchannel"), corp
    channel.save()
    client = english_client(channel.owner)

    assert save_page(client, channel, forward="everybody", mail_domains="evil.example.com").status_code == 302

    channel.refresh_from_db()
    rules = MailRules.from_document(channel.mapping)
    assert (rules.forward, rules.mail_domains) == ("everybody", ("partner.example.com", "x.example.com"))


def test_whoever_may_only_look_sees_no_rules_and_no_form(channel: InboundChannel, corp: Corp) -> None:
    channel.owner = looker = make_manager(corp, permissions="view_inboundchannel")
    channel.save()

    answer = english_client(looker).get(page_of(channel))

    assert answer.status_code == 200
    assert 'name="footers"' not in answer.content.decode()


@pytest.fixture
def message(channel: InboundChannel, corp: Corp) -> IncomingMessage:
    make_person(corp, "ZhangWei")
    take(channel, senders.guandata(), "ZhangWei@wecom.local", "Nobody@wecom.local", "x@elsewhere.example.com")
    return IncomingMessage.objects.get()


def test_a_message_shows_the_whole_mail_and_whom_it_did_not_find(client: Client, message: IncomingMessage) -> None:
    url = f"/admin/notifications/incomingmessage/{message.pk}"

    text = client.get(f"{url}/change/").content.decode()
    mail = client.get(f"{url}/mail/")

    assert f'<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" src="{url}/mail/"' in text
    assert "account at the mail door" in text
    assert "data:image/png;base64," in mail.content.decode()
    assert (mail["X-Frame-Options"], "sandbox" in mail["Content-Security-Policy"]) == ("SAMEORIGIN", True)
    IncomingMessage.objects.update(origin="api", original=b"")
    assert client.get(f"{url}/mail/").status_code == 404
    assert "iframe" not in client.get(f"{url}/change/").content.decode()
