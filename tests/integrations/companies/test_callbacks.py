"""The callback addresses at the wire: WeCom's check, its events, and everybody else."""

import base64
import datetime as dt
import logging
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from integrations import callbacks
from integrations.clients.wecom import callbacks as wire
from integrations.core.client_factory import CALLBACK_COLUMNS
from integrations.models import CallbackEvent, Corp, SiteAddress
from tests.integrations.callback_sender import (
    AES_KEY,
    CORPID,
    ECHO,
    ECHO_ANSWER,
    EVENT_BODY,
    EVENT_ENCRYPTED,
    EVENT_PLAINTEXT,
    EVENT_QUERY,
    OTHER_AES_KEY,
    TOKEN,
    Sender,
    envelope,
    event_xml,
    post,
    with_keys,
)
from tests.notifications.side_by_side import do_at_once

pytestmark = pytest.mark.django_db
Kind = CallbackEvent.Kind
# Shortly after the vectors' times.
NOW = dt.datetime.fromtimestamp(1764000030, dt.UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


@pytest.fixture
def corp(corp: Corp) -> Corp:
    return with_keys(corp)


@pytest.fixture
def path(corp: Corp) -> str:
    return f"/wecom/{corp.pk}/events/"


@pytest.fixture
def contacts(corp: Corp) -> Sender:
    """The contacts assistant, with keys of its own."""
    with_keys(corp, contacts_callback_token="ContactsToken", contacts_callback_aes_key=OTHER_AES_KEY)
    return Sender(f"/wecom/{corp.pk}/contacts-events/", token="ContactsToken", aes_key=OTHER_AES_KEY)


def refused_count(corp: Corp, kind: Kind = Kind.APP) -> int:
    return callbacks.count_refusals(corp_id=corp.pk, kind=kind, now=NOW)


def assert_refused(response: Any) -> None:
    """Assert the one answer to everything that is not WeCom's, or not for us, and that nothing is stored."""
    assert (response.status_code, response.content) == (403, b"")
    assert response["Content-Type"] == "text/plain"
    assert CallbackEvent.objects.count() == 0


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_check_gets_the_plain_message_and_each_address_is_noted_apart(
    path: str, corp: Corp, is_enabled: bool
) -> None:
    """Answer whether or not the corp is enabled."""
    with_keys(corp, is_enabled=is_enabled, contacts_callback_token=TOKEN, contacts_callback_aes_key=AES_KEY)
    times = []
    for address in (path, f"/wecom/{corp.pk}/contacts-events/"):
        response = Client().get(address, ECHO)
        assert (response.status_code, response.content) == (200, ECHO_ANSWER)
        assert response["Content-Type"] == "text/plain"
        assert not response.cookies
        corp.refresh_from_db()
        times.append((corp.callback_verified_at, corp.contacts_callback_verified_at))

    assert times == [(NOW, None), (NOW, NOW)]
    assert post(path, EVENT_BODY, EVENT_QUERY).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [{"msg_signature": "签名"}, {"echostr": ECHO["echostr"].replace("+", " ")}, *({name: ""} for name in ECHO)],
)
def test_a_check_that_is_not_wecom_s_is_refused(path: str, corp: Corp, changes: dict[str, str]) -> None:
    response = Client().get(path, {**ECHO, **changes})

    assert_refused(response)
    assert refused_count(corp) == 1
    corp.refresh_from_db()
    assert corp.callback_verified_at is None


def test_an_event_is_stored_once_and_answered_with_nothing(path: str, corp: Corp) -> None:
    for _repeat in range(3):
        response = post(path, EVENT_BODY, EVENT_QUERY)

        assert (response.status_code, response.content) == (200, b"")
        assert not response.cookies
    event = CallbackEvent.objects.get()
    assert (event.corp, event.kind, event.event, event.is_event) == (corp, "app", "template_card_event", True)
    assert (event.change, event.userid) == ("", "lilei")
    assert event.happened_at == dt.datetime.fromtimestamp(1764000001, dt.UTC)
    assert event.received_at == NOW
    assert event.body == EVENT_PLAINTEXT
    assert wire.parse_callback(event.body.encode()).text("TaskId") == "task-0001"


