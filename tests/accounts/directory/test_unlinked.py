"""The page 未关联: both sides with suggestions, a link by one click or for many, and conflicts."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from django.db import connections, transaction
from django.http import HttpRequest
from django.test import Client, RequestFactory

from accounts.admin.linking import ROWS
from accounts.directory.hooks import list_directory_attentions, list_directory_lines
from accounts.directory.linking import LinkRefusedError, link_by_hand
from accounts.directory.matching import SUGGESTIONS_SHOWN, MatchReason, suggest_members, suggest_people
from accounts.models import Attribute, AuditEntry, DirectoryPolicy, LinkConflict, User, WeComAccount
from accounts.users.attributes import set_values
from accounts.users.roles import Role
from integrations.models import Corp, Member, SyncRun
from tests.accounts.conftest import make_corp, make_person
from tests.accounts.directory.people_of import links, make, member
from tests.accounts.people import signed_in, with_role
from tests.between import just_before
from tests.notifications.factories import NOW
from tests.statements import count_statements

LIST = "/admin/accounts/linkconflict/"
LINK = f"{LIST}link/"
BULK = f"{LIST}bulk/"


def get_list(client: Client, **query: str) -> str:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return response.content.decode()


def grounds_for(one: Member) -> dict[str, tuple[str, ...]]:
    found = suggest_people([one], among=User.objects.all())[one.pk]
    return {suggestion.user.username: tuple(reason.value for reason in suggestion.reasons) for suggestion in found}


def test_each_ground_proposes_somebody_the_best_first(corp: Corp, number: Attribute) -> None:
    one = member(corp, "LiLei", name="李雷", email="Li@Example.com", mobile="13000000001")
    make("somebody", name="李雷")
    make("m", mobile="13000000001")
    make("e", email="li@example.COM")
    set_values(attribute=number, values={make("n").pk: ["LILEI"]})
    make("lilei")

    assert list(grounds_for(one).items()) == [
        ("lilei", ("username",)),
        ("n", ("number",)),
        ("e", ("email",)),
        ("m", ("mobile",)),
        ("somebody", ("name",)),
    ]


def test_employee_numbers_are_compared_as_everywhere_narrow_and_without_case(corp: Corp, number: Attribute) -> None:
    set_values(attribute=number, values={make("n").pk: ["a007"]})

    assert grounds_for(member(corp, "z", number="Ａ００７")) == {"n": ("number",)}


def test_several_grounds_for_one_person_are_one_suggestion_that_tells_what_speaks_against_it(corp: Corp) -> None:
    one = member(corp, "lilei", name="李雷", biz_mail="li@example.com", mobile="13000000001")
    make("LiLei", name="李雷", email="li@example.com", mobile="13000000001", is_staff=True)
    nameless = member(corp, "z", name=None, email="", mobile=None)
    make("p", name="", email="", mobile="")

    assert grounds_for(one) == {"LiLei": ("username", "email", "mobile", "name")}
    [suggestion] = suggest_people([one], among=User.objects.all())[one.pk]
    assert (suggestion.objection, suggestion.needs_confirmation) == (LinkConflict.Reason.PROTECTED, True)
    assert grounds_for(nameless) == {}


def test_by_name_alone_nobody_who_is_linked_is_proposed_and_not_the_whole_company(corp: Corp) -> None:
    one = member(corp, "z", name="张伟")
    make_person("taken", corp, "taken", name="张伟")
    for number in range(20):
        make(f"p{number}", name="张伟")

    found = grounds_for(one)

    assert "taken" not in found
    assert len(found) == SUGGESTIONS_SHOWN + 1
    assert set(found.values()) == {("name",)}


def test_the_other_side_proposes_members_who_are_nobody_here(corp: Corp, other_corp: Corp, number: Attribute) -> None:
    person = make("LILEI", name="李雷", email="li@example.com", mobile="13000000001")
    set_values(attribute=number, values={person.pk: ["007"]})
    member(corp, "lilei")
    member(other_corp, "007")
    member(corp, "e", email="LI@example.com")
    member(corp, "b", biz_mail="li@Example.com")
    member(corp, "m", mobile="13000000001")
    member(corp, "name", name="李雷")
    member(corp, "gone", name="李雷", presence="deleted", left_at=NOW)
    make_person("han", corp, "linked")
    member(corp, "linked", name="李雷")

    found = suggest_members([person], among=Member.objects.all())[person.pk]

    assert [(one.member.userid, one.reasons) for one in found] == [
        ("lilei", (MatchReason.USERNAME,)),
        ("007", (MatchReason.NUMBER,)),
        ("e", (MatchReason.EMAIL,)),
        ("b", (MatchReason.EMAIL,)),
        ("m", (MatchReason.MOBILE,)),
        ("name", (MatchReason.NAME,)),
    ]


def test_members_who_are_nobody_here_are_listed_with_the_reason(admin: Client, corp: Corp) -> None:
    LinkConflict.objects.create(member=member(corp, "alone", name="孤单"), reason="nobody", since=NOW)
    member(corp, "gone", presence="deleted", left_at=NOW)
    member(corp, "LiLei")
    make_person("li", corp, "lilei")

    text = get_list(admin)

    assert text.count('<span class="quiet">没有匹配项。') == 1
    assert "孤单 (alone)" in text
    assert "没有匹配的人" in text
    assert "孤单 (alone)" in get_list(admin, reason="nobody")
    assert "没有符合筛选条件" in get_list(admin, reason="several")


def test_people_who_are_nobody_in_wecom_are_listed(admin: Client, corp: Corp) -> None:
    make("alone", name="没有账号")
    make("off", is_active=False)
    make_person("half", corp, "")
    make_person("linked", corp, "lilei")

    text = get_list(admin, side="users")

    assert [name in text for name in ("没有账号 (alone)", ">half<", ">off<", ">linked<")] == [True, True, False, False]


def test_filters_search_and_nonsense(admin: Client, corp: Corp, other_corp: Corp) -> None:
    member(corp, "aa", name="甲")
    member(other_corp, "bb", name="乙")
    make("finder", name="丙")
    company, users = {"company": str(corp.pk)}, {"side": "users"}
    for query, found in ((company, "甲 (aa)"), ({"q": "乙"}, "乙 (bb)"), ({"q": "AA"}, "甲 (aa)")):
        assert [one for one in ("甲 (aa)", "乙 (bb)") if one in get_list(admin, **query)] == [found]
    assert ["丙 (finder)" in get_list(admin, **users, q=name) for name in "丙丁"] == [True, False]
    for nonsense in ({"after": "x"}, {"before": "-1"}, {"company": "9' OR 1", "side": "?", "reason": "?"}):
        assert "甲 (aa)" in get_list(admin, **nonsense)


def test_pages_follow_each_other_forth_and_back(admin: Client, corp: Corp) -> None:
    members = [member(corp, f"u{number:03}") for number in range(2 * ROWS + 5)]

    def page(query: str) -> tuple[list[Any], str, str]:
        context = admin.get(LIST + query).context
        return [row["subject"].pk for row in context["rows"]], context["previous_url"], context["next_url"]

    keys = [one.pk for one in members]
    first, no_way_back, to_second = page("")
    second, to_first, to_third = page(to_second)
    third, back_to_second, no_way_on = page(to_third)

    assert (first, second, third) == (keys[:ROWS], keys[ROWS : 2 * ROWS], keys[2 * ROWS :])
    assert (no_way_back, no_way_on) == ("", "")
    assert page(back_to_second)[0] == second
    assert page(to_first)[:2] == (first, "")


@pytest.mark.usefixtures("_addresses_kept")
@pytest.mark.parametrize("side", ["members", "users", "conflicts"])
def test_the_lists_cost_the_same_for_few_and_for_many(admin: Client, corp: Corp, side: str) -> None:
    def count() -> int:
        get_list(admin, side=side)  # fills the caches of the process
        return count_statements(get_list, admin, side=side)

    def add(start: int, end: int) -> None:
        for number in range(start, end):
            member(corp, f"u{number}", name="张伟", mobile=f"1{number % 3}", email=f"{number % 3}@x")
            make(f"U{number}", name="张伟", mobile=f"1{number % 3}", email=f"{number % 3}@x")

    add(0, 4)
    few = count()
    add(4, 60)

    assert count() <= few


def test_somebody_of_one_company_sees_its_members_and_no_stranger(corp: Corp, other_corp: Corp) -> None:
    member(corp, "aa", name="甲")
    member(other_corp, "bb", name="乙")
    make("AA", name="外人")
    chief = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp))

    text = get_list(chief)

    assert [name in text for name in ("甲 (aa)", "乙 (bb)", "外人")] == [True, False, False]
    assert "外人" not in get_list(chief, side="users")
    assert "南湖贸易" not in get_list(chief, side="conflicts")


NEUTRAL = "通讯录没有自动关联该成员，原因由管理全部公司的管理员查看"
OF_MEMBERS = {LinkConflict.Reason.SHARED, LinkConflict.Reason.CAME_BACK}


def test_somebody_of_one_company_learns_nothing_of_strangers_from_a_reason(admin: Client, corp: Corp) -> None:
    """Say the same whether nobody fits or a stranger does: in the list, on the row's page, and by the filter."""
    reasons = list(LinkConflict.Reason)
    rows = {
        one: LinkConflict.objects.create(member=member(corp, f"u-{one.value}"), reason=one, since=NOW)
        for one in reasons
    }
    chief = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp))

    def page(client: Client, reason: LinkConflict.Reason) -> str:
        return client.get(f"{LIST}{rows[reason].pk}/change/", follow=True).content.decode()

    def rows_with(**query: str) -> set[str]:
        return {row["subject"].userid for row in chief.get(LIST, query).context["rows"]}

    found = get_list(chief)
    assert {one for one in reasons if str(one.label) in found} == OF_MEMBERS
    assert found.count(NEUTRAL) == len(reasons) - len(OF_MEMBERS)
    # A filter that took effect would reveal it too.
    assert (rows_with(reason="nobody"), rows_with(reason="shared")) == (rows_with(), {"u-shared"})
    whole = get_list(admin)
    assert all(str(one.label) in whole for one in reasons)
    nobody, shared = LinkConflict.Reason.NOBODY, LinkConflict.Reason.SHARED
    assert (NEUTRAL in page(chief, nobody), str(nobody.label) in page(chief, nobody)) == (True, False)
    assert str(shared.label) in page(chief, shared)
    assert str(nobody.label) in page(admin, nobody)


