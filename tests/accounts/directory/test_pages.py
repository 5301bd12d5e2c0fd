"""The directory's pages of the administration, as a browser uses them."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEntry, DirectoryPolicy, GivenGroup, User
from accounts.users.roles import Role
from integrations.directory.sync import JOB
from integrations.models import Department, Member, SyncRun
from tests.accounts.conftest import make_corp
from tests.accounts.directory.people_of import People, links, make
from tests.accounts.people import signed_in, with_role
from tests.bi import make_bi
from tests.browser_form import read_page_version
from tests.jobs import do_jobs


@pytest.fixture
def chief(people: People) -> Client:
    return signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR, people.corp))


def page(client: Client, name: str, *args: object, **query: str) -> str:
    response = client.get(reverse(f"admin:{name}", args=args), query)
    assert response.status_code == 200
    return response.content.decode()


def test_a_run_is_begun_from_the_companys_page_and_watched(people: People, chief: Client) -> None:
    people.set_policy(mode="create")
    start = reverse("admin:integrations_syncrun_start", args=[people.corp.pk])
    assert f'href="{start}"' in page(chief, "integrations_corp_change", people.corp.pk)

    response = chief.post(start)
    do_jobs(JOB)

    run = SyncRun.objects.get()
    assert response.headers["Location"] == reverse("admin:integrations_syncrun_change", args=[run.pk])
    assert (run.status, run.requested_by) == ("done", "chief")
    assert len(links(people.corp)) == 3
    shown = page(chief, "integrations_syncrun_change", run.pk)
    assert "<dt>新建人员</dt><dd>3</dd>" in shown.replace("\n", "")
    state = chief.get(reverse("admin:integrations_syncrun_state", args=[run.pk])).json()
    assert state["is_unfinished"] is False
    assert state["html"].strip() in shown
    assert f"<h1>{people.corp} {timezone.localtime(run.requested_at):%Y-%m-%d %H:%M}</h1>" in shown
    assert "<td>Jim (jim)</td>" in state["html"]
    assert f'{reverse("admin:accounts_linkconflict_changelist")}?company={people.corp.pk}"' in shown
    now = timezone.now()
    for seconds, words in ((65, "1 分 5 秒"), (5, "5 秒"), (0.3, "不到 1 秒")):
        SyncRun.objects.update(started_at=now, finished_at=now + timedelta(seconds=seconds))
        assert f">{words}</td>" in page(chief, "integrations_syncrun_changelist")


def test_the_page_where_a_run_begins_asks_what_happens_to_users_whoever_may_set_it(
    people: People, chief: Client, admin: Client
) -> None:
    people.set_policy(mode="link")
    start = reverse("admin:integrations_syncrun_start", args=[people.corp.pk])

    asked = admin.get(start).content.decode()

    for choice in ("只同步通讯录，不动人员", "关联已有人员", "关联、新建并更新人员"):
        assert choice in asked
    assert 'value="link" id="id_mode_1" required checked' in asked.replace('aria-describedby="id_mode_helptext" ', "")
    read = chief.get(start).content.decode()
    assert 'name="mode"' not in read
    assert "同步时怎么处理人员：关联已有人员。" in read


def test_the_first_run_links_and_creates_unless_somebody_says_otherwise(people: People, admin: Client) -> None:
    people.policy.delete()
    start = reverse("admin:integrations_syncrun_start", args=[people.corp.pk])

    first = admin.get(start)

    assert first.context["form"]["mode"].value() == "create"
    assert "第一次同步会读取应用可见的所有成员" in first.text
    people.sync()
    later = admin.get(start)
    assert "第一次同步会读取" not in later.text
    assert "上次同步到的企业微信成员中，有 3 人在这里还没有对应的人员。" in later.text
    make_bi(external_id_source="email")
    assert admin.get(start).context["form"]["mode"].value() == "link"


def test_the_first_copy_says_whom_it_would_create_and_link_and_one_button_does_it(
    people: People, admin: Client, chief: Client
) -> None:
    people.policy.delete()
    start = reverse("admin:integrations_syncrun_start", args=[people.corp.pk])
    make("LiLei")
    make("jim", is_staff=True)

    admin.post(start)
    do_jobs(JOB)

    run = SyncRun.objects.get()
    assert (links(people.corp), DirectoryPolicy.objects.count()) == ({}, 0)
    shown = page(admin, "integrations_syncrun_change", run.pk)
    assert "将创建 1 人，关联 1 人，1 人无法匹配" in shown
    assert "创建并关联" not in page(chief, "integrations_syncrun_change", run.pk)
    offer = shown.partition("sync-offer")[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', offer))
    assert (fields["mode"], fields["match_username"]) == ("create", "True")
    answer = admin.post(reverse("admin:integrations_syncrun_policy", args=[people.corp.pk]), fields)
    do_jobs(JOB)

    assert answer.status_code == 302
    assert len(links(people.corp)) == 2
    newest = SyncRun.objects.latest("pk")
    assert "创建并关联" not in page(admin, "integrations_syncrun_change", newest.pk)


def test_the_first_copy_is_read_and_confirmed_on_the_companys_own_page(people: People, admin: Client) -> None:
    people.policy.delete()
    start = reverse("admin:integrations_syncrun_start", args=[people.corp.pk])
    shown = page(admin, "integrations_corp_change", people.corp.pk)
    assert f'<form method="post" action="{start}" data-live-form="sync-panel"' in shown

    begun = admin.post(start, headers={"Accept": "application/json"}).json()
    do_jobs(JOB)

    run = SyncRun.objects.get()
    assert begun["is_unfinished"] is True
    assert begun["url"] == reverse("admin:integrations_syncrun_state", args=[run.pk])
    offer = admin.get(begun["url"]).json()["html"].partition("sync-offer")[2]
    assert 'data-live-form="sync-panel"' in offer
    assert f'data-url="{begun["url"]}"' in page(admin, "integrations_corp_change", people.corp.pk)
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', offer.partition("</form>")[0]))
    policy = reverse("admin:integrations_syncrun_policy", args=[people.corp.pk])
    assert admin.post(policy, fields, headers={"Accept": "application/json"}).json()["url"] != begun["url"]
    do_jobs(JOB)
    assert len(links(people.corp)) == 3
    assert 'id="sync-panel"' not in page(admin, "integrations_corp_change", people.corp.pk)


def test_a_choice_is_saved_and_a_run_begun_at_once(people: People, admin: Client) -> None:
    people.policy.delete()
    address = reverse("admin:integrations_syncrun_policy", args=[people.corp.pk])
    chosen = {"mode": "create", "match_username": "on", "leavers": "unlink"}

    response = admin.post(address, chosen)
    do_jobs(JOB)

    run, policy = SyncRun.objects.get(), DirectoryPolicy.objects.get()
    assert response.headers["Location"] == reverse("admin:integrations_syncrun_change", args=[run.pk])
    assert (policy.corp, policy.mode, policy.leavers) == (people.corp, "create", "unlink")
    assert len(links(people.corp)) == 3
    assert LogEntry.objects.filter(object_id=str(policy.pk), content_type__model="directorypolicy").count() == 1

    admin.post(address, chosen)
    do_jobs(JOB)

    assert LogEntry.objects.filter(content_type__model="directorypolicy").count() == 1  # nothing was changed


def test_a_choice_that_is_refused_begins_nothing_and_is_kept(people: People, admin: Client) -> None:
    address = reverse("admin:integrations_syncrun_policy", args=[people.corp.pk])

    response = admin.post(address, {"mode": "link", "leavers": "unlink", "number_field": "工号"})

    assert response.status_code == 200
    assert "请选择按什么匹配人员" in response.text
    assert 'value="工号"' in response.text
    assert not SyncRun.objects.exists()


def test_a_second_click_leads_to_the_run_under_way(people: People, chief: Client) -> None:
    run = people.place.request()

    response = chief.post(reverse("admin:integrations_syncrun_start", args=[people.corp.pk]))

    assert response.headers["Location"].endswith(f"/syncrun/{run.pk}/change/")
    assert SyncRun.objects.count() == 1
    assert chief.get(reverse("admin:integrations_syncrun_state", args=[run.pk])).json()["is_unfinished"] is True
    assert "data-unfinished" in page(chief, "integrations_syncrun_change", run.pk)
    assert "<progress" in page(chief, "integrations_syncrun_change", run.pk)


@pytest.mark.parametrize(("answer", "status", "is_active"), [("yes", "done", False), ("no", "refused", True)])
def test_the_guard_is_answered_with_yes_or_no(
    people: People,
    chief: Client,
    settings: Settings,
    answer: str,
    status: str,
    is_active: bool,
) -> None:
    settings.DIRECTORY_GUARD_PERCENT = 0
    people.set_policy(mode="create")
    people.sync()
    people.place.delete_member("LiLei")
    run = people.place.sync()
    shown = page(chief, "integrations_syncrun_change", run.pk)
    assert 'value="yes"' in shown
    assert "LiLei" in shown

    chief.post(reverse("admin:integrations_syncrun_answer", args=[run.pk]), {"answer": answer})
    do_jobs(JOB)

    run.refresh_from_db()
    assert run.status == status
    assert User.objects.get(username="LiLei").is_active is is_active
    assert 'value="yes"' not in page(chief, "integrations_syncrun_change", run.pk)
    assert AuditEntry.objects.filter(model="integrations.syncrun", actor_name="chief").count() == 1


def test_an_answer_that_comes_too_late_is_told(people: People, chief: Client) -> None:
    run = people.sync()

    response = chief.post(reverse("admin:integrations_syncrun_answer", args=[run.pk]), {"answer": "yes"}, follow=True)

    assert "不再需要确认" in response.content.decode()
    run.refresh_from_db()
    assert run.answered_at is None


def test_departments_that_one_sees_are_shown_as_a_tree_with_their_people(people: People, chief: Client) -> None:
    people.sync()
    other = make_corp("南湖贸易", 7)
    Department.objects.create(corp=other, wecom_department_id=1, name="Secret")
    for number, parent in ((7, 8), (8, 7), (9, 8)):
        Department.objects.create(
            corp=people.corp, wecom_department_id=number, wecom_parent_id=parent, name=f"D{number}"
        )

    shown = page(chief, "integrations_department_changelist")

    places = [
        shown.index(f'directory-depth-{depth}">{name}<')
        for depth, name in ((0, "北山制造"), (1, "销售部"), (2, "华东区"), (1, "财务部"))
    ]
    assert places == sorted(places)
    assert [shown.count(f">D{number}<") for number in (7, 8, 9)] == [1, 1, 1]
    finance = Department.objects.get(name="财务部")
    assert f'departments__id__exact={finance.pk}">2</a>' in shown
    members = page(chief, "integrations_member_changelist", departments__id__exact=str(finance.pk))
    assert ("jim" in members, "hanmeimei" in members, "LiLei" in members) == (True, True, False)
    assert "Secret" not in page(chief, "integrations_department_changelist", company=str(other.pk))


def test_members_are_shown_with_their_users_and_states_and_who_came_back_is_confirmed(
    people: People, chief: Client
) -> None:
    people.set_policy(mode="create")
    people.sync()
    Member.objects.filter(userid="jim").update(presence="out_of_scope", left_at=timezone.now())

    shown = page(chief, "integrations_member_changelist")

    lilei = User.objects.get(username="LiLei")
    assert f'<a href="/admin/accounts/user/{lilei.pk}/">李雷 (LiLei)</a>' in shown
    assert page(chief, "integrations_member_changelist", state="out_of_scope").count('class="field-company') == 1
    assert page(chief, "integrations_member_changelist", state="able").count('class="field-company') == 2

    member = people.place.member("LiLei")
    Member.objects.filter(pk=member.pk).update(waits_since=timezone.now())
    path = reverse("admin:integrations_member_changelist")
    chief.post(path, {"action": "admit", "_selected_action": [member.pk]})

    member.refresh_from_db()
    assert member.waits_since is None
    assert AuditEntry.objects.filter(model="integrations.member", actor_name="chief").count() == 1


@pytest.mark.parametrize(
    ("before", "after", "is_warned"),
    [("create", "link", True), ("create", "off", True), ("link", "off", False), ("create", "create", False)],
)
def test_who_keeps_a_given_group_is_told_when_the_policy_gives_none_any_more(
    people: People, admin: Client, before: str, after: str, is_warned: bool
) -> None:
    people.set_policy(mode=before)
    group = Group.objects.create(name="sales")
    person = User.objects.create(username="jim")
    person.groups.add(group)
    GivenGroup.objects.create(corp=people.corp, user=person, group=group)
    path = reverse("admin:accounts_directorypolicy_change", args=[people.policy.pk])

    values = {"mode": after, "leavers": "unlink", "match_username": "on", **read_page_version(admin, path)}
    answer = admin.post(path, values, follow=True)

    assert ("有 1 人保留着通讯录按部门授予的人员组" in answer.content.decode()) is is_warned
    people.policy.refresh_from_db()
    assert (people.policy.mode, people.policy.leavers) == (after, "unlink")
    assert list(person.groups.all()) == [group]
