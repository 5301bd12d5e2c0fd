"""People, groups and everyone become recipients: each once, each reachable or with the reason why not."""

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation

from accounts.models import Attribute, AuditEntry, DirectoryPolicy, User, WeComAccount
from accounts.users.roles import Role
from integrations.models import Card, Corp, DataSource, Department, Member
from notifications.delivery.rendering.render import render_run
from notifications.models import AlertRule, AttributeRule, Receipt, Robot, Subscription
from notifications.sources import Audience
from notifications.subscriptions.addressees import describe_addressees, find_own_subscriptions
from notifications.subscriptions.recipients import count_reachability, read_audience, resolve_audience
from tests.accounts.people import with_role
from tests.integrations.pages import version_on
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_admin import errors_of, said, values
from tests.notifications.alerts.rules import make_rule
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_people,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db

Reason = Receipt.Reason


def reasons(audience: Audience) -> dict[int, Receipt.Reason | None]:
    return {recipient.user_id: recipient.reason for recipient in resolve_audience(audience)}


def test_a_person_is_reached_at_the_account_as_given_or_not_for_each_reason() -> None:
    corp, other = make_corp(), make_corp()
    reached = make_person(corp, "LiLei")
    lost = [
        (Reason.NO_ACCOUNT, make_person()),
        (Reason.NO_COMPANY, make_person(None, "lilei")),
        (Reason.NO_USERID, make_person(corp, "")),
        # Userids that WeCom would read as other people.
        *((Reason.BAD_USERID, make_person(make_corp(), userid)) for userid in ("a|b", "@all", "@ALL")),
        (Reason.CORP_DISABLED, make_person(make_corp(is_enabled=False), "wang")),
        (Reason.USER_DISABLED, make_person(corp, "gone", is_active=False)),
    ]
    stranger = make_person(other, "zhao")

    [recipient] = resolve_audience(Audience([reached.pk]))

    assert (recipient.user_id, recipient.corp_id, recipient.userid) == (reached.pk, corp.pk, "LiLei")
    assert (recipient.address, recipient.reason) == (f"{corp.pk}:lilei", None)
    assert reasons(Audience([person.pk for _reason, person in lost])) == {one.pk: reason for reason, one in lost}
    assert reasons(Audience([stranger.pk], corp_id=corp.pk)) == {stranger.pk: Reason.OTHER_CORP}


OUTSIDE: list[dict[str, Any]] = [
    *({"presence": presence, "left_at": NOW} for presence in ("deleted", "missing", "out_of_scope")),
    *({"status": "disabled"}, {"waits_since": NOW}),
]


@pytest.mark.parametrize("state", OUTSIDE)
def test_whom_wecom_does_not_let_in_is_skipped_while_a_directory_policy_is_in_force(state: dict[str, Any]) -> None:
    corp = make_corp()
    person, colleague = make_person(corp, "LiLei"), make_person(corp, "han")
    times = {"first_seen_at": NOW, "changed_at": NOW}
    Member.objects.create(corp=corp, userid="LiLei", userid_folded="lilei", **times, **state)
    Member.objects.create(corp=corp, userid="han", userid_folded="han", **times)
    everybody = {person.pk: None, colleague.pk: None}
    assert reasons(Audience(list(everybody))) == everybody

    DirectoryPolicy.objects.create(corp=corp, mode="link")

    assert reasons(Audience(list(everybody))) == {person.pk: Reason.BARRED, colleague.pk: None}
    assert reasons(Audience(to_everyone=True)) == {colleague.pk: None}


def test_groups_bring_their_members_and_everyone_is_active_people_with_a_complete_account() -> None:
    corp = make_corp()
    linked, at_disabled = make_person(corp, "lilei"), make_person(make_corp(is_enabled=False), "wang")
    make_person()
    make_person(corp, "")
    make_person(None, "zhao")
    make_person(corp, "gone", is_active=False)
    group = Group.objects.create(name="sales")
    linked.groups.add(group)

    assert reasons(Audience(group_ids=[group.pk])) == {linked.pk: None}
    assert reasons(Audience(to_everyone=True)) == {linked.pk: None, at_disabled.pk: Reason.CORP_DISABLED}
    assert reasons(Audience(to_everyone=True, corp_id=corp.pk)) == {linked.pk: None}