def test_of_a_person_whom_one_sees_other_companies_are_not_told(corp: Corp, other_corp: Corp) -> None:
    member(corp, "ww", name="王")
    person = make_person("ww", corp, "")
    WeComAccount.objects.create(user=person, corp=other_corp, userid="ww", is_primary=False)
    member(corp, "boss", name="总")
    make_person("boss", corp, "", is_staff=True)
    # The administrator must not learn who has the account without a company; the question is asked anyway.
    one, namesake = member(corp, "aa"), make_person("aa", corp, "")
    make_person("stranger", None, "aa")
    chief = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp))

    text = get_list(chief)
    question = chief.post(LINK, {"member": one.pk, "user": namesake.pk, "back": ""}).content.decode()

    assert NEUTRAL in text
    assert str(LinkConflict.Reason.OTHER_COMPANY.label) not in text
    assert str(LinkConflict.Reason.PROTECTED.label) in text
    assert NEUTRAL in question
    assert str(LinkConflict.Reason.COMPANY_MISSING.label) not in question
    assert links(corp) == {}


def test_who_may_only_look_gets_no_buttons(corp: Corp) -> None:
    member(corp, "lilei")
    make_person("LiLei", corp, "")
    reader = signed_in(with_role("reader", Role.READ_ONLY, corp))

    text = get_list(reader)

    assert [word in text for word in ("用户名相同", LINK, BULK)] == [True, False, False]


