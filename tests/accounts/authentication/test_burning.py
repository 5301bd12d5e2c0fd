"""Refused codes: spent in the background, and unreadable on the way there."""

from __future__ import annotations

import pytest

from accounts import tasks
from accounts.authentication import backends, flow
from accounts.authentication.backends import AuthorizationCode
from accounts.models import User
from guanwecom.celery import app
from integrations.core.redis import valkey
from integrations.models import Corp
from tests.accounts.conftest import Visitor, state_in, visitor
from tests.accounts.wecom import WeCom, refusal


@pytest.mark.parametrize(
    "instead", [{}, *(refusal(code, "no") for code in (40029, -1, 60020))], ids=["taken", "invalid", "busy", "ip"]
)
def test_a_code_is_redeemed_whatever_wecom_says(corp: Corp, wecom: WeCom, instead: dict[str, object]) -> None:
    if instead:
        wecom.instead["getuserinfo"] = instead

    tasks.burn_code(corp.pk, backends.seal(AuthorizationCode("STRAY")))

    assert wecom.redeemed == ["STRAY"]


def test_the_code_of_a_corp_disabled_meanwhile_and_what_no_key_opens_are_left_alone(corp: Corp, wecom: WeCom) -> None:
    tasks.burn_code(corp.pk, "gAAAAABinvented")
    Corp.objects.update(is_enabled=False)

    tasks.burn_code(corp.pk, backends.seal(AuthorizationCode("STRAY")))

    assert wecom.redeemed == []


def test_the_queue_holds_no_readable_code(corp: Corp, phone: Visitor, wecom: WeCom) -> None:
    app.conf.task_always_eager = False

    phone.arrive(corp, code="READABLE-CODE-0123456789")

    queued = str(valkey().lrange("celery", 0, -1))
    assert "accounts.burn_code" in queued
    assert "READABLE-CODE" not in queued
    assert wecom.redeemed == []


def test_invented_codes_do_not_use_up_the_companys_calls(
    corp: Corp, other_corp: Corp, phone: Visitor, wecom: WeCom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "BURNS_PER_MINUTE", 5)
    for number in range(backends.BURNS_PER_MINUTE + 5):
        phone.arrive(corp, code=f"INVENTED{number}")
    phone.arrive(other_corp, code="ANOTHER")

    assert wecom.redeemed == [*(f"INVENTED{number}" for number in range(backends.BURNS_PER_MINUTE)), "ANOTHER"]
    assert 0 < valkey().ttl(f"accounts:{{limits}}:burns:{corp.pk}") <= 60


class TestBeforeItIsSpent:
    """Codes that are not spent yet, or never: no worker, or too many in a minute."""

    @pytest.fixture(autouse=True)
    def _no_worker(self) -> None:
        app.conf.task_always_eager = False

    def test_a_refused_code_signs_nobody_in_who_saw_it_also_at_another_company_of_the_same_app_s(
        self, corp: Corp, other_corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        wecom.gives("STRAY", userid="lilei")
        phone.arrive(corp, code="STRAY")
        attacker = visitor()

        again = attacker.arrive(corp, code="STRAY", state=attacker.begin(corp))
        attacker.arrive(other_corp, code="STRAY", state=attacker.begin(other_corp))

        assert (attacker.user_id, wecom.redeemed) == (None, [])
        assert state_in(again)

    def test_the_state_that_it_came_with_takes_the_next_code(
        self, corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        wecom.gives("FRESH", userid="lilei")
        phone.arrive(corp, code="STRAY")
        state = phone.begin(corp)
        phone.arrive(corp, code="STRAY", state=state)

        phone.arrive(corp, code="FRESH", state=state)

        assert phone.user_id == person.pk

    def test_it_is_forgotten_when_wecom_takes_it_no_more(self, corp: Corp, phone: Visitor) -> None:
        phone.arrive(corp, code="READABLE-CODE")

        keys = valkey().keys("accounts:refused-code:*")
        assert len(keys) == 1
        assert b"READABLE-CODE" not in keys[0]
        assert 0 < valkey().ttl(keys[0]) <= flow.CODE_SECONDS


class TestWhatASignInCosts:
    """The number of calls of auth/getuserinfo (docs/decisions/0003)."""

    def test_a_second_one_in_the_background_from_the_static_home_page_link(
        self, corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        wecom.gives("STATIC", userid="lilei")
        wecom.gives("OURS", userid="lilei")

        state = state_in(phone.arrive(corp, code="STATIC"))
        stray_signs_in = phone.user_id is not None
        phone.arrive(corp, code="OURS", state=state)

        assert not stray_signs_in
        assert phone.user_id == person.pk
        assert wecom.redeemed == ["STATIC", "OURS"]


def test_a_code_does_not_show_itself() -> None:
    assert "SECRET" not in repr(AuthorizationCode("SECRET"))
    assert "SECRET" not in backends.seal(AuthorizationCode("SECRET"))
