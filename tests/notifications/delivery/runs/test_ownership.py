"""Handing over what a person owns, and the warnings to administrators before it stops and when it does."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.users.roles import Role
from integrations.models import Corp
from notifications.admin.push.form import copy_push
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.ownership import (
    NotTheOwnerError,
    end_page_rights,
    find_attentions,
    find_objections,
    find_owned,
    hand_over,
    may_show_as,
    request_ownership_notices,
    show_page_as,
)
from notifications.models import ApiToken, Delivery, InboundChannel, Report, Run, Subscription
from notifications.tasks import notify_of_owners
from tests.accounts.people import sent_form, with_role
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_push_page import as_browsers_send, change
from tests.notifications.api.conftest import make_token
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_subscription, make_superuser
from tests.notifications.inbound.channels import call, make_channel

pytestmark = pytest.mark.django_db

LATER = timezone.now() + timedelta(days=365)


def make_linked(username: str, corp: Corp, role: Role = Role.PUSH_EDITOR) -> User:
    """Create somebody with this role in the company, and with an account of its WeCom."""
    person = with_role(username, role, corp)
    person.wecom_accounts.create(corp=corp, userid=username, userid_folded=username)
    return person


@pytest.fixture
def leaver(corp: Corp) -> User:
    """A push editor of the company who owns a token, a channel and a push."""
    person = make_linked("leaver", corp)
    make_token(person, name="仓库", may_send=True, sends_to="corps", reach="subscriptions", expires_at=LATER)
    make_channel(person, name="监控", corp=corp, is_enabled=True)
    make_subscription(name="日报", owner=person, report=make_report(corp=corp))
    return person


@pytest.fixture
def chief(corp: Corp) -> User:
    return make_linked("chief", corp, Role.SYSTEM_ADMINISTRATOR)


def page_of(person: User) -> str:
    return f"/admin/accounts/user/{person.pk}/change/"


def save(client: Client, person: User, **changes: Any) -> Any:
    """Submit the person's form with these changes. None stands for a box that is not ticked."""
    sent = {**sent_form(client, page_of(person)), **changes}
    return client.post(page_of(person), {name: value for name, value in sent.items() if value is not None})


def list_owners() -> list[str]:
    rows = (model.objects.get().owner for model in (ApiToken, InboundChannel, Subscription))
    return [row.username for row in rows if row is not None]


def test_the_page_that_disables_somebody_asks_who_takes_over_what_they_own(chief: User, leaver: User) -> None:
    client = client_of(chief)

    response = save(client, leaver, is_active=None)

    assert response.context["adminform"].form.errors == {"successor": ["请选择由谁接管此人的内容，或确认可以停止。"]}
    for name in ("API 令牌“仓库”", "接入通道“监控”", "推送“日报”"):
        assert name in response.text
    leaver.refresh_from_db()
    assert leaver.is_active

    taken = save(client, leaver, is_active=None, successor=chief.pk)

    assert taken.status_code == 302
    leaver.refresh_from_db()
    assert (leaver.is_active, list_owners()) == (False, ["chief"] * 3)


@pytest.mark.usefixtures("undrawn")
def test_what_nobody_takes_over_may_stop_though_somebody_takes_the_rest(chief: User, leaver: User) -> None:
    kept = {"taken_over": [f"subscription:{Subscription.objects.get().pk}"], "successor": chief.pk}
    client = client_of(chief)

    response = save(client, leaver, is_staff=None, **kept)

    assert response.context["adminform"].form.errors == {"successor": ["请选择由谁接管此人的内容，或确认可以停止。"]}
    assert list_owners() == ["leaver"] * 3
    assert save(client, leaver, is_staff=None, lets_stop="on", **kept).status_code == 302
    leaver.refresh_from_db()
    assert (leaver.is_staff, list_owners()) == (False, ["leaver", "leaver", "chief"])


