"""Callback addresses on a company's page: who sees the keys, where, and what is recorded."""

import re
from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from integrations.models import CallbackEvent, Corp, SiteAddress
from tests.integrations.callback_sender import AES_KEY, ECHO, EVENT_BODY, EVENT_QUERY, TOKEN, post, with_keys
from tests.integrations.pages import messages_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _real_address(db: None) -> None:
    SiteAddress.objects.update(url="https://bi.example.com/")


@pytest.fixture
def corp(corp: Corp) -> Corp:
    return with_keys(corp)


def url(corp: Corp, action: str, kind: str = "app") -> str:
    return reverse(f"admin:integrations_corp_callback_{action}", args=[corp.pk, kind])


def page_of(client: Client, corp: Corp) -> str:
    return client.get(reverse("admin:integrations_corp_change", args=[corp.pk])).content.decode()


def history() -> list[str]:
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def test_keys_are_shown_by_post_alone_and_each_showing_is_noted(admin_client: Client, corp: Corp) -> None:
    for action in ("keys", "generate"):
        link = admin_client.get(url(corp, action))
        assert (link.status_code, TOKEN in link.content.decode()) == (405, False)
    assert admin_client.post(url(corp, "keys", "other")).status_code == 404
    missing = admin_client.post(url(corp, "keys", "contacts"), follow=True)
    assert messages_of(missing) == ["There are no values yet. Generate them first."]
    assert history() == []

    response = admin_client.post(url(corp, "keys"))

    assert response.status_code == 200
    values = dict(re.findall(r'id="callback-([a-z-]+)"[^>]* value="([^"]*)"', response.content.decode()))
    assert values == {"url": f"https://bi.example.com/wecom/{corp.pk}/events/", "token": TOKEN, "aes-key": AES_KEY}
    assert "App management → the app → Receive messages → Set API reception" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert history() == ["Token and EncodingAESKey shown (app)."]
    copied = re.findall(r'data-copy="([\w-]+)"', response.content.decode())
    assert copied == ["callback-url", "callback-token", "callback-aes-key"]
    pages = [reverse(f"admin:integrations_corp_{name}", args=[corp.pk]) for name in ("change", "history")]
    for page in (*pages, url(corp, "state"), reverse("admin:integrations_corp_changelist"), "/admin/"):
        content = admin_client.get(page).content.decode()
        assert TOKEN not in content
        assert AES_KEY not in content


def test_generated_keys_are_noted_and_shown_at_their_own_address_only(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(callback_verified_at=timezone.now())

    response = admin_client.post(url(corp, "generate"), follow=True)

    corp.refresh_from_db()
    assert corp.callback_token != TOKEN
    assert corp.callback_verified_at is None
    assert response.redirect_chain == [(f"/admin/integrations/corp/{corp.pk}/change/#callback", 302)]
    assert messages_of(response) == ["Token and EncodingAESKey are generated. Show them to copy them."]
    assert corp.callback_token not in response.content.decode()
    assert corp.callback_aes_key not in response.content.decode()
    assert history() == ["Token and EncodingAESKey generated (app)."]
    # The contacts assistant has another pair.
    admin_client.post(url(corp, "generate", "contacts"))
    content = admin_client.post(url(corp, "keys", "contacts")).content.decode()
    token = corp.callback_token
    corp.refresh_from_db()
    assert corp.callback_token == token
    assert f'value="{corp.contacts_callback_token}"' in content
    assert f'value="{corp.contacts_callback_aes_key}"' in content
    assert f'value="https://bi.example.com/wecom/{corp.pk}/contacts-events/"' in content
    assert token not in content
    done = [f"Token and EncodingAESKey {what} (contacts assistant)." for what in ("generated", "shown")]
    assert history()[1:] == done


def test_who_asks_for_the_first_pair_replaces_none_that_somebody_made_meanwhile(
    admin_client: Client, corp: Corp
) -> None:
    Corp.objects.update(callback_token="", callback_aes_key="")
    opened = page_of(admin_client, corp)
    with_keys(corp)
    form = opened.split(url(corp, "generate"), 1)[1].split("</form>")[0]
    hidden = dict(re.findall(r'name="(first)" value="([^"]*)"', form))

    response = admin_client.post(url(corp, "generate"), hidden, follow=True)

    corp.refresh_from_db()
    assert (corp.callback_token, corp.callback_aes_key) == (TOKEN, AES_KEY)
    assert messages_of(response) == ["Somebody else saved a pair meanwhile; it was left as it is."]
    assert history() == []


def test_keys_that_no_key_opens_do_not_stop_the_page_and_can_be_replaced(
    admin_client: Client, corp: Corp, settings: Settings
) -> None:
    settings.FIELD_ENCRYPTION_KEYS = ["YW5vdGhlci1rZXktYW5vdGhlci1rZXktYW5vdGhlci0="]

    shown = admin_client.post(url(corp, "keys"))
    admin_client.post(url(corp, "generate"))
    replaced = admin_client.post(url(corp, "keys"))

    assert (shown.status_code, shown["Location"]) == (302, f"/admin/integrations/corp/{corp.pk}/change/#callback")
    assert history() == [f"Token and EncodingAESKey {done} (app)." for done in ("generated", "shown")]
    assert replaced.status_code == 200


def test_the_page_tells_whether_it_is_verified_the_last_event_and_what_was_refused(
    admin_client: Client, corp: Corp
) -> None:
    quiet = page_of(admin_client, corp)
    before = admin_client.get(url(corp, "state")).json()
    Client().get(f"/wecom/{corp.pk}/events/", ECHO)
    after = admin_client.get(url(corp, "state")).json()
    assert (before["is_unfinished"], after["is_unfinished"]) == (True, False)
    assert ">not verified yet<" in before["html"]
    assert ">verified by WeCom<" in after["html"]
    at = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
    CallbackEvent.objects.create(
        corp=corp, kind="app", key="k", event="view", is_event=True, happened_at=at, received_at=at, body="<xml/>"
    )
    for _ in range(2):
        post(f"/wecom/{corp.pk}/events/", EVENT_BODY, {**EVENT_QUERY, "nonce": "1"})

    told = page_of(admin_client, corp)

    assert "Last message or event:" not in quiet
    assert "refused today" not in quiet
    assert 'Last message or event: <time datetime="2026-03-02T09:30:00+08:00">2026-03-02 09:30:00</time>' in told
    assert "2 calls were refused today. If WeCom's console reports a failure" in told
