"""The receipts as a file, and people without an interface licence end to end: the sandbox names them, every page and
the file say it."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import escape
from django.utils.translation import gettext

from accounts.models import User
from integrations.clients.wecom import errcodes
from notifications.delivery.explanations import NO_LICENCE
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.send import send_deliveries
from notifications.models import Receipt, Run
from tests.notifications.factories import (
    make_corp,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

pytestmark = pytest.mark.django_db
FILE = reverse("admin:notifications_receipt_csv")
LICENCE = errcodes.explain(NO_LICENCE)


@pytest.fixture
def run(running_sandbox: SandboxHandle) -> Run:
    """Sent to two people of the sandbox, of whom one has no licence."""
    seed = company()
    [unlicensed] = [member for member in seed["members"] if member["userid"] == "hanmeimei"]
    unlicensed["unlicensed"] = True
    running_sandbox.load({"companies": [seed]})
    corp = make_corp(corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=running_sandbox.base_url)
    people = [
        make_person(corp, "LiLei", username="lilei", name="=李雷"),
        make_person(corp, "hanmeimei", username="han", name="韩梅梅"),
    ]
    now = timezone.now()
    run = make_run(make_subscription(*people, now=now), now=now)
    ids = render_run(run_id=run.pk, now=now)
    assert send_deliveries(ids, clock=timezone.now, is_stopping=lambda: False) == 1
    assert [len(running_sandbox.messages(CORPID, userid)) for userid in ("lilei", "hanmeimei")] == [1, 0]
    return run


def in_language(person: User, language: str) -> Client:
    client = Client(headers={"host": "localhost:3001", "accept-language": language})
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def rows_of(answer: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_receipt_and_the_file_say_that_somebody_has_no_licence(run: Run, language: str) -> None:
    client = in_language(make_superuser(), language)
    receipt = Receipt.objects.get(run=run, status=Receipt.Status.UNLICENSED)
    with translation.override(language):
        words = [gettext(text) for text in (LICENCE.what, LICENCE.who, LICENCE.where)]
        status, sent = gettext("no licence"), run.deliveries.get().get_status_display()

    page = client.get(reverse("admin:notifications_receipt_change", args=[receipt.pk])).content.decode()
    titles, without, with_licence = rows_of(client.get(FILE, {"run__id__exact": run.pk}))

    assert all(escape(word) in page for word in [*words, status])
    assert len(titles) == len(without)
    assert (without[0], without[2:6]) == ("韩梅梅 (han)", [status, *words])
    # What begins as a formula stays text.
    assert (with_licence[0], with_licence[2:6]) == ("'=李雷 (lilei)", [sent, "", "", ""])


def test_the_file_holds_what_the_list_shows(run: Run) -> None:
    client = in_language(make_superuser(), "en")

    _titles, row = rows_of(client.get(FILE, {"status": "unlicensed"}))

    assert row[0] == "韩梅梅 (han)"
    assert (
        f'href="{FILE}?status=unlicensed"'
        in client.get(reverse("admin:notifications_receipt_changelist"), {"status": "unlicensed"}).content.decode()
    )
