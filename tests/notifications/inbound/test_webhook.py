"""Webhooks about settled messages: signed, sent at least once, and given up visibly."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.db import connection
from django.utils import translation

from accounts.models import User
from integrations.core.sentences import translate_stored
from notifications import tasks
from notifications.inbound import webhook
from notifications.inbound.accept import accept_message
from notifications.models import ApiToken, IncomingMessage, Run
from tests.http_server import serve_with_handler
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_manager, make_person
from tests.notifications.inbound.factories import make_incoming, make_sender

pytestmark = pytest.mark.django_db

Callback = IncomingMessage.Callback


class Handler(BaseHTTPRequestHandler):
    """Keeps the calls of a receiver, and answers with its statuses."""

    calls: list[tuple[dict[str, str], bytes]]
    statuses: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.calls.append((dict(self.headers), body))
        self.send_response(self.statuses.pop(0) if self.statuses else 204)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None: ...


@dataclass
class Receiver:
    """The receiver of webhooks. It answers with `statuses`, then with 204."""

    url: str
    calls: list[tuple[dict[str, str], bytes]]
    statuses: list[int]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.DATA_ALLOW_LOOPBACK = True
    found = Receiver("", [], [])
    with serve_with_handler(Handler, calls=found.calls, statuses=found.statuses) as port:
        found.url = f"http://127.0.0.1:{port}/told?key=hush"
        yield found


@pytest.fixture
def sender() -> ApiToken:
    owner = make_manager(make_corp())
    owner.is_superuser = True
    owner.save()
    return make_sender(owner, allows_private_addresses=True, sends_to="everyone")


def make_settled_message(sender: ApiToken, url: str) -> IncomingMessage:
    """Create a message whose runs have all ended."""
    corp = sender.owner.managed_corps.get()
    message = accept_message(make_incoming(sender, make_person(corp, "Zhang"), callback_url=url), now=NOW).message
    Run.objects.update(status=Run.Status.FINISHED, finished_at=NOW, recipient_count=2, skipped_count=1)
    return message


def read_callback(message: IncomingMessage) -> tuple[str, int, str]:
    message.refresh_from_db()
    with translation.override("en"):
        return message.callback_state, message.callback_count, message.callback_error_text


def call_back(message: IncomingMessage, clock: FakeClock) -> None:
    webhook.call_back_senders([message.pk], clock=clock, is_stopping=lambda: False)


def test_a_message_is_told_once_signed_when_every_run_has_ended(
    sender: ApiToken, receiver: Receiver, clock: FakeClock
) -> None:
    message = make_settled_message(sender, receiver.url)
    Run.objects.update(status=Run.Status.SENDING)
    assert webhook.hand_out_callbacks(now=NOW) == []
    call_back(message, clock)
    assert receiver.calls == []
    Run.objects.update(status=Run.Status.FINISHED)

    assert webhook.hand_out_callbacks(now=NOW) == [message.pk]
    call_back(message, clock)
    call_back(message, clock)

    ((headers, body),) = receiver.calls
    assert json.loads(body) == {
        "event": "message.settled",
        "message_id": message.pk,
        "created_at": "2026-11-24T01:00:30+00:00",
        "settled_at": "2026-11-24T01:00:30+00:00",
        "counts": {"recipients": 2, "skipped": 1, "accepted": 0, "refused": 0, "unknown": 0},
        "unknown_recipients": 0,
    }
    stamp = headers["X-Guanwecom-Timestamp"]
    mac = hmac.new(sender.signing_secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert (stamp, headers["X-Guanwecom-Signature"]) == (str(int(NOW.timestamp())), f"sha256={mac}")
    assert read_callback(message) == (Callback.DELIVERED, 1, "")
    assert webhook.hand_out_callbacks(now=NOW + timedelta(days=1)) == []


def test_a_worker_that_dies_leaves_it_to_the_next_one(sender: ApiToken, receiver: Receiver, clock: FakeClock) -> None:
    message = make_settled_message(sender, receiver.url)

    assert webhook.hand_out_callbacks(now=NOW) == [message.pk]  # and its worker dies
    assert webhook.hand_out_callbacks(now=NOW + timedelta(seconds=59)) == []
    assert webhook.hand_out_callbacks(now=NOW + webhook.LEASE) == [message.pk]
    for is_stopping, count in ((True, 0), (False, 1)):
        webhook.call_back_senders([message.pk], clock=clock, is_stopping=lambda: is_stopping)  # noqa: B023  # called at once
        assert len(receiver.calls) == count


def test_it_is_tried_again_with_longer_and_longer_waits_and_given_up_visibly(
    sender: ApiToken, receiver: Receiver, clock: FakeClock
) -> None:
    message, waits = make_settled_message(sender, receiver.url), []
    receiver.statuses += [500] * (len(webhook.WAITS_MINUTES) + 1)

    while webhook.hand_out_callbacks(now=clock.now):
        call_back(message, clock)
        message.refresh_from_db()
        if message.callback_after is not None:
            waits.append((message.callback_after - clock.now).total_seconds() / 60)
            clock.now = message.callback_after

    assert waits == [*webhook.WAITS_MINUTES]
    assert len(receiver.calls) == len(waits) + 1
    assert read_callback(message) == (Callback.GIVEN_UP, 9, "It answered with the status 500.")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, "It answered with a redirect, which is not followed."),
        (401, "It refused the call (401 or 403)."),
        (404, "Nothing is at its address (404)."),
        (429, "It is busy (429)."),
        (422, "It answered with the status 422."),
    ],
)
def test_each_refusal_is_said_in_words(
    status: int, error: str, sender: ApiToken, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.statuses.append(status)
    message = make_settled_message(sender, receiver.url)

    call_back(message, clock)

    assert read_callback(message) == (Callback.WAITING, 1, error)


def test_an_address_in_the_internal_network_needs_a_token_that_may_go_there(
    sender: ApiToken, receiver: Receiver, clock: FakeClock, settings: Any
) -> None:
    """Requires that the token's owner is a superuser and the setting allows it, too."""
    message = make_settled_message(sender, receiver.url)

    settings.DATA_ALLOW_LOOPBACK = False
    call_back(message, clock)
    settings.DATA_ALLOW_LOOPBACK = True
    ApiToken.objects.update(allows_private_addresses=False)
    call_back(message, clock)
    ApiToken.objects.update(allows_private_addresses=True)
    User.objects.update(is_superuser=False)
    call_back(message, clock)

    assert receiver.calls == []
    assert read_callback(message) == (Callback.WAITING, 3, "Its address leads where the token's webhooks may not go.")


