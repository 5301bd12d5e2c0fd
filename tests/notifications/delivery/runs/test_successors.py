"""A successor chosen in advance takes over from an owner who is disabled or leaves, and nobody gains rights by it."""

import json
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.utils import timezone

from accounts.models import AuditEntry, User
from accounts.users.roles import Role
from integrations.models import Card, Corp, DataSource
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.ownership import let_successors_take_over, request_ownership_notices
from notifications.models import AlertRule, ApiToken, Delivery, InboundChannel, Report, Run, Subscription
from notifications.tasks import notify_of_owners
from tests.notifications.admin.conftest import client_of
from tests.notifications.api.conftest import make_token
from tests.notifications.delivery.runs.test_ownership import LATER, make_linked, page_of, save
from tests.notifications.factories import make_corp, make_report, make_subscription
from tests.notifications.inbound.channels import SECRET, call, make_channel

pytestmark = pytest.mark.django_db
MODELS: tuple[Any, ...] = (ApiToken, InboundChannel, Subscription, AlertRule)


@pytest.fixture
def heir(corp: Corp) -> User:
    return make_linked("heir", corp)


@pytest.fixture
def chief(corp: Corp) -> User:
    return make_linked("chief", corp, Role.SYSTEM_ADMINISTRATOR)


@pytest.fixture
def owner(corp: Corp, heir: User) -> User:
    """A push editor who owns a token, two channels, a push and an alert rule; the heir succeeds on all of them."""
    person = make_linked("owner", corp)
    make_token(person, name="仓库", may_send=True, sends_to="corps", reach="subscriptions", expires_at=LATER)
    make_channel(person, name="监控", corp=corp)
    make_channel(person, name="邮件", kind="mail", scheme="password", corp=corp)
    make_subscription(name="日报", owner=person, report=make_report(corp=corp))
    card = Card.objects.create(
        name="销售", source=DataSource.objects.create(name="库", kind="sql", corp=corp), sql="SELECT 1"
    )
    AlertRule.objects.create(name="过低", owner=person, corp=corp, card=card, crontab="*/10 * * * *")
    for model in MODELS:
        model.objects.update(successor=heir)
    return person


def list_owners() -> list[str]:
    return [str(row.owner.username) for model in MODELS for row in model.objects.order_by("pk")]


def make_successor_address(row: Any) -> str:
    return f"/admin/notifications/{row._meta.model_name}/{row.pk}/successor/"


def render_notices() -> dict[str, tuple[str, str]]:
    for run in Run.objects.filter(trigger=Run.Trigger.NOTICE):
        render_run(run_id=run.pk, now=timezone.now())
    return {json.loads(bytes(one.body))["touser"]: (one.title, one.text) for one in Delivery.objects.all()}


def test_where_nobody_may_succeed_the_page_says_so_and_not_that_there_is_nobody(owner: User, chief: User) -> None:
    User.objects.exclude(pk__in=[owner.pk, chief.pk]).update(is_staff=False)

    page = client_of(chief).get(make_successor_address(InboundChannel.objects.first())).text
    Subscription.objects.update(owner=chief)
    User.objects.filter(pk=owner.pk).update(is_staff=False)
    page_of_chief = client_of(chief).get(f"/admin/accounts/user/{chief.pk}/change/").text

    assert "您可见的人中没有人可以接任。" in page
    assert "目前没有可选的人。" in page_of_chief
    for text in (page, page_of_chief):
        assert "还没有人员" not in text


def disable_on_the_page(owner: User, chief: User) -> None:
    assert save(client_of(chief), owner, is_active=None).status_code == 302


def take_away_the_entry(owner: User, chief: User) -> None:
    assert save(client_of(chief), owner, is_staff=None).status_code == 302


def disable_past_every_page(owner: User, chief: User) -> None:
    User.objects.filter(pk=owner.pk).update(is_active=False)
    notify_of_owners()