def test_only_the_primary_account_counts_and_the_order_is_by_company_then_person() -> None:
    first, second = make_corp(), make_corp()
    people = [make_person(corp, f"u{n}") for n, corp in enumerate([second, first, second, first])]
    WeComAccount.objects.create(user=people[1], corp=second, userid="u1b", is_primary=False)
    only_secondary = User.objects.create(username="secondary")
    WeComAccount.objects.create(user=only_secondary, corp=first, userid="sec", is_primary=False)

    everyone = [one.user_id for one in resolve_audience(Audience(to_everyone=True))]
    found = {one.user_id: one.address for one in resolve_audience(Audience([people[1].pk, only_secondary.pk]))}

    assert everyone == [people[n].pk for n in (1, 3, 0, 2)]
    assert found == {people[1].pk: f"{first.pk}:u1", only_secondary.pk: f"user:{only_secondary.pk}"}


def test_reachability_counts_all_and_names_the_first_whom_the_administrator_sees() -> None:
    corp = make_corp()
    reached, stranger = make_person(corp, "lilei"), make_person(make_corp(), "stranger")
    lost = [make_person(corp, "", name=f"Person {n}", username=f"lost{n}") for n in range(5)]
    audience = Audience([person.pk for person in (reached, stranger, *lost)], corp_id=corp.pk)

    found = count_reachability(audience, seen_by=make_superuser(), named=2)
    seen = count_reachability(audience, seen_by=make_manager(corp), named=10)

    assert (found.reachable_count, found.unreachable_count) == (1, 6)
    with translation.override("en"):
        assert [bool(recipient.reason_text) for _name, recipient in found.unreachable] == [True, True]
    assert (seen.unreachable_count, {name for name, _who in seen.unreachable}) == (6, {str(one) for one in lost})
    assert found.reasons == {Receipt.Reason.NO_USERID, Receipt.Reason.OTHER_CORP}


def words_of(order: Subscription | AlertRule, seen_by: Any = None) -> str:
    return describe_addressees([order], seen_by=seen_by or make_superuser())[order.pk]


def test_a_few_are_named_and_many_and_people_whom_one_does_not_see_are_counted() -> None:
    people = [make_person(name=name) for name in ("李雷", "韩梅梅", "林涛")]
    corp = make_corp()
    source = DataSource.objects.create(name="仓库", kind="sql")
    rule = make_rule(Card.objects.create(name="销售额", source=source, sql="SELECT 1"), people[:1])
    robot = Robot.objects.create(name="群", corp=corp, key="k")
    push = make_subscription(to_everyone=True)
    push.departments.add(Department.objects.create(corp=corp, wecom_department_id=1, name="销售部"))
    push.groups.add(*(Group.objects.create(name=f"组{number}") for number in range(3)))
    region = Attribute.objects.create(key="region", name="区域")
    AttributeRule.objects.create(
        subscription=push, attribute=region, operator="one_of", values=["华东", "华南", "华北"]
    )

    assert words_of(make_subscription(*people[:2])) == "李雷、韩梅梅"
    assert words_of(make_subscription(*people)) == "3 人"
    assert words_of(make_subscription(people[0]), make_manager(make_corp())) == "1 人"
    assert words_of(rule) == "李雷"
    assert words_of(make_subscription(channel="robot", robot=robot)) == "群机器人所在的群"
    assert words_of(make_subscription()) == "无人"
    assert words_of(push) == "所有人、销售部、3 个组、区域属于华东、华南、…"


def test_many_take_as_many_queries_as_one(django_assert_num_queries: Any) -> None:
    pushes, root = [make_subscription(make_person()) for _number in range(5)], make_superuser()
    with django_assert_num_queries(5):
        describe_addressees(pushes, seen_by=root)


ADD = "/admin/notifications/subscription/add/"


class Company:
    """A corp with departments 1 › 2 › 3 and 1 › 4."""

    def __init__(self, **fields: Any) -> None:
        self.corp = make_corp(**fields)
        self.departments = {
            number: Department.objects.create(
                corp=self.corp, wecom_department_id=number, wecom_parent_id=parent, name=name
            )
            for number, parent, name in ((1, None, "总部"), (2, 1, "销售部"), (3, 2, "华东区"), (4, 1, "财务部"))
        }

    def key(self, number: int) -> int:
        return self.departments[number].pk

    def member(self, userid: str, *numbers: int, **fields: Any) -> Member:
        times = {"first_seen_at": NOW, "changed_at": NOW}
        member = Member.objects.create(corp=self.corp, userid=userid, userid_folded=userid.lower(), **times, **fields)
        for number in numbers:
            member.departments.add(self.departments[number])
        return member

    def person(self, userid: str, *numbers: int, **fields: Any) -> User:
        self.member(userid, *numbers)
        return make_person(self.corp, userid, **fields)


