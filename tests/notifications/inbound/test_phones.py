"""What the usual senders post, up to the phone: through our address, the engine, and the sandbox's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from notifications.delivery.rendering.render import render_run
from notifications.delivery.sending.uploads import prepare_deliveries
from notifications.inbound.mapping import Mapping
from notifications.models import Delivery, InboundChannel, Run
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.inbound.channels import call, example, preset_channel
from tests.notifications.one_delivery import send_delivery
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox

pytestmark = [pytest.mark.django_db, pytest.mark.processes]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxHandle]:
    with start_sandbox(seed={"companies": [company()]}) as handle:
        yield handle


@pytest.fixture
def people(sandbox: SandboxHandle) -> tuple[User, User]:
    """A manager of the company, and 李雷, whose phone the sandbox has."""
    sandbox.load({"companies": [company()]})
    corp = make_corp(corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=sandbox.base_url)
    return make_manager(corp), make_person(corp, "lilei")


def send_all(clock: FakeClock) -> None:
    clock.now = timezone.now()
    for run in Run.objects.filter(status=Run.Status.WAITING).order_by("pk"):
        render_run(run_id=run.pk, now=clock())
    waiting = list(Delivery.objects.filter(status=Delivery.Status.PREPARING).values_list("pk", flat=True))
    prepare_deliveries(waiting, clock=clock, is_stopping=lambda: False)
    for pk in Delivery.objects.unsettled().order_by("pk").values_list("pk", flat=True):
        clock.advance(seconds=1)
        assert send_delivery(pk, clock=clock)


def shown(message: dict[str, Any]) -> str:
    """The title, or the name of what the message carries."""
    kind = message["msgtype"]
    body = message[kind]
    return str(body.get("title") or body.get("articles", [{}])[0].get("title") or kind)


@pytest.mark.parametrize(
    ("sender", "on_phone"),
    [
        ("grafana", ["[firing] 磁盘使用率过高"]),
        ("alertmanager", ["[resolved] InstanceDown"]),
        ("dolphinscheduler", ["销售数仓 · 每日汇总"]),
        ("jenkins", ["报表发布 #18 FAILURE"]),
        ("gitlab", ["bi/report · pipeline failed"]),
        ("superset", ["每周看板", "file"]),
        ("metabase", ["每月销售"]),
        ("guandata", ["门店日报"]),
    ],
)
def test_what_a_sender_posts_stands_on_the_phone(
    sender: str, on_phone: list[str], people: tuple[User, User], sandbox: SandboxHandle, clock: FakeClock
) -> None:
    owner, person = people
    channel = preset_channel(sender, owner, person)
    if sender == "guandata":  # what is sent is not documented: its fields were picked
        picked = Mapping(title="{{ payload.subscriptionName }}", text="{{ payload.content }}", link_path="pageUrl")
        InboundChannel.objects.update(mapping=picked.document())

    answer = call(channel, *example(sender))
    send_all(clock)

    assert answer.status_code == 202
    assert [shown(message) for message in sandbox.messages(CORPID, "lilei")] == on_phone
    assert {delivery.status for delivery in Delivery.objects.all()} == {Delivery.Status.ACCEPTED}