@pytest.mark.parametrize("disable", [disable_on_the_page, take_away_the_entry, disable_past_every_page])
def test_the_successor_becomes_the_owner_of_each_kind(owner: User, chief: User, disable: Any) -> None:
    assert list_owners() == ["owner"] * 5

    disable(owner, chief)

    assert list_owners() == ["heir"] * 5
    assert [row.successor for model in MODELS for row in model.objects.all()] == [None] * 5
    entries = AuditEntry.objects.filter(model__startswith="notifications.", action="changed")
    assert sorted(
        entry.model.rpartition(".")[2] for entry in entries if ["owner", "owner", "heir"] in entry.changes
    ) == [*("alertrule", "apitoken", "inboundchannel", "inboundchannel", "subscription")]
    names = "API 令牌“仓库”、接入通道“监控”、接入通道“邮件”、推送“日报”、预警规则“过低”"
    text = f"heir作为事先指定的接任人，已从owner接管：{names}。"
    assert render_notices() == dict.fromkeys(["heir", "chief"], ("heir已接管owner的内容", text))
    assert request_ownership_notices(now=timezone.now()) == []


def test_the_page_says_who_takes_over_and_what_they_took(owner: User, chief: User) -> None:
    client = client_of(chief)
    assert "推送“日报” → heir（下方未选择时）" in client.get(page_of(owner)).text
    english = client.get(page_of(owner), headers={"accept-language": "en"}).text
    assert "push “日报” → heir, if nobody is chosen below" in english

    saved = save(client, owner, is_active=None)

    said = [str(one) for one in get_messages(saved.wsgi_request)]
    assert "heir作为事先指定的接任人，已从owner接管" in said[0]


@pytest.mark.usefixtures("undrawn")
def test_the_page_asks_about_what_has_no_successor_alone(owner: User, chief: User) -> None:
    Subscription.objects.update(successor=None)
    client, push = client_of(chief), f"subscription:{Subscription.objects.get().pk}"

    refused = save(client, owner, is_active=None)
    assert refused.context["adminform"].form.errors == {"successor": ["请选择由谁接管此人的内容，或确认可以停止。"]}
    assert list_owners() == ["owner"] * 5
    save(client, owner, is_active=None, taken_over=[push], successor=chief.pk)

    assert list_owners() == ["heir", "heir", "heir", "chief", "heir"]


def test_a_channel_goes_on_with_its_secret_which_the_successor_does_not_see(
    owner: User, heir: User, chief: User
) -> None:
    channel = InboundChannel.objects.get(name="监控")
    digest = channel.digest
    report = Subscription.objects.get().report
    Report.objects.update(picture_bi_id="p1", picture_name="看板", picture_shown_as=owner)

    disable_on_the_page(owner, chief)

    report.refresh_from_db()
    assert report.picture_shown_as is None  # nothing more is shown with the owner's rights
    channel.refresh_from_db()
    assert (channel.owner, channel.digest) == (heir, digest)
    assert call(channel, {"title": "x"}).status_code != 401
    token = ApiToken.objects.get()
    for row in (channel, token):
        page = client_of(heir).get(f"/admin/notifications/{row._meta.model_name}/{row.pk}/change/").text
        assert "负责人" in page
        assert SECRET not in page
        assert token.digest not in page


def test_a_successor_who_may_not_own_it_is_not_used_and_managers_are_told(owner: User, heir: User, chief: User) -> None:
    heir.groups.clear()
    User.objects.filter(pk=owner.pk).update(is_active=False)

    request_ownership_notices(now=timezone.now())

    assert list_owners() == ["owner"] * 5
    assert {name: title for name, (title, _text) in render_notices().items()} == {"chief": "需要有人接管owner的内容"}


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_a_successor_who_was_disabled_too_is_not_used(owner: User, heir: User, change: dict[str, bool]) -> None:
    User.objects.filter(pk=heir.pk).update(**change)
    User.objects.filter(pk=owner.pk).update(is_active=False)

    assert let_successors_take_over() == []

    assert list_owners() == ["owner"] * 5