def test_wecom_s_own_repeats_are_one_event_and_names_are_cut_to_their_columns(path: str) -> None:
    """Recognise repeats by the plaintext, their only common part."""
    sender, plaintext = Sender(path), event_xml(name="e" * 300, ChangeType="c" * 300, UserID="lilei")
    first, second = sender.sealed(plaintext), sender.sealed(plaintext)
    assert first[1] != second[1]

    responses = [post(path, body, query) for query, body in (first, second)]

    assert [response.status_code for response in responses] == [200, 200]
    event = CallbackEvent.objects.get()
    assert (event.event, event.change) == ("e" * 64, "c" * 64)


def test_a_message_is_known_by_its_msgid(path: str) -> None:
    def message(content: str) -> str:
        return (
            f"<xml><ToUserName>{CORPID}</ToUserName><FromUserName>lilei</FromUserName><CreateTime>1764000001"
            f"</CreateTime><MsgType>text</MsgType><Content>{content}</Content><MsgId>7000000000000000001</MsgId>"
            "<AgentID>1000002</AgentID></xml>"
        )

    for content in ("你好", "你好 "):
        Sender(path).post(message(content))

    event = CallbackEvent.objects.get()
    assert (event.event, event.is_event, event.key) == ("text", False, "msg:7000000000000000001")
    assert "你好" in event.body


def test_each_address_and_each_app_of_one_company_has_its_own_event(
    path: str, corp: Corp, contacts: Sender, other_corp: Corp
) -> None:
    with_keys(other_corp, agentid=1000003)
    plaintext = event_xml(ChangeType="delete_user", UserID="lilei")

    Sender(path).post(plaintext)
    contacts.post(plaintext, agentid="")
    Sender(f"/wecom/{other_corp.pk}/events/").post(plaintext)

    assert list(CallbackEvent.objects.values_list("corp", "kind", "change")) == [
        (corp.pk, "app", "delete_user"),
        (corp.pk, "contacts", "delete_user"),
        (other_corp.pk, "app", "delete_user"),
    ]


@pytest.mark.django_db(transaction=True)
def test_deliveries_at_the_same_moment_make_one_row(path: str) -> None:
    statuses: list[int] = []

    do_at_once(*[lambda: statuses.append(post(path, EVENT_BODY, EVENT_QUERY).status_code)] * 4)

    assert statuses == [200, 200, 200, 200]
    assert CallbackEvent.objects.count() == 1


def test_what_is_older_than_what_is_kept_is_answered_and_not_stored(path: str) -> None:
    last_kept = int(NOW.timestamp()) - callbacks.EVENT_DAYS * 24 * 3600

    statuses = [Sender(path).post(event_xml(created_at=at)).status_code for at in (last_kept - 1, last_kept)]

    assert statuses == [200, 200]
    assert CallbackEvent.objects.get().happened_at.timestamp() == last_kept


def store_event(corp: Corp, days: float, number: int, kind: Kind = Kind.APP) -> None:
    at = NOW - dt.timedelta(days=days)
    values = {"event": "view", "is_event": True, "happened_at": at, "received_at": at, "body": "<xml/>"}
    CallbackEvent.objects.create(corp=corp, kind=kind, key=f"sha256:{number}", **values)