def make_form(one: Member, user: User, **values: str) -> dict[str, Any]:
    return {"member": one.pk, "user": user.pk, **values}


@pytest.mark.parametrize("has_account", [False, True])
def test_one_click_links(admin: Client, corp: Corp, has_account: bool) -> None:
    one = member(corp, "LiLei")
    user = make_person("lilei", corp, "", password=None) if has_account else make("lilei")
    LinkConflict.objects.create(member=one, reason="nobody", since=NOW)
    assert f'action="{LINK}"' in get_list(admin)

    response = admin.post(LINK, make_form(one, user, back="side=members&company=1"))

    assert response["Location"] == f"{LIST}?side=members&company=1"
    account = user.wecom_accounts.get()
    assert (account.corp, account.userid, account.userid_folded, account.is_primary) == (corp, "LiLei", "lilei", True)
    assert not LinkConflict.objects.exists()
    entry = AuditEntry.objects.filter(model="accounts.wecomaccount", actor_name="root").get()
    assert entry.changes == [["userid", None, "LiLei"]]


@pytest.mark.parametrize(
    "values", [{"is_staff": True}, {"is_superuser": True}, {"password": "pbkdf2_sha256$1$a$b"}, {"is_active": False}]
)
def test_what_a_run_would_not_link_is_asked_about(admin: Client, corp: Corp, values: dict[str, Any]) -> None:
    one, user = member(corp, "lilei"), User.objects.create(**{"username": "lilei", "password": "!", **values})

    question = admin.post(LINK, make_form(one, user))

    assert question.status_code == 200
    assert 'name="confirmed"' in question.content.decode()
    assert links(corp) == {}
    assert admin.post(LINK, make_form(one, user, confirmed="1")).status_code == 302
    assert links(corp) == {"lilei": "lilei"}