def test_the_page_of_what_is_owned_leads_to_where_it_is_handed_over(chief: User, leaver: User, corp: Corp) -> None:
    mail = make_channel(leaver, name="邮件", kind="mail", scheme="password", corp=corp, is_enabled=True)
    push, token, channel = Subscription.objects.get(), ApiToken.objects.get(), InboundChannel.objects.get(name="监控")
    way = f'leaver · <a href="{page_of(leaver)}#owned">交给他人</a>'
    manager, owner = client_of(chief), client_of(leaver)

    for row in (push, token, channel, mail):
        page = f"/admin/notifications/{row._meta.model_name}/{row.pk}/change/"
        assert way in manager.get(page).text
        own = owner.get(page).text
        assert "负责人" in own
        assert "#owned" not in own
    Subscription.objects.update(is_enabled=False)
    assert way not in manager.get(change(push)).text


def test_one_thing_alone_can_go_to_another_owner_who_stays(chief: User, leaver: User, corp: Corp) -> None:
    editor, push = make_linked("editor", corp), Subscription.objects.get()

    save(client_of(chief), leaver, taken_over=[f"subscription:{push.pk}"], successor=editor.pk)

    assert list_owners() == ["leaver", "leaver", "editor"]


def test_a_channel_that_was_closed_works_again_for_who_took_it_over(chief: User, leaver: User) -> None:
    channel = InboundChannel.objects.get()
    User.objects.filter(pk=leaver.pk).update(is_active=False)
    assert call(channel, {"title": "x"}).status_code == 401

    save(client_of(chief), leaver, successor=chief.pk)

    channel.refresh_from_db()
    assert channel.owner == chief
    assert call(channel, {"title": "x"}).status_code != 401


@pytest.mark.usefixtures("undrawn")
def test_nobody_has_somebody_stronger_take_something_over(chief: User, leaver: User) -> None:
    """People who may renew a channel's secret could act with the stronger person's rights."""
    root = User.objects.create(username="root", is_staff=True, is_superuser=True)
    elsewhere = with_role("elsewhere", Role.PUSH_EDITOR, make_corp(name="别处"))
    keys = [one[0] for one in find_owned(leaver, chief)]
    assert len(keys) == 3

    for person in (root, elsewhere):
        response = save(client_of(chief), leaver, successor=person.pk)
        assert "successor" in response.context["adminform"].form.errors
        assert find_objections(leaver, keys, person, chief) == [f"您不能让{person}接管。"]
    assert list_owners() == ["leaver"] * 3


def test_nobody_takes_over_what_they_may_not_manage(leaver: User, corp: Corp) -> None:
    """Push editors do not see channels of other people, nor pushes of other companies."""
    editor = with_role("editor", Role.PUSH_EDITOR, corp)
    stranger = with_role("stranger", Role.SYSTEM_ADMINISTRATOR, make_corp(name="别处"))

    assert [one[0].split(":")[0] for one in find_owned(leaver, editor)] == ["subscription"]
    assert find_owned(leaver, stranger) == []
    channel = f"inboundchannel:{InboundChannel.objects.get().pk}"
    assert hand_over(leaver, [channel], editor, editor) == 0
    assert "此人名下的内容" not in client_of(editor).get(page_of(leaver)).text


def test_rows_are_locked_while_they_are_handed_over(chief: User, leaver: User) -> None:
    """Makes the second of two who hand over the same thing at once find it gone."""
    keys = [one[0] for one in find_owned(leaver, chief)]

    with CaptureQueriesContext(connection) as queries:
        assert hand_over(leaver, keys, chief, chief) == 3

    locked = [one["sql"] for one in queries if "FOR NO KEY UPDATE" in one["sql"]]
    for table in ("apitoken", "inboundchannel", "subscription", "alertrule"):
        assert sum(f'FOR NO KEY UPDATE OF "notifications_{table}"' in sql for sql in locked) == 1
    assert hand_over(leaver, keys, chief, chief) == 0


def test_nobody_shows_what_they_see_to_recipients_of_a_push_that_they_take_over(chief: User, leaver: User) -> None:
    push = Subscription.objects.get()
    show_in(push.report, picture_shown_as=chief)

    assert hand_over(leaver, [f"subscription:{push.pk}"], chief, chief) == 1

    push.report.refresh_from_db()
    assert push.report.picture_shown_as is None


def test_a_push_without_an_owner_who_can_act_belongs_to_whoever_saves_it(leaver: User) -> None:
    root = make_superuser()
    client, push = client_of(root), Subscription.objects.get()
    User.objects.filter(pk=leaver.pk).update(is_active=False)

    client.post(change(push), as_browsers_send(client, change(push), _disable="1"))

    push.refresh_from_db()
    assert push.owner == root


