"""Moving people from one company to another: who moves, who is left and why, who may, and in how many queries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.directory import transfer_batches, transfers
from accounts.models import AuditEntry, LinkRequest, PeopleMove, User, WeComAccount
from accounts.tasks import directory_tick, move_people, purge_audit
from integrations.models import Corp
from integrations.models.jobs import LeaseLostError
from tests.accounts.admin.test_admin import accounts_of, administrator, root
from tests.accounts.conftest import SITE, Visitor, make_corp, make_person
from tests.accounts.people import LIST, signed_in
from tests.accounts.wecom import WeCom
from tests.integrations.conftest import no_broker

__all__ = ["no_broker", "root"]  # fixtures
MOVE = f"{LIST}move/"


@pytest.fixture
def limited(corp: Corp, other_corp: Corp) -> User:
    """Manages the two companies between which is moved."""
    return administrator("limited", corp, other_corp)


def local(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M}"


def preview(client: Client, source: Corp, target: Corp) -> Any:
    return client.get(MOVE, {"source": source.pk, "target": target.pk})


def move(client: Client, source: Corp, target: Corp) -> Any:
    """Ask for it; a worker carries it out after the commit. Returns the page that tells of it."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        response = client.post(MOVE, {"source": source.pk, "target": target.pk})
    return client.get(response.headers["Location"]) if response.status_code == 302 else response


def moved(source: Corp, target: Corp, requested_by: User) -> transfer_batches.Change:
    """Carried out here."""
    requested, _is_new = transfers.request_move(
        source=source, target=target, requested_by=requested_by, ip=None, now=timezone.now()
    )
    done = transfers.carry_out(move_id=requested.pk, clock=timezone.now)
    assert done is not None
    return transfers.change_of(done)


