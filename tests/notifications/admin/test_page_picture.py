"""The picture of a BI page on the page of a push: choosing, saving and showing it, and with whose rights."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User, WeComAccount
from integrations.models import Corp, DataSource, Heartbeat, SourceKind
from notifications.delivery.attachments import read_page_recipe
from notifications.models import Medium, PagePicture, Run, Subscription
from tests.bi import make_bi
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_push_page import ADD, LIST, as_browsers_send, change, listed
from tests.notifications.api.conftest import make_editor
from tests.notifications.factories import make_person, make_report, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
CHOSEN = {"page_picture-0-kind": "page", "page_picture-0-bi_id": "p1", "page_picture-0-name": "销售看板"}


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_editor(corp, name="李雷")


@pytest.fixture
def push(corp: Corp, owner: User) -> Subscription:
    """A push of the owner with a picture that everybody sees with the owner's rights."""
    report = make_report(corp=corp)
    PagePicture.objects.create(report=report, bi_id="p1", name="销售看板", shown_as=owner)
    return make_subscription(make_person(corp, "zhang"), owner=owner, report=report, is_enabled=False)


def saved(client: Client, address: str, **values: Any) -> Any:
    answer = client.post(address, {**as_browsers_send(client, address, _save="1"), **values})
    assert answer.status_code == 302, answer.context["errors"]
    return PagePicture.objects.get()


def test_a_push_is_made_with_a_picture_that_each_sees_with_their_own_rights(owner: User, corp: Corp) -> None:
    person = make_person(corp, "lin")
    values = {"name": "看板", "title": "看板", "body": "看板", "users": [person.pk], "corp": corp.pk}

    picture = saved(client_of(owner), ADD, message_form="news", **values, **CHOSEN)

    assert (picture.kind, picture.bi_id, picture.name) == ("page", "p1", "销售看板")
    assert (picture.width, picture.theme, picture.is_cropped) == ("desktop", "light", True)
    assert picture.shown_as is None
    assert picture.report == Subscription.objects.get().report


def test_it_is_changed_and_taken_away_unless_a_file_is_made_of_it(push: Subscription, owner: User) -> None:
    client, away = client_of(owner), {"page_picture-0-DELETE": "on"}
    new = {"page_picture-0-width": "phone", "page_picture-0-theme": "dark", "message_form": "file"}

    picture = saved(client, change(push), **new)
    assert (picture.width, picture.theme, picture.shown_as) == ("phone", "dark", owner)

    sent = as_browsers_send(client, change(push), _save="1", **away)
    assert "PDF 文件需要看板截图" in client.post(change(push), sent).content.decode()
    assert PagePicture.objects.exists()
    client.post(change(push), {**sent, "message_form": "textcard"})
    assert not PagePicture.objects.exists()


def test_neither_an_older_page_nor_what_is_no_id_changes_it(push: Subscription, owner: User) -> None:
    client = client_of(owner)
    sent = as_browsers_send(client, change(push), title="新标题", _save="1")
    older = {name: value for name, value in sent.items() if not name.startswith("page_picture")}

    answer = client.post(change(push), {**sent, "page_picture-0-bi_id": "p1/../x"})
    assert "只填 ID，与 BI 地址中的一致。" in answer.content.decode()  # noqa: RUF001  # as the page says it
    assert client.post(change(push), older).status_code == 302

    assert (PagePicture.objects.get().bi_id, Subscription.objects.get().report.title) == ("p1", "新标题")


def test_the_owner_chooses_it_and_takes_it_back(push: Subscription, owner: User) -> None:
    client = client_of(owner)
    assert 'name="page_picture-0-seen_by"' in client.get(change(push)).content.decode()

    assert saved(client, change(push), **{"page_picture-0-seen_by": "recipients"}).shown_as is None
    assert saved(client, change(push), **{"page_picture-0-seen_by": "owner"}).shown_as == owner
    assert saved(client, change(push), title="又改了").shown_as == owner
    assert not Run.objects.filter(trigger="notice").exists()


@pytest.mark.parametrize(
    "edit",
    [{"name": "改名"}, {"title": "改标题"}, {"page_picture-0-width": "phone"}],
    ids=lambda edit: next(iter(edit)),
)
def test_it_ends_when_somebody_else_edits_the_push(
    edit: dict[str, str], push: Subscription, owner: User, corp: Corp
) -> None:
    other = make_editor(corp, name="韩梅梅")

    picture = saved(client_of(other), change(push), **edit)

    assert (picture.shown_as, picture.ended_by) == (None, other)
    assert Run.objects.get(trigger="notice").requested_by == owner
    assert "因为 韩梅梅 修改了推送，已结束" in client_of(owner).get(change(push)).content.decode()


