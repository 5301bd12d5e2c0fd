"""Refused codes are spent in the background, unreadable on the way there."""

from __future__ import annotations

import pytest

from accounts import burning, tasks
from accounts.sign_in import AuthorizationCode
from guanwecom.celery import app
from integrations.models import Corp
from integrations.store import valkey
from tests.accounts.conftest import Visitor
from tests.accounts.wecom import WeCom, refusal


def test_a_code_is_redeemed(corp: Corp, wecom: WeCom) -> None:
    tasks.burn_code(corp.pk, burning.seal(AuthorizationCode("STRAY")))

    assert wecom.redeemed == ["STRAY"]


@pytest.mark.parametrize("instead", [refusal(40029, "invalid code"), refusal(-1, "busy"), refusal(60020, "ip")])
def test_whatever_wecom_says_the_task_ends_in_peace(corp: Corp, wecom: WeCom, instead: dict[str, object]) -> None:
    wecom.instead["getuserinfo"] = instead

    tasks.burn_code(corp.pk, burning.seal(AuthorizationCode("STRAY")))

    assert wecom.redeemed == ["STRAY"]


def test_the_code_of_a_corp_disabled_meanwhile_is_left_alone(corp: Corp, wecom: WeCom) -> None:
    Corp.objects.update(is_enabled=False)

    tasks.burn_code(corp.pk, burning.seal(AuthorizationCode("STRAY")))

    assert wecom.redeemed == []


def test_what_no_key_opens_is_dropped(corp: Corp, wecom: WeCom) -> None:
    tasks.burn_code(corp.pk, "gAAAAABinvented")

    assert wecom.redeemed == []


def test_the_queue_holds_no_readable_code(corp: Corp, phone: Visitor, wecom: WeCom) -> None:
    app.conf.task_always_eager = False

    phone.arrive(corp, code="READABLE-CODE-0123456789")

    queued = str(valkey().lrange("celery", 0, -1))
    assert "accounts.burn_code" in queued
    assert "READABLE-CODE" not in queued
    assert wecom.redeemed == []


def test_invented_codes_do_not_use_up_the_companys_calls(
    corp: Corp, other_corp: Corp, phone: Visitor, wecom: WeCom
) -> None:
    for number in range(burning.BURNS_PER_MINUTE + 5):
        phone.arrive(corp, code=f"INVENTED{number}")
    phone.arrive(other_corp, code="ANOTHER")

    assert wecom.redeemed == [*(f"INVENTED{number}" for number in range(burning.BURNS_PER_MINUTE)), "ANOTHER"]
    assert 0 < valkey().ttl(f"accounts:{{limits}}:burns:{corp.pk}") <= 60


def test_a_code_does_not_show_itself() -> None:
    assert "SECRET" not in repr(AuthorizationCode("SECRET"))
    assert "SECRET" not in burning.seal(AuthorizationCode("SECRET"))