def test_nothing_goes_to_somebody_with_fewer_rights_than_it_needs(chief: User, leaver: User, corp: Corp) -> None:
    keys = [one[0] for one in find_owned(leaver, chief)]
    reader = make_linked("reader", corp, Role.READ_ONLY)
    channel = f"inboundchannel:{InboundChannel.objects.get().pk}"
    assert find_objections(leaver, [channel], reader, chief) == ["reader无权发送消息，而接入通道“监控”需要发送。"]

    InboundChannel.objects.update(corp=None)
    ApiToken.objects.update(sends_to=ApiToken.SendReach.EVERYONE)

    assert find_objections(leaver, keys, chief, chief) == [
        "API 令牌“仓库”的范围超出了chief管理的公司。",
        "接入通道“监控”的范围超出了chief管理的公司。",
    ]


def test_whoever_owns_something_is_not_deleted(leaver: User) -> None:
    """Tokens and channels would be deleted with their owner."""
    root = User.objects.create(username="root", is_staff=True, is_superuser=True)
    page = f"/admin/accounts/user/{leaver.pk}/delete/"

    assert "接入通道“监控”" in client_of(root).get(page).text
    client_of(root).post(page, {"post": "yes"})

    assert list_owners() == ["leaver"] * 3


def render_notices() -> list[tuple[str, str, str, str]]:
    """Make the due notices and return recipient, title, text and link of each."""
    ids = request_ownership_notices(now=timezone.now())
    for pk in ids:
        render_run(run_id=pk, now=timezone.now())
    rows = Delivery.objects.filter(run__in=ids).order_by("pk")
    return [(json.loads(bytes(one.body))["touser"], one.title, one.text, one.link) for one in rows]


def test_those_who_manage_it_are_told_once_a_month_and_read_it_on_the_overview(chief: User, leaver: User) -> None:
    User.objects.filter(pk=leaver.pk).update(is_active=False)
    names = "API 令牌“仓库”、接入通道“监控”、推送“日报”"
    sentence = f"leaver已停用，其名下有{names}：其中的令牌和通道已停止工作。"

    assert render_notices() == [("chief", "需要有人接管leaver的内容", sentence, f"{page_of(leaver)}#owned")]
    assert render_notices() == []
    assert request_ownership_notices(now=timezone.now() + timedelta(days=32)) != []
    found = find_attentions(chief, timezone.now())
    assert [(one.sentence, one.url, one.tone) for one in found] == [(sentence, f"{page_of(leaver)}#owned", "bad")]
    assert sentence in client_of(chief).get("/admin/").text


def test_the_first_five_of_many_rows_are_named(chief: User, leaver: User, corp: Corp) -> None:
    for number in range(7):
        make_subscription(name=f"周报{number}", owner=leaver, report=make_report(corp=corp))
    User.objects.filter(pk=leaver.pk).update(is_active=False)

    [attention] = find_attentions(chief, timezone.now())

    names = "API 令牌“仓库”、接入通道“监控”、推送“日报”、推送“周报0”、推送“周报1”、…"
    assert attention.sentence == f"leaver已停用，其名下有{names}：其中的令牌和通道已停止工作。"


def test_they_are_told_before_it_stops_when_the_owner_has_left_in_wecom(chief: User, leaver: User) -> None:
    leaver.wecom_accounts.update(userid="", userid_folded="", left_at=timezone.now())

    [(person, _title, text, _link)] = render_notices()

    assert person == "chief"
    assert text.startswith("leaver已离开企业微信或不能再发送，其名下有API 令牌“仓库”")
    assert [one.tone for one in find_attentions(chief, timezone.now())] == ["warn"]


def test_the_owner_of_a_token_is_told_before_it_expires(leaver: User) -> None:
    now = timezone.now()
    ApiToken.objects.update(expires_at=now + timedelta(days=15))
    assert render_notices() == []
    ApiToken.objects.update(expires_at=now + timedelta(days=13))
    token = ApiToken.objects.get()

    day = f"{timezone.localtime(token.expires_at):%Y-%m-%d}"
    sentence = f"API 令牌“仓库”将于 {day} 到期，之后的调用会被拒绝。请新建一个。"
    page = f"/admin/notifications/apitoken/{token.pk}/change/"
    assert render_notices() == [("leaver", "API 令牌即将到期", sentence, page)]
    assert render_notices() == []
    assert [(one.sentence, one.url) for one in find_attentions(leaver, now)] == [(sentence, page)]