def test_somebody_else_cannot_show_what_the_owner_or_they_themselves_see(
    push: Subscription, owner: User, corp: Corp
) -> None:
    other = client_of(make_editor(corp))
    page = other.get(change(push)).content.decode()
    assert 'name="page_picture-0-seen_by"' not in page
    assert "所有接收人看到的都是 李雷 在 BI 中看到的页面" in page
    assert saved(other, change(push)).shown_as == owner  # saving without a change ends nothing

    picture = saved(other, change(push), **{"page_picture-0-seen_by": "owner", "page_picture-0-shown_as": owner.pk})

    assert picture.shown_as in {None, owner}
    picture = saved(other, change(push), title="x", **{"page_picture-0-seen_by": "owner"})
    assert picture.shown_as is None


def test_a_copy_for_this_push_alone_shows_it_to_each_with_their_own_rights(
    push: Subscription, owner: User, corp: Corp
) -> None:
    make_subscription(make_person(corp, "lin"), owner=owner, report=push.report)
    client = client_of(make_editor(corp))

    client.post(change(push), as_browsers_send(client, change(push), title="另一份", content_for="this", _save="1"))

    push.refresh_from_db()
    copied = PagePicture.objects.get(report=push.report)
    assert (PagePicture.objects.count(), copied.shown_as) == (2, None)
    assert PagePicture.objects.exclude(pk=copied.pk).get().shown_as == owner


def enter_bi(corp: Corp) -> None:
    """Connect the BI and let the company's people sign in there by their user names."""
    make_bi()
    corp.bi_sign_in_enabled = True
    corp.save()


def linked(corp: Corp, person: User) -> User:
    WeComAccount.objects.get_or_create(user=person, corp=corp, defaults={"userid": person.username})
    return person


def shown(client: Client, address: str, **values: Any) -> dict[str, Any]:
    state: dict[str, Any] = client.post(f"{LIST}outlook/", as_browsers_send(client, address, **values)).json()
    return state


def test_the_preview_is_taken_with_the_editors_own_account_whoever_is_chosen(
    push: Subscription, owner: User, corp: Corp
) -> None:
    enter_bi(corp)
    editor = linked(corp, make_editor(corp))
    recipient = push.users.get()

    without = shown(client_of(make_editor(corp)), change(push), message_form="news")["message"]
    assert "您没有 BI 账号" in without
    assert not Medium.objects.exists()
    for looked_at_as in (recipient, editor):
        phone = shown(client_of(editor), change(push), message_form="news", _person=looked_at_as.pk)["message"]
        assert "用您自己在 BI 中的账号截取" in phone

    recipes = {(medium.queue, *read_page_recipe(bytes(medium.recipe))[:2]) for medium in Medium.objects.previews()}
    assert recipes == {("snapshots", "page/p1", editor.username)}


def test_who_gets_none_stands_beside_the_form(push: Subscription, owner: User, corp: Corp) -> None:
    enter_bi(corp)
    nobody = linked(corp, User.objects.create(username="made7", name="王五", made_username="made7"))
    push.users.add(nobody)
    client = client_of(owner)

    html = shown(client, change(push), **{"page_picture-0-seen_by": "recipients"})["outlook"]
    as_owner = shown(client, change(push), **{"page_picture-0-seen_by": "owner"})["outlook"]
    without = shown(client, change(push), **{"page_picture-0-DELETE": "on"})["outlook"]

    assert "王五 (made7)：没有 BI 账号，无法按其权限截图" in html  # noqa: RUF001  # as the page says it
    assert "王五" not in as_owner + without


def test_without_a_worker_the_page_says_what_to_install(push: Subscription, owner: User, corp: Corp) -> None:
    enter_bi(corp)
    client = client_of(owner)
    assert "requirements/snapshots.txt" in client.get(change(push)).content.decode()

    Heartbeat.objects.create(kind=Heartbeat.Kind.WORKER, name="snap@1", queues="snapshots", beat_at=timezone.now())

    assert "requirements/snapshots.txt" not in client.get(change(push)).content.decode()


def test_the_list_of_data_offers_pictures_where_the_page_asks_for_them(owner: User, corp: Corp) -> None:
    make_bi()
    listed("", ("p1", "销售看板", ""))
    listed("p1", ("c1", "销售额", "CHART"))
    root = client_of(make_superuser())
    DataSource.objects.create(name="观远", kind=SourceKind.GUANDATA)

    inside = root.post(f"{LIST}data/", {"page": "p1", "pictures": "1", "poll": "1"}).json()["html"]
    rule = root.post(f"{LIST}data/", {"page": "p1", "poll": "1"}).json()["html"]

    assert 'data-picture="page" data-id="p1" data-name="销售看板"' in inside
    assert 'data-picture="card" data-id="c1" data-name="销售额"' in inside
    assert "data-picture" not in rule