@pytest.mark.parametrize(
    ("model", "change"), [(ApiToken, {"revoked_at": NOW}), (User, {"is_active": False}), (User, {"is_staff": False})]
)
def test_nothing_is_signed_with_a_token_that_was_ended(
    model: Any, change: dict[str, Any], sender: ApiToken, receiver: Receiver, clock: FakeClock
) -> None:
    message = make_settled_message(sender, receiver.url)
    model.objects.update(**change)

    call_back(message, clock)

    assert receiver.calls == []
    assert read_callback(message) == (
        Callback.GIVEN_UP,
        1,
        "The token was revoked, or its owner may no longer enter the administration.",
    )
    assert webhook.hand_out_callbacks(now=NOW + timedelta(days=2)) == []


def test_a_receiver_that_is_gone_is_told_nothing_of_the_network(
    sender: ApiToken, clock: FakeClock, settings: Any
) -> None:
    settings.DATA_ALLOW_LOOPBACK = True
    message = make_settled_message(sender, "http://127.0.0.1:1/")

    call_back(message, clock)

    assert read_callback(message) == (Callback.WAITING, 1, "There was no answer in time.")


def test_secrets_that_are_lost_or_that_no_key_opens_are_not_used(
    sender: ApiToken, receiver: Receiver, clock: FakeClock
) -> None:
    message = make_settled_message(sender, receiver.url)
    for number, (secret, error) in enumerate(
        (
            ("", "The token has no signing secret, or is gone."),
            ("nonsense", "The signing secret or the address cannot be read with the present keys."),
        )
    ):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE notifications_apitoken SET signing_secret = %s", [secret])

        call_back(message, clock)

        assert (receiver.calls, read_callback(message)) == ([], (Callback.WAITING, number + 1, error))


def test_address_and_error_hold_nothing_of_the_secret_in_the_address(
    sender: ApiToken, receiver: Receiver, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses.append(500)
    message = make_settled_message(sender, receiver.url)

    call_back(message, clock)

    with connection.cursor() as cursor:
        cursor.execute("SELECT callback_url, callback_error FROM notifications_incomingmessage")
        kept = str(cursor.fetchone())
    assert "hush" not in kept + caplog.text + translate_stored(message.callback_error)


def test_the_tick_hands_settled_messages_out(
    sender: ApiToken, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    message, sent = make_settled_message(sender, receiver.url), []
    monkeypatch.setattr(
        tasks.call_back, "apply_async", lambda arguments, _named, **options: sent.append((arguments, options))
    )

    assert tasks.TICK.is_anything_due()
    with django_capture_on_commit_callbacks(execute=True):
        tasks.tick()

    assert sent == [(([message.pk],), {"queue": "data"})]
