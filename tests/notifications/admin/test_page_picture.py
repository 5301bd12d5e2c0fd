"""The picture of a BI page on the page of a push: choosing, saving and showing it, and with whose rights."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, WeComAccount
from integrations.models import Corp, DataSource, Heartbeat, SourceKind
from notifications.delivery.attachments import unpack_recipe
from notifications.models import Medium, Report, Run, Subscription
from notifications.reports.contents import load_content
from tests.bi import make_bi
from tests.browser_form import read_unchanged_form
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_push_page import ADD, LIST, as_browsers_send, change, listed
from tests.notifications.api.conftest import make_editor
from tests.notifications.factories import make_manager, make_person, make_report, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
CHOSEN = {"picture_kind": "page", "picture_bi_id": "p1", "picture_name": "销售看板"}


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_editor(corp, name="李雷")


@pytest.fixture
def push(corp: Corp, owner: User) -> Subscription:
    """A push of the owner with a picture that everybody sees with the owner's rights."""
    report = make_report(corp=corp, picture_bi_id="p1", picture_name="销售看板", picture_shown_as=owner)
    return make_subscription(make_person(corp, "zhang"), owner=owner, report=report, is_enabled=False)


def saved(client: Client, address: str, **values: Any) -> Any:
    answer = client.post(address, {**as_browsers_send(client, address, _save="1"), **values})
    assert answer.status_code == 302, answer.context["errors"]
    return Report.objects.get()


def test_a_push_is_made_with_a_picture_that_each_sees_with_their_own_rights(owner: User, corp: Corp) -> None:
    person = make_person(corp, "lin")
    values = {"name": "看板", "title": "看板", "body": "看板", "users": [person.pk], "corp": corp.pk}

    picture = saved(client_of(owner), ADD, message_form="news", **values, **CHOSEN)

    assert (picture.picture_kind, picture.picture_bi_id, picture.picture_name) == ("page", "p1", "销售看板")
    assert (picture.picture_width, picture.picture_theme, picture.picture_is_cropped) == ("desktop", "light", True)
    assert picture.picture_shown_as is None
    assert picture == Subscription.objects.get().report


def test_it_is_changed_and_taken_away_unless_a_file_is_made_of_it(push: Subscription, owner: User) -> None:
    client, away = client_of(owner), {"picture_bi_id": ""}
    new = {"picture_width": "phone", "picture_theme": "dark", "message_form": "file"}

    picture = saved(client, change(push), **new)
    assert (picture.picture_width, picture.picture_theme, picture.picture_shown_as) == ("phone", "dark", owner)

    sent = as_browsers_send(client, change(push), _save="1", **away)
    assert "PDF 文件需要看板截图" in client.post(change(push), sent).content.decode()
    assert Report.objects.get().has_picture
    client.post(change(push), {**sent, "message_form": "textcard"})
    report = Report.objects.get()
    assert (report.picture_bi_id, report.picture_name, report.picture_width) == ("", "", "desktop")
    assert report.picture_shown_as is None  # another picture is not shown as the owner sees it


def test_neither_an_older_page_nor_what_is_no_id_changes_it(push: Subscription, owner: User) -> None:
    client = client_of(owner)
    sent = as_browsers_send(client, change(push), title="新标题", _save="1")
    older = {name: value for name, value in sent.items() if not name.startswith("picture_")}

    answer = client.post(change(push), {**sent, "picture_bi_id": "p1/../x"})
    assert "只填 ID，与 BI 地址中的一致。" in answer.content.decode()
    assert client.post(change(push), older).status_code == 302

    report = Report.objects.get()
    assert (report.picture_bi_id, report.picture_is_cropped, report.title) == ("p1", True, "新标题")


def test_the_owner_chooses_it_and_takes_it_back(push: Subscription, owner: User) -> None:
    client = client_of(owner)
    assert 'name="picture_seen_by"' in client.get(change(push)).content.decode()

    assert saved(client, change(push), picture_seen_by="recipients").picture_shown_as is None
    assert saved(client, change(push), picture_seen_by="owner").picture_shown_as == owner
    assert saved(client, change(push), title="又改了").picture_shown_as == owner
    assert not Run.objects.filter(trigger="notice").exists()


@pytest.mark.parametrize(
    "edit", [{"name": "改名"}, {"title": "改标题"}, {"picture_width": "phone"}], ids=lambda edit: next(iter(edit))
)
def test_it_ends_when_somebody_else_edits_the_push(
    edit: dict[str, str], push: Subscription, owner: User, corp: Corp
) -> None:
    other = make_editor(corp, name="韩梅梅")

    picture = saved(client_of(other), change(push), **edit)

    assert (picture.picture_shown_as, picture.picture_ended_by) == (None, other)
    assert Run.objects.get(trigger="notice").requested_by == owner
    assert "因为 韩梅梅 修改了推送，已结束" in client_of(owner).get(change(push)).content.decode()


def test_it_ends_on_the_page_of_the_report_too(push: Subscription, owner: User, corp: Corp) -> None:
    client = client_of(make_manager(corp, permissions="report"))
    address = reverse("admin:notifications_report_change", args=[push.report_id])
    sent = read_unchanged_form(client, address)

    assert client.post(address, {**sent, "picture_name": "别的看板"}).status_code == 302

    report = Report.objects.get()
    assert (report.picture_name, report.picture_shown_as) == ("别的看板", None)
    told = load_content(bytes(Run.objects.get(trigger="notice").contents.get().document))
    assert "“销售看板”" in told.text


def test_somebody_else_cannot_show_what_the_owner_or_they_themselves_see(
    push: Subscription, owner: User, corp: Corp
) -> None:
    other = client_of(make_editor(corp))
    page = other.get(change(push)).content.decode()
    assert 'name="picture_seen_by"' not in page
    assert "所有接收人看到的都是 李雷 在 BI 中看到的页面" in page
    assert saved(other, change(push)).picture_shown_as == owner  # saving without a change ends nothing

    picture = saved(other, change(push), **{"picture_seen_by": "owner", "picture_shown_as": owner.pk})

    assert picture.picture_shown_as in {None, owner}
    picture = saved(other, change(push), title="x", picture_seen_by="owner")
    assert picture.picture_shown_as is None


def test_a_copy_for_this_push_alone_shows_it_to_each_with_their_own_rights(
    push: Subscription, owner: User, corp: Corp
) -> None:
    make_subscription(make_person(corp, "lin"), owner=owner, report=push.report)
    client = client_of(make_editor(corp))

    client.post(change(push), as_browsers_send(client, change(push), title="另一份", content_for="this", _save="1"))

    push.refresh_from_db()
    copied, original = push.report, Report.objects.exclude(pk=push.report_id).get()
    assert (copied.picture_bi_id, copied.picture_shown_as) == ("p1", None)
    assert original.picture_shown_as == owner


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

    [medium] = Medium.objects.previews()
    recipe = unpack_recipe(bytes(medium.recipe))
    assert (medium.queue, recipe["path"], recipe["identity"]) == ("snapshots", "page/p1", editor.username)


def test_who_gets_none_stands_beside_the_form(push: Subscription, owner: User, corp: Corp) -> None:
    enter_bi(corp)
    nobody = linked(corp, User.objects.create(username="made7", name="王五", made_username="made7"))
    push.users.add(nobody)
    client = client_of(owner)

    html = shown(client, change(push), picture_seen_by="recipients")["outlook"]
    as_owner = shown(client, change(push), picture_seen_by="owner")["outlook"]
    without = shown(client, change(push), picture_bi_id="")["outlook"]

    assert "王五 (made7)：没有 BI 账号，无法按其权限截图" in html
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