def test_what_acts_never_gains_rights_by_a_successor_who_rose_meanwhile(owner: User, heir: User) -> None:
    """Former owners may know a token's secret, which would then act with the rights of a superuser."""
    User.objects.filter(pk=heir.pk).update(is_superuser=True)
    User.objects.filter(pk=owner.pk).update(is_active=False)

    let_successors_take_over()

    assert list_owners() == ["owner", "owner", "owner", "heir", "heir"]


def test_what_was_disabled_is_taken_over_too(owner: User, chief: User) -> None:
    for model in (InboundChannel, Subscription, AlertRule):
        model.objects.update(is_enabled=False)
    ApiToken.objects.update(revoked_at=timezone.now())

    disable_past_every_page(owner, chief)

    assert list_owners() == ["owner", *["heir"] * 4]
    names = "接入通道“监控”、接入通道“邮件”、推送“日报”、预警规则“过低”"
    assert render_notices()["heir"][1] == f"heir作为事先指定的接任人，已从owner接管：{names}。"
    assert not InboundChannel.objects.filter(is_enabled=True).exists()


def test_an_owner_who_stays_keeps_everything(owner: User, chief: User) -> None:
    save(client_of(chief), owner, name="别名")

    assert let_successors_take_over() == []

    assert list_owners() == ["owner"] * 5


@pytest.mark.parametrize("model", MODELS)
def test_each_page_leads_to_the_choice_of_the_successor(owner: User, heir: User, model: Any) -> None:
    model.objects.update(successor=None)
    client, row = client_of(owner), model.objects.first()
    page = f"/admin/notifications/{model._meta.model_name}/{row.pk}/change/"
    assert f'接任人：无人 <a href="{make_successor_address(row)}">选择</a>' in client.get(page).text

    answer = client.post(make_successor_address(row), {"successor": heir.pk})

    assert answer.headers["Location"] == page
    row.refresh_from_db()
    assert row.successor == heir
    assert "接任人：heir" in client.get(page).text
    client.post(make_successor_address(row), {"successor": ""})
    row.refresh_from_db()
    assert row.successor is None


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("model", [ApiToken, Subscription])
def test_nobody_is_offered_whom_the_editor_does_not_see_or_who_may_not_own_it(
    owner: User, chief: User, corp: Corp, model: Any
) -> None:
    """Tokens and channels are not handed to anybody with more rights than their owner."""
    reader = make_linked("reader", corp, Role.READ_ONLY)
    elsewhere = make_linked("elsewhere", make_corp(name="别处"))
    gone = make_linked("gone", corp)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    client, row = client_of(owner), model.objects.first()
    model.objects.update(successor=None)
    is_acting = model in (ApiToken, InboundChannel)

    offered = client.get(make_successor_address(row)).context["form"].fields["successor"].queryset

    assert sorted(offered.values_list("username", flat=True)) == (["heir"] if is_acting else ["chief", "heir"])
    for person in (reader, elsewhere, gone, owner, *([chief] if is_acting else [])):
        answer = client.post(make_successor_address(row), {"successor": person.pk})
        assert "successor" in answer.context["form"].errors
    row.refresh_from_db()
    assert row.successor is None


def test_a_successor_whose_companies_do_not_suffice_is_refused(owner: User, heir: User) -> None:
    ApiToken.objects.update(sends_to=ApiToken.SendReach.EVERYONE, successor=None)

    answer = client_of(owner).post(make_successor_address(ApiToken.objects.get()), {"successor": heir.pk})

    assert answer.context["form"].errors == {"successor": ["API 令牌“仓库”的范围超出了heir管理的公司。"]}
    assert ApiToken.objects.get().successor is None


@pytest.mark.usefixtures("undrawn")
def test_another_editor_sees_the_push_but_not_who_succeeds_on_a_channel(owner: User, heir: User) -> None:
    """Being named as successor gives no access before the channel is handed over."""
    assert client_of(heir).get(make_successor_address(Subscription.objects.get())).status_code == 200
    for model in (ApiToken, InboundChannel):
        assert client_of(heir).get(make_successor_address(model.objects.first())).status_code == 404