class TestPage:
    def test_first_asks_between_which_companies(self, corp: Corp, other_corp: Corp, person: User, root: User) -> None:
        page = signed_in(root).get(MOVE, {"source": corp.pk})

        text = page.content.decode()
        assert f'<option value="{corp.pk}" selected>北山制造</option>' in text
        assert f'<option value="{other_corp.pk}">南湖贸易</option>' in text
        assert "将转移" not in text

    def test_says_what_it_would_do_and_does_nothing(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        make_person("holder", other_corp, "TAKEN")
        make_person("taken", corp, "taken", name="韩梅梅")
        both = make_person("both", corp, "both")
        both.wecom_accounts.create(corp=other_corp, userid="b.oth", is_primary=False)
        before = [accounts_of(user) for user in User.objects.order_by("pk")]

        text = preview(signed_in(root), corp, other_corp).content.decode()

        assert "将转移 1 个账号。" in text
        assert "1 人保持不变，因为该企业微信账号在“南湖贸易”中已属于他人：韩梅梅 (taken)" in text
        assert "1 人保持不变，因为已在“南湖贸易”中有另一个账号：both" in text
        assert "通过“北山制造”登录的人员会退出登录。" in text
        assert "您无权修改" not in text
        assert "未启用" not in text
        assert [accounts_of(user) for user in User.objects.order_by("pk")] == before

    def test_does_what_it_said(self, corp: Corp, other_corp: Corp, person: User, root: User) -> None:
        make_person("holder", other_corp, "TAKEN")
        taken = make_person("taken", corp, "taken", name="韩梅梅")
        half = make_person("half", corp, "")
        second = make_person("second", other_corp, "zhang")
        third = make_person("third", make_corp("第三", 3), "third")
        third.wecom_accounts.create(corp=corp, userid="3", is_primary=False)
        WeComAccount.objects.filter(user=second).update(userid="Zhang")

        page = move(signed_in(root), corp, other_corp)

        text = page.content.decode()
        assert f'href="{LIST}?company={other_corp.pk}"' in text
        assert "已转移 3 个账号。" in text
        assert "1 人保持不变，因为该企业微信账号在“南湖贸易”中已属于他人：韩梅梅 (taken)" in text
        assert accounts_of(person) == [("南湖贸易", "LiLei", True)]
        assert accounts_of(half) == [("南湖贸易", "", True)]
        assert accounts_of(third) == [("第三", "third", True), ("南湖贸易", "3", False)]
        assert accounts_of(taken) == [("北山制造", "taken", True)]
        assert accounts_of(second) == [("南湖贸易", "Zhang", True)]

    def test_says_that_the_other_company_is_disabled(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        Corp.objects.filter(pk=other_corp.pk).update(is_enabled=False)

        text = preview(signed_in(root), corp, other_corp).content.decode()

        assert "“南湖贸易”未启用：启用之前，这些人员既不能用企业微信登录，也收不到消息。" in text

    def test_offers_nothing_where_nobody_would_move(self, corp: Corp, other_corp: Corp, root: User) -> None:
        text = preview(signed_in(root), corp, other_corp).content.decode()

        assert "将转移 0 个账号。" in text
        assert 'value="转移"' not in text

    def test_refuses_one_company_twice_and_companies_that_are_none(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        client = signed_in(root)

        same = client.post(MOVE, {"source": corp.pk, "target": corp.pk})
        none = client.post(MOVE, {"source": corp.pk, "target": "x"})

        assert "请选择两家不同的公司。" in same.content.decode()
        assert list(none.context["form"].errors) == ["target"]
        assert accounts_of(person) == [("北山制造", "LiLei", True)]

    def test_stands_on_the_companys_page_and_on_the_list(self, corp: Corp, root: User) -> None:
        client = signed_in(root)

        assert f'href="{MOVE}?source={corp.pk}"' in client.get(f"/admin/integrations/corp/{corp.pk}/change/").text
        assert f'href="{MOVE}"' in client.get(LIST).text


class TestWhoMay:
    def test_somebody_who_manages_both_companies(
        self, corp: Corp, other_corp: Corp, person: User, limited: User
    ) -> None:
        boss = make_person("boss", corp, "boss", is_staff=True)
        elsewhere = make_person("elsewhere", corp, "e")
        elsewhere.wecom_accounts.create(corp=make_corp("第三", 3), userid="e", is_primary=False)
        client = signed_in(limited)

        text = preview(client, corp, other_corp).content.decode()
        move(client, corp, other_corp)

        assert "将转移 1 个账号。" in text
        assert "2 个账号不在其列：您无权修改这些人员。" in text
        assert accounts_of(person) == [("南湖贸易", "LiLei", True)]
        assert accounts_of(boss) == [("北山制造", "boss", True)]
        assert accounts_of(elsewhere)[0] == ("北山制造", "e", True)

    @pytest.mark.parametrize("managed", ["source", "target"])
    def test_nobody_who_manages_one_of_them(self, corp: Corp, other_corp: Corp, person: User, managed: str) -> None:
        one = administrator("one", corp if managed == "source" else other_corp)
        client = signed_in(one)

        shown = preview(client, corp, other_corp)
        refused = client.post(MOVE, {"source": corp.pk, "target": other_corp.pk})

        hidden = "target" if managed == "source" else "source"
        assert list(shown.context["form"].errors) == [hidden]
        assert list(refused.context["form"].errors) == [hidden]
        assert (other_corp if managed == "source" else corp).name not in shown.content.decode()
        assert accounts_of(person) == [("北山制造", "LiLei", True)]

    @pytest.mark.parametrize("missing", ["change_user", "change_wecomaccount"])
    def test_nobody_without_the_permissions(
        self, corp: Corp, other_corp: Corp, person: User, limited: User, missing: str
    ) -> None:
        limited.user_permissions.remove(Permission.objects.get(codename=missing))
        client = signed_in(limited)

        assert client.get(MOVE).status_code == 403
        assert client.post(MOVE, {"source": corp.pk, "target": other_corp.pk}).status_code == 403
        assert MOVE not in client.get(LIST).text
        client.post(LIST, {"action": "set_company", "_selected_action": person.pk, "apply": "1", "corp": other_corp.pk})
        assert accounts_of(person) == [("北山制造", "LiLei", True)]

    def test_nobody_who_is_not_signed_in(self, corp: Corp, other_corp: Corp, person: User) -> None:
        response = Client(SERVER_NAME="bi.example.com").post(MOVE, {"source": corp.pk, "target": other_corp.pk})

        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")
        assert accounts_of(person) == [("北山制造", "LiLei", True)]


def test_the_sessions_of_moved_people_end(
    corp: Corp, other_corp: Corp, person: User, root: User, phone: Visitor, wecom: WeCom
) -> None:
    wecom.gives("a-code-of-ten", userid="LiLei")
    phone.arrive(corp, code="a-code-of-ten", state=phone.begin(corp))
    assert phone.user_id == person.pk

    move(signed_in(root), corp, other_corp)

    answer = phone.get("/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(("/login/", f"{SITE}login/"))
    assert phone.user_id is None


class TestManyPeople:
    @pytest.fixture
    def in_steps_of_ten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer_batches, "STEP", 10)

    def people(self, corp: Corp | None, count: int) -> list[User]:
        users = User.objects.bulk_create(User(username=f"p{number}") for number in range(count))
        if corp is not None:
            WeComAccount.objects.bulk_create(
                WeComAccount(user=user, corp=corp, userid=user.username, userid_folded=user.username) for user in users
            )
        return users

    @pytest.mark.parametrize("count", [10, 30])
    @pytest.mark.parametrize("way", ["move", "set", "new"])
    def test_each_step_takes_the_same_queries(
        self, corp: Corp, other_corp: Corp, root: User, in_steps_of_ten: None, count: int, way: str
    ) -> None:
        self.people(None if way == "new" else corp, count)

        people = User.objects.exclude(pk=root.pk)
        with CaptureQueriesContext(connection) as queries:
            change = (
                moved(corp, other_corp, root)
                if way == "move"
                else transfer_batches.set_company(people=people, corp=other_corp)
            )

        statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        assert change.changed_count == count
        assert WeComAccount.objects.filter(corp=other_corp, is_primary=True).count() == count
        # With the audit trail. A move asks in each step who asked for it, and notes how far it is.
        steps, by_step = count // 10, {"move": 13, "set": 9, "new": 6}[way]
        assert len(statements) == {"move": 14, "set": 1, "new": 1}[way] + steps * by_step

    @pytest.mark.parametrize("count", [1, 40])
    def test_the_preview_takes_the_same_queries(self, corp: Corp, other_corp: Corp, root: User, count: int) -> None:
        self.people(corp, count)
        client = signed_in(root)
        preview(client, corp, other_corp)

        with CaptureQueriesContext(connection) as queries:
            preview(client, corp, other_corp)

        assert len([query for query in queries if "wecomaccount" in query["sql"]]) == 6

    def test_one_userid_in_two_steps_is_given_once(self, corp: Corp, other_corp: Corp, in_steps_of_ten: None) -> None:
        make_person("first", corp, "twin")
        self.people(corp, 20)
        late = make_person("late", make_corp("第三", 3), "TWIN")

        change = transfer_batches.set_company(people=User.objects.all(), corp=other_corp)

        assert (change.changed_count, change.taken.count, change.taken.names) == (21, 1, ["late"])
        assert accounts_of(late) == [("第三", "TWIN", True)]

    def test_only_the_first_people_left_are_named(
        self, corp: Corp, other_corp: Corp, root: User, in_steps_of_ten: None
    ) -> None:
        self.people(corp, 25)
        for number in range(25):
            make_person(f"holder{number}", other_corp, f"P{number}")

        previewed = transfer_batches.preview_of_move(people=User.objects.all(), source=corp, target=other_corp)
        done = moved(corp, other_corp, root)

        first = [f"p{number}" for number in range(10)]
        for change in (previewed, done):
            assert (change.changed_count, change.taken.count, change.taken.names) == (0, 25, first)

    def test_a_step_is_done_again_when_somebody_else_links_an_account_meanwhile(
        self, corp: Corp, other_corp: Corp, person: User, root: User
    ) -> None:
        holder = make_person("holder")
        refused: list[bool] = []

        def first_refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if not refused and sql.startswith('UPDATE "accounts_wecomaccount"'):
                refused.append(True)
                raise IntegrityError("one_account_per_wecom_identity")
            answer = execute(sql, params, many, context)
            if refused == [True] and sql.startswith("ROLLBACK TO SAVEPOINT"):
                refused.append(True)  # what the other administrator saved is there to be seen now
                WeComAccount.objects.create(user=holder, corp=other_corp, userid="lilei")
            return answer

        with connection.execute_wrapper(first_refuse):
            change = moved(corp, other_corp, root)

        assert (change.changed_count, change.taken.count) == (0, 1)
        assert accounts_of(person) == [("北山制造", "LiLei", True)]
        assert accounts_of(holder) == [("南湖贸易", "lilei", True)]

    def test_a_step_that_never_succeeds_says_so_and_leaves_the_others_done(
        self, corp: Corp, other_corp: Corp, root: User, in_steps_of_ten: None
    ) -> None:
        self.people(corp, 20)
        tries: list[str] = []

        def second_step_fails(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith('UPDATE "accounts_wecomaccount"'):
                tries.append(sql)
                if len(tries) > 1:
                    raise IntegrityError("one_account_per_wecom_identity")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(second_step_fails), pytest.raises(IntegrityError):
            moved(corp, other_corp, root)

        assert len(tries) == 4
        assert WeComAccount.objects.filter(corp=other_corp).count() == 10
        again = transfers.carry_out(move_id=PeopleMove.objects.get().pk, clock=lambda: timezone.now() + transfers.LEASE)
        assert again is not None
        assert (again.status, again.moved_count, again.done_count) == ("done", 20, 20)


class TestInTheBackground:
    @pytest.fixture(autouse=True)
    def _steps_of_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer_batches, "STEP", 2)

    @pytest.fixture
    def five(self, corp: Corp) -> list[User]:
        return [make_person(f"p{number}", corp, f"p{number}") for number in range(5)]

    @pytest.fixture
    def requested(self, five: list[User], corp: Corp, other_corp: Corp, root: User) -> PeopleMove:
        now = timezone.now()
        return transfers.request_move(source=corp, target=other_corp, requested_by=root, ip="203.0.113.8", now=now)[0]

    def test_nobody_moves_in_the_request_and_the_page_says_how_far_it_is(
        self, five: list[User], corp: Corp, other_corp: Corp, root: User
    ) -> None:
        client = signed_in(root)

        response = client.post(MOVE, {"source": corp.pk, "target": other_corp.pk})

        requested = PeopleMove.objects.get()
        assert response.headers["Location"] == f"{MOVE}{requested.pk}/"
        assert not WeComAccount.objects.filter(corp=other_corp).exists()
        page = client.get(f"{MOVE}{requested.pk}/").text
        assert "data-unfinished" in page
        assert 'max="5" value="0"' in page
        state = client.get(f"{MOVE}{requested.pk}/state/").json()
        assert state["is_unfinished"] is True
        assert "已处理 0 / 5 个账号" in state["html"]
        assert f'href="{MOVE}{requested.pk}/"' in client.get(MOVE).text

    def test_the_state_at_the_end(self, requested: PeopleMove, other_corp: Corp, root: User) -> None:
        move_people(requested.pk)

        state = signed_in(root).get(f"{MOVE}{requested.pk}/state/").json()

        assert state["is_unfinished"] is False
        assert "已转移 5 个账号。" in state["html"]
        assert "<progress" not in state["html"]

    def test_who_asks_for_the_move_under_way_is_led_to_it_and_told_whose_it_is(
        self, requested: PeopleMove, limited: User
    ) -> None:
        page = signed_in(limited).post(
            MOVE, {"source": requested.source_id, "target": requested.target_id}, follow=True
        )

        assert page.redirect_chain == [(f"{MOVE}{requested.pk}/", 302)]
        assert f"该转移已由 root 于 {local(requested.requested_at)} 发起，本页显示其进度。" in page.text
        assert PeopleMove.objects.get().requested_by_name == "root"

    def test_the_first_who_asks_is_told_of_nobody_else(self, corp: Corp, other_corp: Corp, root: User) -> None:
        page = signed_in(root).post(MOVE, {"source": corp.pk, "target": other_corp.pk}, follow=True)

        assert "该转移已由" not in page.text

    def test_is_forgotten_when_its_time_is_over(
        self, requested: PeopleMove, corp: Corp, other_corp: Corp, root: User, settings: Settings
    ) -> None:
        settings.AUDIT_RETENTION_DAYS = 30
        move_people(requested.pk)
        ended_at = PeopleMove.objects.get().finished_at
        assert ended_at is not None
        long_ago = ended_at - timedelta(days=365)
        PeopleMove.objects.create(source=other_corp, target=corp, requested_at=long_ago)  # not over

        kept = [transfers.purge(now=ended_at + timedelta(days=days)) for days in (30, 31, 32)]

        assert kept == [0, 1, 0]
        assert PeopleMove.objects.get().source == other_corp

    def test_the_nightly_task_forgets_it(self, requested: PeopleMove, settings: Settings) -> None:
        settings.AUDIT_RETENTION_DAYS = 30
        PeopleMove.objects.update(status="stopped", finished_at=timezone.now() - timedelta(days=31))

        purge_audit()

        assert not PeopleMove.objects.exists()

    def test_one_that_is_over_may_be_asked_for_again(self, requested: PeopleMove, corp: Corp, root: User) -> None:
        move_people(requested.pk)
        make_person("late", corp, "late")

        move(signed_in(root), corp, requested.target)

        assert PeopleMove.objects.order_by("pk").values_list("status", "moved_count").last() == ("done", 1)

    def test_the_tick_queues_what_waits_and_what_a_dead_worker_left(
        self, requested: PeopleMove, other_corp: Corp
    ) -> None:
        transfers._claim(requested.pk, timezone.now())
        assert transfers.waiting_for_a_worker(now=timezone.now()) == []
        assert transfers.carry_out(move_id=requested.pk, clock=timezone.now) is None
        PeopleMove.objects.update(lease_until=timezone.now())

        directory_tick()

        assert WeComAccount.objects.filter(corp=other_corp).count() == 5
        assert transfers.waiting_for_a_worker(now=timezone.now()) == []

    def test_who_takes_a_move_over_goes_on_and_counts_nobody_twice(
        self, requested: PeopleMove, other_corp: Corp
    ) -> None:
        ticks = iter(range(1000))

        def clock_that_dies() -> Any:
            if next(ticks) == 3:
                raise SystemExit
            return timezone.now()

        with pytest.raises(SystemExit):
            transfers.carry_out(move_id=requested.pk, clock=clock_that_dies)
        requested.refresh_from_db()
        assert (requested.status, requested.done_count, requested.moved_count) == ("running", 4, 4)

        done = transfers.carry_out(move_id=requested.pk, clock=lambda: timezone.now() + transfers.LEASE)

        assert done is not None
        assert (done.status, done.done_count, done.moved_count) == ("done", 5, 5)
        assert AuditEntry.objects.filter(model="accounts.wecomaccount", action="changed").count() == 5

    def test_a_worker_that_was_taken_over_moves_nobody_more(self, requested: PeopleMove, other_corp: Corp) -> None:
        claimed = transfers._claim(requested.pk, timezone.now())
        assert claimed is not None
        assert transfers._claim(requested.pk, timezone.now() + transfers.LEASE) is not None

        with pytest.raises(LeaseLostError):
            transfers._step(claimed, timezone.now)

        assert not WeComAccount.objects.filter(corp=other_corp).exists()

    def test_one_that_breaks_off_again_and_again_is_given_up(self, requested: PeopleMove, root: User) -> None:
        PeopleMove.objects.update(try_count=transfers.CLAIMED_AT_MOST)

        assert transfers.carry_out(move_id=requested.pk, clock=timezone.now) is None

        requested.refresh_from_db()
        assert (requested.status, requested.moved_count) == ("stopped", 0)
        assert "转移提前结束" in signed_in(root).get(f"{MOVE}{requested.pk}/").text

    def test_one_that_gets_on_may_take_any_number_of_workers(self, requested: PeopleMove) -> None:
        PeopleMove.objects.update(try_count=transfers.CLAIMED_AT_MOST - 1)
        claimed = transfers._claim(requested.pk, timezone.now())
        assert claimed is not None
        assert claimed.try_count == transfers.CLAIMED_AT_MOST

        transfers._step(claimed, timezone.now)

        again = transfers._claim(requested.pk, timezone.now() + transfers.LEASE)
        assert again is not None
        assert (again.status, again.try_count, again.done_count) == ("running", 1, 2)

    @pytest.mark.parametrize("way", ["back", "on", "into"])
    def test_nobody_is_carried_further_by_a_second_move(
        self, requested: PeopleMove, corp: Corp, other_corp: Corp, root: User, way: str
    ) -> None:
        """Of A → B under way: neither B → A, nor B → C, nor C → A begins."""
        third = make_corp("第三", 3)
        source, target = {"back": (other_corp, corp), "on": (other_corp, third), "into": (third, corp)}[way]
        people = [make_person(f"q{number}", source, f"q{number}") for number in range(3)]

        page = signed_in(root).post(MOVE, {"source": source.pk, "target": target.pk}, follow=True)

        assert PeopleMove.objects.get() == requested
        said = f"正在将人员从“北山制造”转移到“南湖贸易”（root 于 {local(requested.requested_at)} 发起），请等待完成。"
        assert said in page.text
        assert [person.wecom_accounts.get().corp for person in people] == [source] * 3

    def test_whose_move_is_in_the_way_is_not_said_to_who_sees_one_of_its_companies(
        self, requested: PeopleMove, other_corp: Corp
    ) -> None:
        third = make_corp("第三", 3)
        client = signed_in(administrator("elsewhere", other_corp, third))

        page = client.post(MOVE, {"source": other_corp.pk, "target": third.pk}, follow=True).text

        assert "正在有人员转入“南湖贸易”或转出“第三”，请等待完成。" in page
        assert "北山制造" not in page
        assert PeopleMove.objects.get() == requested

    def test_a_move_that_crosses_no_other_begins_beside_it(
        self, requested: PeopleMove, corp: Corp, other_corp: Corp, root: User
    ) -> None:
        third = make_corp("第三", 3)
        late = make_person("late", third, "late")

        move(signed_in(root), third, other_corp)

        assert accounts_of(late) == [("南湖贸易", "late", True)]

    @pytest.mark.parametrize("loss", ["disabled", "no staff", "no permission", "a company", "gone"])
    def test_who_may_not_any_more_moves_nobody(
        self, five: list[User], corp: Corp, other_corp: Corp, limited: User, loss: str
    ) -> None:
        requested, _is_new = transfers.request_move(
            source=corp, target=other_corp, requested_by=limited, ip=None, now=timezone.now()
        )
        match loss:
            case "disabled":
                User.objects.filter(pk=limited.pk).update(is_active=False)
            case "no staff":
                User.objects.filter(pk=limited.pk).update(is_staff=False)
            case "no permission":
                limited.user_permissions.clear()
            case "a company":
                limited.managed_corps.remove(other_corp)
            case _:
                limited.delete()

        done = transfers.carry_out(move_id=requested.pk, clock=timezone.now)

        assert done is not None
        assert (done.status, done.moved_count, done.requested_by_name) == ("stopped", 0, "limited")
        assert not WeComAccount.objects.filter(corp=other_corp).exists()

    def test_people_whom_the_asker_may_not_change_are_counted(
        self, five: list[User], corp: Corp, other_corp: Corp, limited: User
    ) -> None:
        make_person("boss", corp, "boss", is_staff=True)

        done = move(signed_in(limited), corp, other_corp)

        assert "已转移 5 个账号。" in done.text
        assert "1 个账号不在其列：limited 无权修改这些人员。" in done.text

    def test_the_trail_names_who_asked_and_from_where(
        self, requested: PeopleMove, corp: Corp, other_corp: Corp
    ) -> None:
        move_people(requested.pk)

        entries = AuditEntry.objects.filter(model="accounts.wecomaccount", action="changed")
        assert entries.count() == 5
        assert set(entries.values_list("actor_name", "ip")) == {("root", "203.0.113.8")}
        assert entries[0].changes == [["corp", "北山制造", "南湖贸易"]]

    def test_accounts_that_come_meanwhile_stay(self, requested: PeopleMove, corp: Corp, other_corp: Corp) -> None:
        late = make_person("late", corp, "late")

        move_people(requested.pk)

        assert accounts_of(late) == [("北山制造", "late", True)]
        assert WeComAccount.objects.filter(corp=other_corp).count() == 5

    @pytest.mark.parametrize("managed", ["source", "target"])
    def test_is_seen_by_those_only_who_see_both_companies(
        self, requested: PeopleMove, corp: Corp, other_corp: Corp, managed: str
    ) -> None:
        client = signed_in(administrator("one", corp if managed == "source" else other_corp))

        assert client.get(f"{MOVE}{requested.pk}/").status_code == 404
        assert client.get(f"{MOVE}{requested.pk}/state/").status_code == 404
        assert f"{MOVE}{requested.pk}/" not in client.get(MOVE).text

    @pytest.mark.django_db(transaction=True)
    def test_an_unreachable_queue_is_said_and_the_tick_does_it(
        self, five: list[User], corp: Corp, other_corp: Corp, root: User, no_broker: None
    ) -> None:
        page = move(signed_in(root), corp, other_corp)

        assert "暂时无法连接队列" in page.text
        assert transfers.waiting_for_a_worker(now=timezone.now()) == [PeopleMove.objects.get().pk]


def test_setting_the_company_leaves_who_has_another_account_there(
    corp: Corp, other_corp: Corp, person: User, root: User
) -> None:
    """The same userid of the same person is not somebody else's."""
    person.wecom_accounts.create(corp=other_corp, userid="lilei", is_primary=False)
    sent = {"action": "set_company", "_selected_action": [person.pk], "apply": "1", "corp": other_corp.pk}

    page = signed_in(root).post(LIST, sent, follow=True)

    assert "1 人保持不变，因为已在“南湖贸易”中有另一个账号：李雷 (lilei)" in page.content.decode()
    assert accounts_of(person) == [("北山制造", "LiLei", True), ("南湖贸易", "lilei", False)]


@pytest.mark.parametrize("step", [{}, {"apply": "1"}])
def test_the_company_of_more_people_than_one_request_can_do_is_not_set(
    corp: Corp, other_corp: Corp, person: User, root: User, monkeypatch: pytest.MonkeyPatch, step: dict[str, str]
) -> None:
    monkeypatch.setattr(transfer_batches, "SET_AT_MOST", 1)
    second = make_person("second", corp, "second")
    sent = {"action": "set_company", "_selected_action": [person.pk, second.pk], "corp": other_corp.pk, **step}

    page = signed_in(root).post(LIST, sent, follow=True)

    refusal = "未作任何修改：一次最多设置 1 人。请减少选择、使用“转移人员…”，或"
    assert f'{refusal}<a href="{LIST.replace("/user/", "/peopleimport/add/")}">导入文件</a>。' in page.text
    assert {*accounts_of(person), *accounts_of(second)} == {("北山制造", "LiLei", True), ("北山制造", "second", True)}


def test_requests_that_an_older_release_stored_are_forgotten_after_90_days(corp: Corp) -> None:
    for userid, days in (("old", 91), ("young", 89)):
        at = timezone.now() - timedelta(days=days)
        LinkRequest.objects.create(
            corp=corp, userid=userid, userid_folded=userid, first_requested_at=at, requested_at=at
        )

    purge_audit()

    assert list(LinkRequest.objects.values_list("userid", flat=True)) == ["young"]