def test_old_events_of_an_address_are_deleted_a_few_at_a_time_when_one_arrives(
    path: str, corp: Corp, other_corp: Corp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "DELETED_AT_ONCE", 2)
    for number, days in enumerate([41, 40, 30.1, 29.9, 1]):
        store_event(corp, days, number)
    store_event(other_corp, 40, 10)
    store_event(corp, 40, 11, Kind.CONTACTS)

    def keys() -> set[str]:
        return set(CallbackEvent.objects.filter(event="view").values_list("key", flat=True))

    post(path, EVENT_BODY, EVENT_QUERY)
    assert keys() == {f"sha256:{number}" for number in (2, 3, 4, 10, 11)}
    Sender(path).post(event_xml(ChangeType="delete_user", UserID="lilei"))
    assert keys() == {f"sha256:{number}" for number in (3, 4, 10, 11)}


@pytest.mark.parametrize(
    "changes", [{"msg_signature": "0" * 40}, {"msg_signature": ""}, {"timestamp": "1764000002"}, {"nonce": "998878"}]
)
def test_an_event_with_a_wrong_signature_is_refused(path: str, corp: Corp, changes: dict[str, str]) -> None:
    assert_refused(post(path, EVENT_BODY, {**EVENT_QUERY, **changes}))
    assert refused_count(corp) == 1


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", envelope(EVENT_ENCRYPTED[:-4]), b"<!DOCTYPE xml>" + EVENT_BODY])
def test_a_body_that_is_no_envelope_is_refused(path: str, corp: Corp, body: bytes) -> None:
    assert_refused(post(path, body, EVENT_QUERY))
    assert refused_count(corp) == 1


def test_what_is_sealed_for_another_receiver_is_refused(path: str, corp: Corp, other_corp: Corp) -> None:
    Corp.objects.filter(pk=other_corp.pk).update(callback_token="AnotherToken", callback_aes_key=OTHER_AES_KEY)

    assert_refused(Sender(path, receiveid="ww" + "9" * 16).post(event_xml(), corpid=CORPID))
    assert_refused(Sender(path).post(event_xml(), corpid="ww" + "9" * 16))
    assert refused_count(corp) == 2
    # An app's event at another app's address, at the contacts assistant's, and at one without keys.
    assert_refused(post(f"/wecom/{other_corp.pk}/events/", EVENT_BODY, EVENT_QUERY))
    assert refused_count(other_corp) == 1
    contacts = f"/wecom/{corp.pk}/contacts-events/"
    assert_refused(Client().get(contacts, ECHO))
    with_keys(corp, contacts_callback_token="ContactsToken", contacts_callback_aes_key=OTHER_AES_KEY)
    assert_refused(post(contacts, EVENT_BODY, EVENT_QUERY))
    assert (refused_count(corp), refused_count(corp, Kind.CONTACTS)) == (2, 2)


@pytest.mark.parametrize("corp_id", [0, 987654321, 10**30])
@pytest.mark.parametrize("route", ["events", "contacts-events"])
def test_an_unknown_corp_gets_the_same_answer_and_is_counted_without_its_number(
    valkey_client: Any, db: None, corp_id: int, route: str
) -> None:
    path = f"/wecom/{corp_id}/{route}/"

    assert_refused(Client().get(path, ECHO))
    assert_refused(post(path, EVENT_BODY, EVENT_QUERY))
    kind = Kind.APP if route == "events" else Kind.CONTACTS
    assert callbacks.count_refusals(corp_id=callbacks.NO_CORP, kind=kind, now=NOW) == 2
    assert callbacks.count_all_refusals() == {(callbacks.NO_CORP, kind): 2}
    assert sorted(valkey_client.keys("*callback*")) == [
        b"integrations:callback-refusals",
        f"integrations:callback-refusals:0:{kind}:2025-11-24".encode(),
    ]


def test_a_body_that_is_too_long_is_refused_unread(path: str, corp: Corp) -> None:
    for size in (callbacks.BODY_BYTES_AT_MOST + 1, 3 * 1024 * 1024):
        response = post(path, b"x" * size, EVENT_QUERY)
        assert (response.status_code, response.content) == (413, b"")
    assert refused_count(corp) == 2

    padded = EVENT_BODY + b" " * (callbacks.BODY_BYTES_AT_MOST - len(EVENT_BODY))
    assert post(path, padded, EVENT_QUERY).status_code == 200
    assert CallbackEvent.objects.count() == 1