def test_what_is_in_order_or_not_in_use_is_not_told(chief: User, leaver: User) -> None:
    assert request_ownership_notices(now=timezone.now()) == []
    User.objects.filter(pk=leaver.pk).update(is_active=False)
    ApiToken.objects.update(revoked_at=timezone.now())
    InboundChannel.objects.update(is_enabled=False)
    Subscription.objects.update(is_enabled=False)

    notify_of_owners()

    assert not Run.objects.exists()
    assert find_attentions(chief, timezone.now()) == []


def test_nobody_hears_of_it_who_may_not_hand_it_over(leaver: User, corp: Corp) -> None:
    User.objects.filter(pk=leaver.pk).update(is_active=False)
    reader = with_role("reader", Role.READ_ONLY, corp)
    stranger = with_role("stranger", Role.SYSTEM_ADMINISTRATOR, make_corp(name="别处"))
    make_person(corp, "nobody")

    assert request_ownership_notices(now=timezone.now()) == []
    assert [find_attentions(one, timezone.now()) for one in (reader, stranger)] == [[], []]


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_person(corp, "Owner", name="李雷")


@pytest.fixture
def other(corp: Corp) -> User:
    return make_person(corp, "Other", name="韩梅梅")


@pytest.fixture
def report(corp: Corp) -> Report:
    return make_report(corp=corp)


def show_in(report: Report, **fields: Any) -> None:
    """Give the report a page picture."""
    for name, value in {"picture_bi_id": "p1", "picture_name": "销售看板", **fields}.items():
        setattr(report, name, value)
    report.save()


def test_the_owner_of_all_pushes_may_show_what_they_see_and_nobody_else(
    report: Report, owner: User, other: User
) -> None:
    assert may_show_as(Report(), owner)  # the author of a new report
    make_subscription(owner=owner, report=report)
    show_in(report, picture_ended_at=NOW)
    with pytest.raises(NotTheOwnerError):
        show_page_as(report, other)

    show_page_as(report, owner)

    report.refresh_from_db()
    assert (report.picture_shown_as, report.picture_ended_at) == (owner, None)
    make_subscription(owner=other, report=report)  # a second push of the same content
    with pytest.raises(NotTheOwnerError):
        show_page_as(report, owner)
    owner.is_active = False
    assert not may_show_as(Report(), owner)


def test_it_ends_when_somebody_else_edits_and_the_owner_is_told(report: Report, owner: User, other: User) -> None:
    push = make_subscription(owner=owner, report=report, name="每日九点")
    show_in(report, picture_shown_as=owner)
    assert end_page_rights(report, by=owner, now=NOW) == []  # it stays after the owner's own edit
    assert Report.objects.get().picture_shown_as == owner

    [notice_id] = end_page_rights(report, by=other, now=NOW)

    report.refresh_from_db()
    assert (report.picture_shown_as, report.picture_ended_by, report.picture_ended_at) == (None, other, NOW)
    render_run(run_id=notice_id, now=NOW)
    delivery = Delivery.objects.get()
    assert "韩梅梅" in delivery.text
    assert "每日九点" in delivery.text
    assert "销售看板" in delivery.text
    assert delivery.link == reverse("admin:notifications_subscription_change", args=[push.pk])
    assert [receipt.user for receipt in delivery.receipts.all()] == [owner]
    assert end_page_rights(report, by=other, now=NOW) == []


def test_a_copy_shows_each_recipient_their_own(report: Report, owner: User) -> None:
    show_in(report, picture_shown_as=owner, picture_width="phone")

    copied = copy_push(make_subscription(owner=owner, report=report), owner=owner)

    new = Report.objects.get(pk=copied.report_id)
    assert new.pk != report.pk
    assert (new.picture_shown_as, new.picture_bi_id, new.picture_width) == (None, "p1", "phone")
