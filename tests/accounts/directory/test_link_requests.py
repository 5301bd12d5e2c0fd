"""Somebody who is not linked asks the administrators, who see it and link."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from accounts import tasks
from accounts.authentication.errors import Cause, ErrorDetails, seal
from accounts.directory import link_requests
from accounts.models import AuditEntry, LinkRequest, User, WeComAccount
from accounts.users.roles import Role
from integrations.models import Corp, Member
from tests.accounts.conftest import DESKTOP, HOST, Visitor, make_corp, make_person, query_of, visitor
from tests.accounts.people import signed_in, with_role
from tests.accounts.wecom import WeCom

NOW = timezone.now()


def sealed(corp: Corp, userid: str = "HanMeimei", cause: Cause = Cause.NOT_LINKED) -> str:
    return seal(ErrorDetails(cause, corp_id=corp.pk, corp_name=corp.name, userid=userid, target="/m/"))


def make_request(corp: Corp, userid: str = "HanMeimei", **values: Any) -> LinkRequest:
    times = {"first_requested_at": NOW, "requested_at": NOW}
    return LinkRequest.objects.create(corp=corp, userid=userid, userid_folded=userid.lower(), **{**times, **values})


class TestRequesting:
    def test_from_the_page_where_sign_in_ends_to_the_index(self, corp: Corp, phone: Visitor, wecom: WeCom) -> None:
        wecom.gives("C", userid="HanMeimei")
        error_url = phone.arrive(corp, code="C", state=phone.begin(corp, "/m/")).headers["Location"]
        page = phone.get(error_url).content.decode()
        assert "通知管理员" in page

        answer = phone.client.post("/login/trouble/ask/", {"t": query_of(error_url)["t"]})

        assert answer.headers["Location"].startswith("/login/trouble/?t=")
        after = phone.get(answer.headers["Location"]).content.decode()
        assert "通知管理员。他们会在管理后台首页看到您的账号" in after
        assert '<button class="button" type="submit">' not in after
        row = LinkRequest.objects.get()
        assert (row.corp_id, row.userid, row.userid_folded, row.request_count) == (corp.pk, "HanMeimei", "hanmeimei", 1)
        boss = signed_in(with_role("boss", Role.SYSTEM_ADMINISTRATOR))
        index = boss.get("/admin/").content.decode()
        assert "“北山制造”的 HanMeimei 无法登录，申请关联到用户。" in index
        assert f"/admin/accounts/linkrequest/{row.pk}/change/" in index

    def test_a_missing_company_can_be_asked_about_too(self, corp: Corp, phone: Visitor) -> None:
        phone.client.post("/login/trouble/ask/", {"t": sealed(corp, cause=Cause.COMPANY_MISSING)})

        assert LinkRequest.objects.count() == 1

    @pytest.mark.parametrize("cause", sorted(set(Cause) - {Cause.NOT_LINKED, Cause.COMPANY_MISSING}))
    def test_nothing_else_can(self, corp: Corp, phone: Visitor, cause: Cause) -> None:
        response = phone.client.post("/login/trouble/ask/", {"t": sealed(corp, cause=cause)})

        assert response.headers["Location"] == "/login/"
        assert not LinkRequest.objects.exists()
        assert "/login/trouble/ask/" not in phone.get("/login/trouble/", t=sealed(corp, cause=cause)).content.decode()

    @pytest.mark.parametrize("sent", [{}, {"t": ""}, {"t": "invented"}, {"t": "A" * 5000}])
    def test_an_identity_that_wecom_has_not_confirmed_cannot(self, phone: Visitor, sent: dict[str, str]) -> None:
        assert phone.client.post("/login/trouble/ask/", sent).headers["Location"] == "/login/"
        assert not LinkRequest.objects.exists()

    def test_of_a_company_that_is_gone_cannot(self, phone: Visitor, corp: Corp) -> None:
        old = sealed(corp)
        corp.delete()

        assert phone.client.post("/login/trouble/ask/", {"t": old}).headers["Location"] == "/login/"

    def test_needs_a_form_of_ours(self, corp: Corp) -> None:
        strict = Client(enforce_csrf_checks=True, headers={"host": HOST}, SERVER_NAME=HOST)

        assert strict.post("/login/trouble/ask/", {"t": sealed(corp)}).status_code == 403
        assert strict.get("/login/trouble/ask/").status_code == 405
        assert not LinkRequest.objects.exists()

    def test_pressing_again_makes_no_second_row_and_counts_once_an_hour(self, corp: Corp, phone: Visitor) -> None:
        for minutes in (0, 1, 59, 61, 62):
            link_requests.request_link(corp=corp, userid="HANmeimei", now=NOW + timedelta(minutes=minutes))

        row = LinkRequest.objects.get()
        assert (row.request_count, row.requested_at, row.first_requested_at) == (2, NOW + timedelta(minutes=61), NOW)

    def test_after_an_hour_the_button_is_there_again(self, corp: Corp, phone: Visitor) -> None:
        make_request(corp, requested_at=timezone.now() - timedelta(minutes=61))

        assert "再次通知管理员" in phone.get("/login/trouble/", t=sealed(corp)).content.decode()

    def test_more_than_can_be_meant_are_not_noted(
        self, corp: Corp, other_corp: Corp, phone: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link_requests, "NEW_A_DAY", 2)
        make_request(corp, "a", first_requested_at=NOW - timedelta(days=2))
        for userid in ("b", "c"):
            make_request(corp, userid)

        response = phone.client.post("/login/trouble/ask/", {"t": sealed(corp)})

        assert "该公司今天的申请过多" in phone.get(response.headers["Location"]).content.decode()
        assert LinkRequest.objects.count() == 3
        assert link_requests.request_link(corp=corp, userid="b", now=NOW)
        assert link_requests.request_link(corp=other_corp, userid="x", now=NOW)


class TestAttention:
    def test_names_three_and_counts_the_rest_in_one_query(
        self, corp: Corp, rf: Any, django_assert_num_queries: Any
    ) -> None:
        for number in range(5):
            make_request(corp, f"user{number}", requested_at=NOW + timedelta(seconds=number))
        request = rf.get("/admin/")
        request.user = User.objects.create_superuser("root")

        with django_assert_num_queries(1):
            found = link_requests.attentions(request, [corp])

        assert [one.sentence.split(" ")[1] for one in found[:3]] == ["user4", "user3", "user2"]
        assert found[3].sentence == "另有 2 人申请关联企业微信账号。"
        assert found[3].url == "/admin/accounts/linkrequest/?state=open"

    def test_is_over_once_the_person_is_linked_by_whatever_way(self, corp: Corp, rf: Any) -> None:
        make_request(corp)
        make_person("han", corp, "hanMEIMEI")
        request = rf.get("/admin/")
        request.user = User.objects.create_superuser("root")

        assert link_requests.attentions(request, [corp]) == []
        assert not LinkRequest.objects.open().exists()

    def test_is_for_those_alone_who_may_see_requests_and_their_companies(
        self, corp: Corp, other_corp: Corp, rf: Any
    ) -> None:
        make_request(corp)
        for who, corps, count in (
            (with_role("a", Role.INTEGRATION_ADMINISTRATOR), [corp], 1),
            (with_role("b", Role.READ_ONLY), [corp], 0),
            (with_role("c", Role.SYSTEM_ADMINISTRATOR, other_corp), [other_corp], 0),
        ):
            request = rf.get("/admin/")
            request.user = who
            assert len(link_requests.attentions(request, corps)) == count


class TestLinking:
    @pytest.fixture
    def boss(self) -> Client:
        return signed_in(with_role("boss", Role.SYSTEM_ADMINISTRATOR))

    def save(self, client: Client, link_request: LinkRequest, user: User | None) -> Any:
        return client.post(
            f"/admin/accounts/linkrequest/{link_request.pk}/change/", {"user": user.pk if user is not None else ""}
        )

    def test_gives_the_account_to_the_user_chosen(self, corp: Corp, boss: Client) -> None:
        link_request, han = make_request(corp), make_person("han")

        response = self.save(boss, link_request, han)

        assert response.status_code == 302
        account = WeComAccount.objects.get(user=han)
        assert (account.corp_id, account.userid, account.is_primary) == (corp.pk, "HanMeimei", True)
        assert not LinkRequest.objects.open().exists()
        models = set(AuditEntry.objects.values_list("model", flat=True))
        assert {"accounts.wecomaccount", "accounts.linkrequest"} <= models

    @pytest.mark.parametrize(("has_corp", "userid"), [(False, "hanmeimei"), (True, "")])
    def test_fills_what_the_user_has_half(self, corp: Corp, boss: Client, has_corp: bool, userid: str) -> None:
        han = make_person("han")
        WeComAccount.objects.create(user=han, corp=corp if has_corp else None, userid=userid)

        self.save(boss, make_request(corp), han)

        account = WeComAccount.objects.get(user=han)
        assert (account.corp_id, account.userid, account.is_primary) == (corp.pk, "HanMeimei", True)

    def test_an_account_elsewhere_stays_the_primary_one(self, corp: Corp, other_corp: Corp, boss: Client) -> None:
        han = make_person("han", other_corp, "han")

        self.save(boss, make_request(corp), han)

        assert list(han.wecom_accounts.order_by("pk").values_list("corp", "is_primary")) == [
            (other_corp.pk, True),
            (corp.pk, False),
        ]

    def test_refuses_what_another_person_has(self, corp: Corp, boss: Client) -> None:
        link_request = make_request(corp)
        make_person("jim", corp, "hanmeimei")
        han = make_person("han")

        text = self.save(boss, link_request, han).content.decode()

        assert "此企业微信账号已关联到其他用户。" in text
        assert not han.wecom_accounts.exists()

    def test_refuses_a_second_account_in_one_company(self, corp: Corp, boss: Client) -> None:
        han = make_person("han", corp, "another")

        text = self.save(boss, make_request(corp), han).content.decode()

        assert "该用户在“北山制造”已有另一个账号" in text
        assert list(han.wecom_accounts.values_list("userid", flat=True)) == ["another"]

    def test_asks_for_a_user(self, corp: Corp, boss: Client) -> None:
        assert "请选择要关联此企业微信账号的用户" in self.save(boss, make_request(corp), None).content.decode()

    def test_nobody_links_people_beyond_their_reach(self, corp: Corp, other_corp: Corp) -> None:
        """A superuser's account, linked with one's own userid, would lend all rights."""
        boss = signed_in(with_role("part", Role.SYSTEM_ADMINISTRATOR, corp))
        link_request = make_request(corp)
        for victim in (User.objects.create_superuser("root"), make_person("far", other_corp, "far")):
            assert self.save(boss, link_request, victim).status_code == 200
            assert not victim.wecom_accounts.filter(corp=corp).exists()

    def test_shows_the_name_that_the_directory_knows(self, corp: Corp, boss: Client) -> None:
        times = {"first_seen_at": NOW, "changed_at": NOW}
        Member.objects.create(corp=corp, userid="hanmeimei", userid_folded="hanmeimei", name="韩梅梅", **times)

        text = boss.get(f"/admin/accounts/linkrequest/{make_request(corp).pk}/change/").content.decode()

        assert "韩梅梅" in text

    def test_a_race_is_said(self, corp: Corp, monkeypatch: pytest.MonkeyPatch) -> None:
        link_request, han = make_request(corp), make_person("han")
        make_person("jim", corp, "hanmeimei")
        monkeypatch.setattr(link_requests, "reason_against", lambda **_found: "")

        with pytest.raises(link_requests.LinkRefused, match="已关联到其他用户"):
            link_requests.link(request=link_request, user=han)

        assert not han.wecom_accounts.exists()

    def test_who_was_slower_reads_that_and_not_that_it_was_saved(
        self, corp: Corp, boss: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the form's check and the saving somebody else has linked the account."""
        link_request, han = make_request(corp), make_person("han")
        make_person("jim", corp, "hanmeimei")
        monkeypatch.setattr(link_requests, "reason_against", lambda **_found: "")

        response = self.save(boss, link_request, han)
        shown = boss.get(response.headers["Location"])

        assert [str(message) for message in shown.context["messages"]] == ["此企业微信账号已关联到其他用户。"]
        assert LinkRequest.objects.get(pk=link_request.pk).user is None
        assert not LogEntry.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_an_account_that_the_directory_fills_at_this_moment_is_not_written_over(self, corp: Corp) -> None:
        link_request, han = make_request(corp), make_person("han")
        empty = WeComAccount.objects.create(user=han, corp=corp)

        def link() -> None:
            try:
                link_requests.link(request=link_request, user=han)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                WeComAccount.objects.filter(pk=empty.pk).update(userid="Han2", userid_folded="han2")
                linking = pool.submit(link)
                wait([linking], timeout=0.5)  # long enough to have read the account as it was
            with pytest.raises(link_requests.LinkRefused, match="已有另一个账号"):
                linking.result(timeout=60)

        assert list(han.wecom_accounts.values_list("userid", flat=True)) == ["Han2"]


def test_old_requests_are_purged(corp: Corp) -> None:
    make_request(corp, "old", requested_at=timezone.now() - timedelta(days=91))
    make_request(corp, "young", requested_at=timezone.now() - timedelta(days=89))

    tasks.purge_audit()

    assert list(LinkRequest.objects.values_list("userid", flat=True)) == ["young"]


def test_the_page_in_english(corp: Corp) -> None:
    make_corp("另一家", 9)
    text = visitor(DESKTOP).client.get("/login/trouble/", {"t": sealed(corp)}, headers={"accept-language": "en"})

    assert "Notify the administrators" in text.content.decode()