@pytest.mark.parametrize("method", ["put", "delete", "patch", "head", "options"])
def test_other_methods_are_refused(path: str, method: str) -> None:
    assert getattr(Client(), method)(path).status_code == 405


def test_refusals_are_counted_by_day_and_logged_without_content(
    path: str, corp: Corp, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    with caplog.at_level(logging.DEBUG):
        post(path, EVENT_BODY, {**EVENT_QUERY, "msg_signature": "f" * 40})

    assert f"callback refused corp={corp.pk} kind=app reason=the signature is wrong" in caplog.text
    for secret in (EVENT_ENCRYPTED[:20], "f" * 40, EVENT_QUERY["nonce"], TOKEN, AES_KEY):
        assert secret not in caplog.text
    tomorrow = NOW + dt.timedelta(days=1)
    assert (refused_count(corp), callbacks.count_all_refusals()) == (1, {(corp.pk, "app"): 1})
    assert callbacks.count_refusals(corp_id=corp.pk, kind=Kind.APP, now=tomorrow) == 0
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"  # without Valkey they are refused too
    assert_refused(Client().get(path))
    assert (refused_count(corp), callbacks.count_all_refusals()) == (0, {})


@pytest.mark.parametrize("kind", list(Kind))
def test_generated_keys_are_what_wecom_s_console_takes_and_end_the_former(corp: Corp, path: str, kind: Kind) -> None:
    columns = CALLBACK_COLUMNS[kind]
    before = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    Corp.objects.update(callback_verified_at=before, contacts_callback_verified_at=before)

    callbacks.generate_callback_keys(corp=corp, kind=kind)

    fresh = Corp.objects.get(pk=corp.pk)
    token, aes_key = getattr(fresh, columns.token), getattr(fresh, columns.aes_key)
    assert (len(token), token.isalnum(), token.isascii()) == (32, True, True)
    assert (len(aes_key), aes_key.isalnum(), aes_key.isascii()) == (43, True, True)
    assert len(base64.b64decode(f"{aes_key}=")) == 32
    other = next(one for one in Kind if one != kind)
    assert getattr(fresh, columns.verified_at) is None
    assert getattr(fresh, CALLBACK_COLUMNS[other].verified_at) == before
    assert getattr(corp, columns.token) == token

    callbacks.generate_callback_keys(corp=corp, kind=Kind.APP)
    assert corp.callback_aes_key != aes_key
    assert_refused(Client().get(path, ECHO))


def test_the_two_addresses_and_their_state(path: str, corp: Corp) -> None:
    SiteAddress.objects.update(url="https://bi.example.com/", changed_at=NOW - dt.timedelta(days=1))
    Client().get(path, ECHO, headers={"host": "bi.example.com"})
    post(path, EVENT_BODY, EVENT_QUERY)
    Client().get(path, headers={"host": "bi.example.com"})
    corp.refresh_from_db()

    app, contacts = (callbacks.describe_callback_address(corp, kind, now=NOW) for kind in Kind)

    known = {"has_keys": True, "verified_at": NOW, "is_outdated": False, "last_event_at": NOW, "refused_today": 1}
    assert app == {"kind": Kind.APP, "url": f"https://bi.example.com/wecom/{corp.pk}/events/", **known}
    nothing: dict[str, Any] = {"has_keys": False, "verified_at": None, "last_event_at": None, "refused_today": 0}
    url = f"https://bi.example.com/wecom/{corp.pk}/contacts-events/"
    assert contacts == {**app, "kind": Kind.CONTACTS, "url": url, **nothing}
    SiteAddress.objects.update(url="https://new.example.com/", changed_at=NOW + dt.timedelta(seconds=1))
    assert callbacks.describe_callback_address(Corp.objects.get(), Kind.APP, now=NOW)["is_outdated"]