def test_the_name_alone_is_asked_about(admin: Client, corp: Corp) -> None:
    one, user = member(corp, "z1", name="张伟"), make("zw", name="张伟")
    assert 'name="by_name"' in get_list(admin)

    assert "仅姓名相同，可能不是同一个人。" in admin.post(LINK, make_form(one, user, by_name="1")).content.decode()
    assert links(corp) == {}


def test_somebody_of_another_company_is_linked_besides_after_a_question(
    admin: Client, corp: Corp, other_corp: Corp
) -> None:
    one, user = member(corp, "lilei"), make_person("lilei", other_corp, "li", password=None)

    assert admin.post(LINK, make_form(one, user)).status_code == 200
    admin.post(LINK, make_form(one, user, confirmed="1"))

    assert set(user.wecom_accounts.values_list("corp", "is_primary")) == {(other_corp.pk, True), (corp.pk, False)}


def test_whom_one_may_not_change_or_see_cannot_be_linked(corp: Corp, other_corp: Corp) -> None:
    here, elsewhere = member(corp, "lilei"), member(other_corp, "lilei")
    both = make_person("both", corp, "", password=None)
    WeComAccount.objects.create(user=both, corp=other_corp, userid="both", is_primary=False)
    own = make_person("lilei", corp, "", password=None)
    colleague, stranger = with_role("root2", Role.SYSTEM_ADMINISTRATOR), make("stranger")
    chief = with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp)

    for one, user in ((here, both), (here, colleague), (here, stranger), (elsewhere, own)):
        assert signed_in(chief).post(LINK, make_form(one, user, confirmed="1")).status_code == 404
        with pytest.raises(LinkRefusedError):
            link_by_hand(member=one, user=user, editor=chief)
    assert (links(corp), links(other_corp)) == ({}, {"both": "both"})


def test_who_left_another_company_receives_through_the_new_link(root: User, corp: Corp, other_corp: Corp) -> None:
    one, user = member(corp, "lilei"), make("lilei")
    WeComAccount.objects.create(user=user, corp=other_corp, left_at=NOW)

    link_by_hand(member=one, user=user, editor=root)

    primary = user.wecom_accounts.get(is_primary=True)
    assert (primary.corp, primary.userid) == (corp, "lilei")


