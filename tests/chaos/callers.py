"""Impatient people and systems that ask the web for something while it is being broken."""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import requests
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import User
from notifications.api import tokens
from notifications.inbound import channels
from notifications.models import ApiToken, InboundChannel, Subscription
from tests.chaos.orders import administrator

# How often a system repeats a failed call, and how many of its threads call at once.
REPEATS, AT_ONCE = 6, 4


def make_token() -> tuple[ApiToken, str]:
    """Make a token that may do everything. Return it and its secret."""
    now = timezone.now()
    # The database's clock is moved by hours, so the token lasts long.
    lasts = {"expires_at": now + timedelta(days=700), "reach": ApiToken.Reach.EVERYTHING}
    token = ApiToken(name="数据仓库", owner=administrator(), **lasts)
    secret = tokens.make_secret(token, now=now)
    token.form_key = secret[-32:]
    token.save()
    return token, secret


def run_by_hand(web_url: str, order: Subscription) -> str:
    """Run an order in the administration, twice like an impatient person. Return the run's key, or "" after a
    failure."""
    token = uuid.uuid4().hex
    client = Client()
    client.force_login(administrator(), "django.contrib.auth.backends.ModelBackend")
    with requests.Session() as session:
        session.trust_env = False
        session.cookies[settings.SESSION_COOKIE_NAME] = client.cookies[settings.SESSION_COOKIE_NAME].value
        address = f"{web_url}/admin/notifications/subscription/{order.pk}/run/"
        page = session.get(address, timeout=20)
        csrf = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form = {"csrfmiddlewaretoken": csrf, "token": token}
        headers = {"Referer": address, "Origin": web_url}
        answers = [session.post(address, data=form, headers=headers, timeout=20, allow_redirects=False) for _ in "12"]
    return f"manual:{token}" if all(answer.status_code == 302 for answer in answers) else ""


def run_by_key(web_url: str, secret: str, order: Subscription) -> list[int]:
    """Run an order over the API from several threads with one Idempotency-Key. Each repeats until it has an answer.

    Return the ids of the runs in the answers.
    """
    key = f"load-{order.pk}"

    def call() -> int | None:
        address = f"{web_url}/api/v1/subscriptions/{order.pk}/run"
        answer = _answered(lambda: _post(address, secret, {"Idempotency-Key": key}))
        return None if answer is None else int(answer["id"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda _turn: call(), range(AT_ONCE)))
    return [pk for pk in told if pk is not None]


def make_alert_channel(people: list[User]) -> tuple[InboundChannel, str]:
    """Make an inbound channel that opens incidents for these people. Return it and its secret."""
    channel = InboundChannel(name="数据平台", owner=administrator(), is_alert=True, is_enabled=True, gather_seconds=0)
    secret = channels.renew_secret(channel)
    channel.save()
    channel.users.set(people)
    return channel, secret


def hand_in_alert(web_url: str, channel: InboundChannel, secret: str, name: str) -> bool:
    """Hand in one firing alert twice, each until the web accepts it. Return whether it accepted one."""
    moment = timezone.now().isoformat()
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "severity": "critical"},
        "annotations": {"summary": f"{name} 磁盘快满了"},
        "startsAt": moment,
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": uuid.uuid5(uuid.NAMESPACE_URL, name).hex[:16],
    }
    payload = {"version": "4", "status": "firing", "groupKey": name, "receiver": "guanwecom", "alerts": [alert]}
    taken = [_answered(lambda: _post(f"{web_url}/in/{channel.public_id}", secret, json=payload)) for _ in "12"]
    return any(answer is not None for answer in taken)


def _post(address: str, secret: str, headers: dict[str, str] | None = None, json: object = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        bearer = {"Authorization": f"Bearer {secret}", **(headers or {})}
        return session.post(address, headers=bearer, json=json, timeout=8)


def _answered(call: Callable[[], requests.Response]) -> Any:
    """Repeat a call until its answer is 202. Return the answer's document, or None after REPEATS calls."""
    for _ in range(REPEATS):
        try:
            answer = call()
            if answer.status_code == 202:
                return answer.json()
        except requests.RequestException:
            pass
        time.sleep(0.5)
    return None