@pytest.fixture
def company() -> Company:
    return Company(name="北山制造")


def test_a_department_brings_its_people_with_or_without_those_below_each_once(company: Company) -> None:
    sales, east = company.person("sales", 2), company.person("East", 3)
    company.person("finance", 4)
    make_person(Company(name="南湖贸易").corp, "sales")  # the same userid in another company is somebody else
    whole = Audience(department_ids=[company.key(2)])
    assert reasons(whole) == {sales.pk: None, east.pk: None}
    assert reasons(replace(whole, with_subdepartments=False)) == {sales.pk: None}
    Department.objects.filter(pk=company.key(1)).update(wecom_parent_id=3)  # a cycle
    assert reasons(Audience(department_ids=[company.key(3)])).keys() >= {sales.pk, east.pk}

    person = company.person("everywhere", 1, 2, 3, 4)
    groups = [Group.objects.create(name=name) for name in ("one", "two")]
    person.groups.set(groups)
    keys = [company.key(1), company.key(2)]
    audience = Audience([person.pk], [group.pk for group in groups], department_ids=keys, to_everyone=True)
    assert [one.user_id for one in resolve_audience(audience)].count(person.pk) == 1


@pytest.mark.parametrize("state", OUTSIDE)
def test_members_who_may_not_have_access_are_not_meant(company: Company, state: dict[str, Any]) -> None:
    person = company.person("leaver", 2)
    assert reasons(Audience(department_ids=[company.key(2)])) == {person.pk: None}
    Member.objects.update(**state)
    assert reasons(Audience(department_ids=[company.key(2)])) == {}


def test_members_who_are_nobody_here_are_counted_and_a_department_that_is_gone_reaches_nobody(company: Company) -> None:
    company.person("linked", 2)
    company.member("unlinked", 2, 3)
    company.member("gone", 2, presence="deleted", left_at=NOW)
    audience, root = Audience(department_ids=[company.key(2)]), make_superuser()

    found = count_reachability(audience, seen_by=root)
    assert (found.reachable_count, found.unlinked_count, found.removed) == (1, 1, [])

    Department.objects.filter(pk=company.key(2)).update(removed_at=NOW)
    found = count_reachability(audience, seen_by=root)
    assert (found.reachable_count, found.unreachable_count, found.removed) == (0, 0, ["销售部"])


def test_queries_do_not_grow_with_people_and_departments(company: Company) -> None:
    subscription = make_subscription(make_person())
    subscription.departments.set([company.key(1)])
    counts = []
    for number in (0, 50):
        for one in range(number):
            Department.objects.create(corp=company.corp, wecom_department_id=10 + one, wecom_parent_id=1)
        for person in make_people(company.corp, number):
            company.member(person.wecom_accounts.get().userid, 1, 2)
        with CaptureQueriesContext(connection) as queries:
            assert len(list(resolve_audience(read_audience(subscription)))) == number + 1
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_run_goes_to_those_who_are_in_the_department_when_it_begins(company: Company) -> None:
    subscription = make_subscription(report=make_report(corp=company.corp))
    subscription.departments.set([company.key(2)])
    company.person("early", 2)
    late = company.person("late", 4)
    for userid, number in (("late", 3), ("early", 4)):
        Member.objects.get(userid=userid).departments.set([company.departments[number]])

    run = make_run(subscription)
    render_run(run_id=run.pk, now=NOW)

    assert list(run.receipts.values_list("user", "reason")) == [(late.pk, "")]


def editor_of(*corps: Corp) -> Client:
    return client_of(with_role(f"editor{User.objects.count()}", Role.PUSH_EDITOR, *corps))


def search(client: Client, term: str) -> Any:
    query = {"app_label": "notifications", "model_name": "subscription", "field_name": "departments", "term": term}
    return client.get(reverse("admin:integrations_department_search"), query)


@pytest.mark.usefixtures("undrawn")
def test_a_subscription_is_saved_with_departments(root: Client, company: Company) -> None:
    company.person("lilei", 3)
    company.member("unlinked", 3)
    sent = values(make_report(), departments=[company.key(2)])

    refused = errors_of(root.post(ADD, sent))  # without subdepartments nobody is left
    answer = root.post(ADD, {**sent, "with_subdepartments": "on"})

    assert "没有人会收到" in refused

    subscription = Subscription.objects.get()
    assert list(subscription.departments.all()) == [company.departments[2]]
    assert subscription.with_subdepartments is True
    text = said(answer)
    assert "1 人" in text
    assert "1 名企业微信成员未关联人员" in text
    changes = [one.changes for one in AuditEntry.objects.filter(model="notifications.subscription", action="changed")]
    assert [["departments", None, ["销售部"]]] in changes


