"""A caller of the HTTP API: a token of a push editor of one company, and that company's subscription."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.users.roles import Role
from integrations.models import Corp
from notifications import tasks
from notifications.api import tokens
from notifications.models import ApiToken, Subscription
from tests.notifications.factories import make_person, make_report, make_subscription
from tests.rows import join

HOST = {"host": "localhost:3001"}


@pytest.fixture(autouse=True)
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The run ids that were handed to a worker."""
    sent: list[int] = []
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda arguments, _named, **_queue: sent.extend(*arguments))
    return sent


@pytest.fixture
def editor(corp: Corp) -> User:
    return make_editor(corp)


@pytest.fixture
def subscription(corp: Corp) -> Subscription:
    report = make_report(corp=corp, title="日报")
    return make_subscription(make_person(corp, "zhang"), report=report, name="每日九点")


def make_editor(*corps: Corp, **fields: Any) -> User:
    """Create a push editor of these companies, or of all companies if none is given."""
    person = make_person(is_staff=True, manages_all_corps=not corps, **fields)
    join(person, "managed_corps", corps)
    join(person, "groups", [Group.objects.get(name=Role.PUSH_EDITOR)])
    return person


def make_token(owner: User, **fields: Any) -> tuple[ApiToken, Caller]:
    """Create a token that reaches everything its owner does, and a client that sends it."""
    corps, subscriptions = fields.pop("corps", ()), fields.pop("subscriptions", ())
    now = timezone.now()
    defaults = {"name": "数据仓库", "reach": "everything", "expires_at": now + timedelta(days=1)}
    token = ApiToken(owner=owner, **{**defaults, **fields})
    secret = tokens.make_secret(token, now=now)
    token.form_key = secret[-32:]
    token.save()
    join(token, "corps", corps)
    join(token, "subscriptions", subscriptions)
    return token, client_with(secret)


@pytest.fixture
def late_web(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web host whose clock is 25 hours behind the database: longer than a message lives."""
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() - timedelta(hours=25))


class Caller(Client):
    """A client that sends no body unless one is given. Django's own client would send an empty form."""

    def post(self, path: Any, data: Any = b"", content_type: str = "application/octet-stream", **more: Any) -> Any:  # type: ignore[override]  # whatever else Django takes is passed on
        return super().post(path, data=data, content_type=content_type, **more)


def client_with(secret: str) -> Caller:
    return Caller(headers={**HOST, "authorization": f"Bearer {secret}"})


@pytest.fixture
def client(editor: User) -> Caller:
    return make_token(editor)[1]