@pytest.mark.parametrize("state", [{"waits_since": NOW}, {"presence": "deleted", "left_at": NOW}, None])
def test_who_came_back_or_is_gone_or_linked_meanwhile_cannot_be_linked(
    admin: Client, root: User, corp: Corp, state: dict[str, Any] | None
) -> None:
    one, user = member(corp, "lilei", **(state or {})), make("lilei")
    if state is None:
        make_person("faster", corp, "LILEI")
    before = links(corp)

    page: Any = admin.post(LINK, make_form(one, user, confirmed="1"), follow=True)

    assert ("已关联" in str([str(one) for one in page.context["messages"]])) is (state is None)
    assert links(corp) == before
    with pytest.raises(LinkRefusedError):
        link_by_hand(member=one, user=user, editor=root)


def test_an_account_that_somebody_else_fills_meanwhile_is_not_called_linked(root: User, corp: Corp) -> None:
    one, user = member(corp, "lilei"), make("lilei")
    empty = WeComAccount.objects.create(user=user, corp=corp)
    own = WeComAccount.objects.filter(pk=empty.pk)

    with (
        just_before('UPDATE "accounts_wecomaccount"', lambda: own.update(userid="other", userid_folded="other")),
        pytest.raises(LinkRefusedError),
    ):
        link_by_hand(member=one, user=user, editor=root)

    entries = AuditEntry.objects.filter(model="accounts.wecomaccount")
    assert [(entry.action, entry.changes) for entry in entries] == [
        ("created", [["user", None, "lilei"], ["corp", None, "北山制造"]])
    ]


@pytest.mark.django_db(transaction=True)
def test_a_link_by_hand_does_not_deadlock_with_a_run_of_the_directory(root: User, corp: Corp) -> None:
    """Lock in a run's order: it fills the account, and then reads the person's groups."""
    one, user = member(corp, "lilei"), make("lilei")
    empty = WeComAccount.objects.create(user=user, corp=corp)

    def link() -> None:
        try:
            link_by_hand(member=one, user=user, editor=root)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            WeComAccount.objects.filter(pk=empty.pk).update(userid="other", userid_folded="other")
            linking = pool.submit(link)
            wait([linking], timeout=0.5)  # long enough to take its first lock
            User.objects.select_for_update(no_key=True).get(pk=user.pk)
        with pytest.raises(LinkRefusedError):
            linking.result(timeout=60)

    assert list(user.wecom_accounts.values_list("userid", flat=True)) == ["other"]


def bulk(corp: Corp, **values: str) -> dict[str, Any]:
    return {"corp": corp.pk, "match_username": "on", **values}


def test_many_are_counted_first_and_linked_then_in_parts(
    admin: Client, corp: Corp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.directory.linking.MEMBERS_AT_ONCE", 3)
    for name in ("a", "b", "c", "d"):
        member(corp, name)
    make("A")
    make("b")
    make("C", is_staff=True)
    make("d")

    page = admin.get(BULK, bulk(corp)).context
    rest = admin.get(BULK + page["next"]).context
    assert (page["checked_count"], page["count"], rest["count"], rest["next"]) == (3, 2, 1, "")
    assert links(corp) == {}

    answer = admin.post(BULK, bulk(corp), follow=True)

    assert links(corp) == {"A": "a", "b": "b"}
    assert "已关联 2 人。" in answer.content.decode()
    assert AuditEntry.objects.filter(model="accounts.wecomaccount", actor_name="root").count() == 2


def test_many_are_never_linked_by_name_nor_where_somebody_could_be_mistaken(admin: Client, corp: Corp) -> None:
    member(corp, "a", name="张伟")
    make("zw", name="张伟")
    member(corp, "m1", mobile="1")
    member(corp, "m2", mobile="1")
    make("shared", mobile="1")
    member(corp, "x", mobile="2")
    member(corp, "y")
    make("y", mobile="2")
    member(corp, "back", waits_since=NOW)
    make("back")

    sent_form = bulk(corp, match_mobile="on", match_email="on")
    assert admin.get(BULK, sent_form).context["count"] == 0
    admin.post(BULK, sent_form)

    assert links(corp) == {}


def test_many_are_only_those_whom_one_may_change_and_found_by_something(corp: Corp, other_corp: Corp) -> None:
    member(corp, "a")
    member(corp, "b")
    member(other_corp, "b")
    make_person("a", corp, "", password=None)
    make("b")
    chief = signed_in(with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp))

    assert "请选择按什么匹配人员" in chief.post(BULK, {"corp": corp.pk}).content.decode()
    assert chief.post(BULK, bulk(other_corp)).status_code == 200
    assert (links(corp), links(other_corp)) == ({}, {})

    chief.post(BULK, bulk(corp))

    assert links(corp) == {"a": "a"}