def test_the_search_shows_paths_of_departments_that_one_sees(company: Company) -> None:
    other = Company(name="南湖贸易")
    Department.objects.filter(pk=company.key(4)).update(removed_at=NOW)

    editor = editor_of(company.corp)

    assert search(editor, "销售").json()["results"] == [{"id": str(company.key(2)), "text": "北山制造 › 总部 › 销售部"}]
    assert search(editor, "财务").json()["results"] == []
    everything = search(client_of(make_superuser()), "华东").json()["results"]
    assert [one["text"] for one in everything] == [
        "北山制造 › 总部 › 销售部 › 华东区",
        f"{other.corp.name} › 总部 › 销售部 › 华东区",
    ]


def test_the_search_costs_the_same_for_one_and_for_many(root: Client, company: Company) -> None:
    Department.objects.bulk_create(
        Department(corp=company.corp, wecom_department_id=number, wecom_parent_id=3, name=f"组{number}")
        for number in range(10, 60)
    )
    counts = []
    for term in ("组", "组", "组10"):
        with CaptureQueriesContext(connection) as queries:
            search(root, term)
        counts.append(len(queries))
    assert counts[1] == counts[2]


@pytest.mark.usefixtures("undrawn")
def test_a_department_of_an_unseen_company_cannot_be_chosen_but_may_stay(company: Company) -> None:
    other = Company(name="南湖贸易")
    company.person("lilei", 2)
    editor, report = editor_of(company.corp), make_report(corp=company.corp)

    assert editor.post(ADD, values(report, departments=[company.key(2), other.key(2)])).status_code == 200
    assert not Subscription.objects.exists()
    subscription = make_subscription(report=report)
    subscription.departments.set([company.key(2), other.key(2)])
    page = reverse("admin:notifications_subscription_change", args=[subscription.pk])
    kept = values(report, departments=[company.key(2), other.key(2)], name="新名称")
    assert editor.post(page, {**kept, "page_version": version_on(editor, page)}).status_code == 302
    assert subscription.departments.count() == 2


def test_a_chosen_department_that_is_gone_is_shown_as_such(root: Client, company: Company) -> None:
    company.person("lilei", 4)
    subscription = make_subscription(report=make_report(corp=company.corp))
    subscription.departments.set([company.key(2), company.key(4)])
    Department.objects.filter(pk=company.key(2)).update(removed_at=NOW)

    page = root.get(reverse("admin:notifications_subscription_change", args=[subscription.pk])).content.decode()

    assert "北山制造 › 总部 › 销售部（已不存在）" in page
    assert "北山制造 › 总部 › 财务部" in page
    select = page[page.index('name="departments"') :].split(">")[0]
    assert 'data-allow-clear="false"' in select
    assert "以下部门在企业微信中已不存在，不会推送给任何人：销售部。" in page


def make_department_order(company: Company, number: int, title: str, **fields: Any) -> Subscription:
    subscription = make_subscription(name=title, **fields)
    subscription.departments.set([company.departments[number]])
    return subscription


def test_what_a_member_sees_is_what_a_run_would_send(company: Company) -> None:
    people = [company.person(f"p{number}", number) for number in (1, 2, 3, 4)]
    company.member("disabled", 2, status=Member.Status.DISABLED)
    people.append(make_person(company.corp, "disabled"))
    Department.objects.filter(pk=company.key(4)).update(removed_at=NOW)
    orders = [
        make_department_order(company, number, f"{number} {below}", with_subdepartments=below)
        for number in (1, 2, 3, 4)
        for below in (True, False)
    ]

    for person in people:
        sent = [order for order in orders if person.pk in reasons(read_audience(order))]
        assert {one.pk for one in find_own_subscriptions(person)} == {order.pk for order in sent}


def test_a_member_costs_as_many_queries_in_many_departments(company: Company) -> None:
    east, everywhere = company.person("East", 3), company.person("everywhere", 1, 2, 3, 4)
    for number in (1, 2, 3, 4):
        make_department_order(company, number, f"{number}")

    counts = []
    for person in (east, everywhere):
        with CaptureQueriesContext(connection) as queries:
            list(find_own_subscriptions(person))
        counts.append(len(queries))
    assert counts[0] <= 9
    assert counts[1] <= counts[0]
