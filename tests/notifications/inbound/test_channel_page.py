"""The admin page of an inbound channel: creating it, mapping fields of a received call, and trying it."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications.models import InboundCall, InboundChannel, IncomingMessage
from tests.between import just_before
from tests.browser_form import read_unchanged_form
from tests.notifications.factories import make_corp, make_manager, make_person, make_superuser
from tests.notifications.inbound.channels import call, english_client, make_channel, make_preset_channel, read_example

pytestmark = pytest.mark.django_db
LIST = "/admin/notifications/inboundchannel/"


@pytest.fixture
def root() -> User:
    return make_superuser()


@pytest.fixture
def client(root: User) -> Client:
    return english_client(root)


def page_of(channel: InboundChannel, end: str = "change") -> str:
    return f"{LIST}{channel.pk}/{end}/"


def fill_form(client: Client, channel: InboundChannel, **values: Any) -> dict[str, Any]:
    found = read_unchanged_form(client, page_of(channel))
    return {**found, **values}


def read_preview(client: Client, channel: InboundChannel, **values: Any) -> dict[str, Any]:
    sent = {**fill_form(client, channel), **values}
    state: dict[str, Any] = client.post(page_of(channel, "preview"), sent).json()
    return state


def test_a_new_channel_shows_its_secret_once_and_keeps_its_digest(client: Client, root: User) -> None:
    answer = client.post(f"{LIST}add/", {"name": "Grafana", "kind": "webhook", "preset": "grafana"})

    channel = InboundChannel.objects.get()
    secret = answer.context["secret"]
    page = answer.content.decode()
    assert secret.startswith("gwi_")
    assert secret in page
    assert f"/in/{channel.public_id}" in page
    assert (channel.owner, channel.scheme, channel.is_enabled) == (root, "bearer", False)
    assert (len(channel.digest), channel.secret) == (64, "")
    assert secret not in client.get(page_of(channel)).content.decode()
    assert call(channel, {"title": "x"}, secret=secret).status_code == 202


@pytest.mark.parametrize(("preset", "is_alert"), [("alertmanager", True), ("nightingale", True), ("jenkins", False)])
def test_a_sender_of_alerts_begins_as_one_and_one_that_cannot_sign_has_the_token_in_its_address(
    preset: str, is_alert: bool, client: Client
) -> None:
    answer = client.post(f"{LIST}add/", {"name": "Mine", "kind": "webhook", "preset": preset})

    secret = answer.context["secret"]
    assert InboundChannel.objects.get().is_alert is is_alert
    assert (f"?token={secret}" in answer.content.decode()) is (preset == "jenkins")


@pytest.mark.usefixtures("undrawn")
def test_another_secret_ends_the_one_before_and_another_proof_brings_one(
    client: Client, root: User, zhang: User
) -> None:
    channel = make_channel(root, zhang)

    secret = client.post(page_of(channel, "secret")).context["secret"]

    channel.refresh_from_db()
    assert call(channel, {"title": "x"}).status_code == 401
    assert call(channel, {"title": "x"}, secret=secret).status_code == 202

    answer = client.post(page_of(channel), fill_form(client, channel, scheme="hmac", _enable="1"))

    channel.refresh_from_db()
    assert (channel.scheme, channel.digest, channel.secret) == ("hmac", "", answer.context["secret"])


@pytest.mark.usefixtures("undrawn")
def test_the_page_waits_for_the_first_payload_and_shows_its_fields_the_message_and_its_people(
    client: Client, root: User, zhang: User
) -> None:
    channel = make_preset_channel("guandata", root, zhang)
    InboundChannel.objects.update(is_enabled=False)
    before = read_preview(client, channel)

    call(channel, *read_example("guandata"))
    after = read_preview(
        client, channel, title="{{ payload.subscriptionName }}", text="今日 {{ payload.content }}", is_enabled=""
    )

    assert before["stamp"] == ""
    assert "Nothing came in within the last hour" in before["tree"]
    assert client.get(page_of(channel, "stamp")).json() == {"stamp": after["stamp"]}
    assert 'data-path="subscriptionName"' in after["tree"]
    assert "{{ payload.subscriptionName }}" in after["tree"]
    assert "门店日报" in after["tree"]
    assert "今日 昨日销售额" in after["trial"]
    assert "1 person gets it" in after["trial"]
    assert str(zhang) in after["trial"]
    assert after["parts"]["text"] == [{"text": "今日 "}, {"label": "content", "template": "{{ payload.content }}"}]
    assert not IncomingMessage.objects.exists()


def test_people_chosen_and_not_saved_yet_are_those_whom_the_channel_reaches(
    client: Client, root: User, corp: Corp, zhang: User
) -> None:
    li = make_person(corp, "LiNa")
    channel = make_channel(root, zhang)
    call(channel, {"title": "x", "to": [zhang.username, li.username]})
    field = {"recipient_kind": "user", "recipient_path": "to", "users": [li.pk]}

    trials = {reach: read_preview(client, channel, reach=reach, **field)["trial"] for reach in ("everyone", "chosen")}
    both = read_preview(client, channel, reach="chosen", users=[zhang.pk, li.pk])["trial"]

    assert "2 people get it" in trials["everyone"]
    assert "1 person gets it" in trials["chosen"]
    assert f"Nobody whom the channel reaches: {zhang.username}" in trials["chosen"]
    assert "2 people get it" in both
    channel.refresh_from_db()
    assert channel.reach == "everyone"


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_work_is_refused_with_its_field(client: Client, root: User, zhang: User) -> None:
    channel = make_channel(root, zhang)
    before, form = channel.mapping, fill_form(client, channel, _enable="1")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"title": "{{ payload.a"}, "title"),
        ({"text": "{{ secret }}"}, "text"),
        ({"only_path": "a["}, "only_path"),
        ({"key_path": "nothing_like_it(@)"}, "key_path"),
        ({"recipient_kind": "email"}, "recipient_path"),
        ({"recipient_kind": "attribute", "recipient_path": "to"}, "recipient_attribute"),
        ({"figures": "no colon"}, "figures"),
        ({"file_paths": "a..b"}, "file_paths"),
        ({"users": []}, "departments"),
    ]

    for values, problem in cases:
        answer = client.post(page_of(channel), {**form, **values})
        assert answer.status_code == 200
        assert list(answer.context["adminform"].form.errors) == [problem]
    channel.refresh_from_db()
    assert channel.mapping == before


def test_saving_writes_the_mapping_and_enables(client: Client, root: User, zhang: User) -> None:
    channel = make_channel(root, zhang, is_enabled=False)
    values = {
        **{"title": "{{ payload.a }}", "text": "b", "only_path": "state", "only_values": "ok\nwarn"},
        **{"figures": "订单: sum.orders", "file_paths": "pictures[].url", "urgent_values": "Critical"},
    }

    client.post(page_of(channel), fill_form(client, channel, **values, _enable="1"))

    channel.refresh_from_db()
    assert channel.is_enabled
    assert channel.mapping == {
        **{"title": "{{ payload.a }}", "text": "b", "only_path": "state", "only_values": ["ok", "warn"]},
        **{"figures": [["订单", "sum.orders"]], "file_paths": ["pictures[].url"], "urgent_values": ["critical"]},
    }


def test_saving_keeps_what_calls_and_notices_wrote_meanwhile(client: Client, root: User, zhang: User) -> None:
    channel = make_channel(root, zhang)
    changes = {"gather_until": timezone.now(), "last_payload": '{"a": 1}', "last_payload_at": timezone.now()}
    rows = InboundChannel.objects.filter(pk=channel.pk)
    sent = fill_form(client, channel, name="Other name")

    with just_before('UPDATE "notifications_inboundchannel"', lambda: rows.update(**changes)) as updated:
        client.post(page_of(channel), sent)

    assert updated == [1]
    assert rows.values("name", *changes).get() == {"name": "Other name", **changes}


def test_it_is_sent_to_oneself_alone_and_the_log_shows_what_came_in_without_payloads(
    client: Client, root: User, zhang: User
) -> None:
    channel = make_channel(root, zhang)
    call(channel, {"title": "机密内容"})
    call(channel, {"title": "x"}, secret="gwi_wrong")

    client.post(page_of(channel), fill_form(client, channel, _try="1"))
    page = client.get(page_of(channel, "calls")).content.decode()

    assert [list(one.people.all()) for one in IncomingMessage.objects.order_by("pk")] == [[zhang], [root]]
    assert ">done<" in page
    assert "The secret or the signature is missing or wrong." in page
    assert "机密内容" not in page
    assert "gwi_wrong" not in page
    assert InboundCall.objects.count() == 2


def test_a_secret_that_no_key_opens_is_said(client: Client, root: User, zhang: User, settings: Any) -> None:
    channel = make_channel(root, zhang, scheme="hmac")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    page = client.get(page_of(channel)).content.decode()

    assert "What is saved cannot be read with the present keys" in page
    assert call(channel, {"title": "x"}).status_code == 401


@pytest.mark.usefixtures("undrawn")
def test_a_channel_of_a_limited_administrator_is_of_one_company(corp: Corp) -> None:
    client = english_client(make_manager(corp))
    make_corp()

    client.post(f"{LIST}add/", {"name": "Mine", "kind": "webhook", "preset": "other"})

    channel = InboundChannel.objects.get()
    form = client.get(page_of(channel)).context["adminform"].form
    assert channel.corp == corp
    assert list(form.fields["corp"].queryset) == [corp]
    assert form.fields["corp"].required
    assert form.fields["allows_private_addresses"].disabled


@pytest.mark.usefixtures("undrawn")
def test_an_alert_goes_to_the_people_chosen_and_needs_no_text(client: Client, root: User, zhang: User) -> None:
    """Previews each alert of the last call and its recipients."""
    channel = make_preset_channel("alertmanager", root, zhang)
    call(channel, *read_example("alertmanager"))
    sent = fill_form(client, channel, is_alert="on", title="", text="")

    trial = client.post(page_of(channel, "preview"), sent).json()["trial"]
    refused = client.post(page_of(channel), {**sent, "recipient_kind": "user", "recipient_path": "receiver"})
    saved = client.post(page_of(channel), sent)

    assert "<li>etl-3 恢复 · warning · resolved</li>" in trial
    assert "1 person gets it" in trial
    assert refused.context["adminform"].form.errors["recipient_kind"] == ["An alert goes to the people chosen here."]
    assert saved.status_code == 302
    channel.refresh_from_db()
    assert channel.is_alert