@pytest.mark.usefixtures("_addresses_kept")
def test_linking_many_costs_the_same_queries_for_one_and_for_many(admin: Client, corp: Corp) -> None:
    def count(*names: str) -> int:
        for name in names:
            member(corp, name)
            make(name)
        get_list(admin)  # fills the caches of the process
        return count_statements(admin.post, BULK, bulk(corp))

    count("warm")
    assert count(*(f"u{number}" for number in range(40))) <= count("one") + 2
    assert len(links(corp)) == 42


def test_conflicts_are_shown(admin: Client, corp: Corp, other_corp: Corp) -> None:
    both = make_person("both", corp, "both")
    WeComAccount.objects.create(user=both, corp=other_corp, userid="both", is_primary=False)
    make("LiLei")
    make("lilei")
    member(corp, "mail-1", email="Team@example.com")
    member(corp, "mail-2", email="team@example.com")
    member(other_corp, "e3", email="team@example.com")
    member(corp, "m1", mobile="13000000001")
    member(corp, "m2", mobile="13000000001")
    make_person("nameless", None, "e3")
    make_person("second", None, "BOTH")
    make_person("alone", None, "nobody-else-has-it")

    found = admin.get(LIST, {"side": "conflicts"}).context["conflicts"]

    assert [(person.username, len(accounts)) for person, accounts in found["several"]] == [("both", 2)]
    assert [[one.username for one in some.rows] for some in found["spellings"]] == [["LiLei", "lilei"]]
    assert [[one.userid for one in some.rows] for some in found["emails"]] == [["mail-1", "mail-2"]]
    assert [[one.userid for one in some.rows] for some in found["mobiles"]] == [["m1", "m2"]]
    assert [one.user.username for one in found["without_corp"]] == ["second", "nameless"]
    text = get_list(admin, side="conflicts", company=str(other_corp.pk))
    assert "mail-1" not in text  # unlike any token on the page
    assert "没有冲突" in get_list(
        signed_in(with_role("elsewhere", Role.READ_ONLY, make_corp("西岭", 9))), side="conflicts"
    )


def request_of(user: User) -> HttpRequest:
    request = RequestFactory().get("/admin/")
    request.user = user
    return request


def test_the_index_points_at_who_is_not_linked_and_at_runs_that_ask_or_stopped(
    root: User, corp: Corp, other_corp: Corp
) -> None:
    def run(one: Corp, status: str, **values: Any) -> SyncRun:
        fields = {"trigger": "nightly", "requested_at": NOW, **values}
        return SyncRun.objects.create(corp=one, status=status, **fields)

    corps = [corp, other_corp]
    for one, mode in zip(corps, ("link", "off"), strict=True):
        LinkConflict.objects.create(member=member(one, "x"), reason="nobody", since=NOW)
        DirectoryPolicy.objects.create(corp=one, mode=mode)
    run(corp, "failed")
    run(corp, "done", finished_at=NOW)
    asking, failed = run(corp, "asking"), run(other_corp, "failed")

    found = list_directory_attentions(request_of(root), corps)

    assert [(one.url.split("/")[-3], one.tone) for one in found[:2]] == [
        (str(asking.pk), "bad"),
        (str(failed.pk), "warn"),
    ]
    [people] = found[2:]
    assert (people.url, people.tone) == (f"{LIST}?company={corp.pk}", "warn")
    assert "1 名企业微信成员" in people.sentence
    lines = list_directory_lines(request_of(root), corps)
    assert {pk: [line.value for line in those] for pk, those in lines.items()} == {corp.pk: ["2026-11-24 09:00"]}
    assert list_directory_attentions(request_of(with_role("p", Role.PUSH_EDITOR)), corps) == []
