"""Limits on sign-in steps per minute, and refused codes, which are redeemed in the background."""

from typing import Any

import pytest

from accounts import tasks
from accounts.authentication import backends, flow
from accounts.authentication.backends import AuthorizationCode
from accounts.models import User
from guanwecom.celery import app
from integrations.core.redis import valkey
from integrations.models import Corp, SiteAddress
from tests.accounts.conftest import DESKTOP, Visitor, make_corp, state_in, visitor
from tests.accounts.wecom import WeCom, refusal


def start(browser: Visitor, corp: Corp, address: str = "203.0.113.1") -> Any:
    return browser.client.get(f"/wecom/{corp.pk}/start/", {"next": "/m/"}, REMOTE_ADDR=address)


def test_an_address_over_its_limit_is_told_to_wait(corp: Corp, phone: Visitor, settings: Any) -> None:
    settings.SIGN_INS_PER_ADDRESS = 2

    statuses = [start(phone, corp).status_code for _time in range(3)]
    refused = start(phone, corp)

    assert statuses == [302, 302, 429]
    assert refused.headers["Retry-After"] == "60"
    assert "登录过于频繁" in refused.content.decode()
    assert f'href="/wecom/{corp.pk}/start/?next=%2Fm%2F"' in refused.content.decode()
    assert len(list(valkey().keys("accounts:login-state:*"))) == 2


def test_other_addresses_go_on_and_one_ipv6_network_is_one_address(corp: Corp, phone: Visitor, settings: Any) -> None:
    settings.SIGN_INS_PER_ADDRESS = 1
    for address, neighbour, other in (
        ("203.0.113.1", "203.0.113.1", "203.0.113.2"),
        ("2001:db8::1", "2001:db8:0:ffff::2", "2001:db8:1::1"),
    ):
        start(phone, corp, address)
        assert start(phone, corp, neighbour).status_code == 429
        assert start(phone, corp, other).status_code == 302


def test_a_code_over_its_companys_limit_is_refused(
    corp: Corp, other_corp: Corp, person: User, phone: Visitor, wecom: WeCom, settings: Any
) -> None:
    settings.SIGN_INS_PER_COMPANY = 1
    for code in ("C", "D"):
        wecom.gives(code, userid="lilei")
    phone.arrive(corp, code="C", state=phone.begin(corp))
    other = visitor()

    response = other.arrive(corp, code="D", state=other.begin(corp))

    page = other.get(response.headers["Location"])
    assert page.status_code == 429
    assert "可调大 SIGN_INS_PER_ADDRESS，即每个网络的上限。公司的上限是固定的。" in page.content.decode()
    assert (phone.user_id, other.user_id) == (person.pk, None)
    assert wecom.redeemed == ["C", "D"]
    assert start(other, other_corp).status_code == 302


def test_what_anybody_may_ask_for_counts_against_no_company(
    corp: Corp, person: User, phone: Visitor, wecom: WeCom, settings: Any
) -> None:
    """Let many networks of one provider's customer try: their starts, panels and unknown codes block nobody."""
    settings.SIGN_INS_PER_COMPANY = 1
    wecom.gives("C", userid="lilei")
    anybody = visitor(DESKTOP)
    for network in range(5):
        start(anybody, corp, f"2001:db8:{network}::1")
        anybody.client.post(f"/wecom/{corp.pk}/panel/", REMOTE_ADDR=f"2001:db8:{network}::1")
        anybody.arrive(corp, code=f"invented{network}", state="a" * 40 + "1")

    phone.arrive(corp, code="C", state=phone.begin(corp))

    assert phone.user_id == person.pk


def test_a_code_over_the_limit_is_refused_and_its_state_is_not_consumed(
    corp: Corp, person: User, phone: Visitor, wecom: WeCom, settings: Any
) -> None:
    wecom.gives("C", userid="lilei")
    state = phone.begin(corp)
    settings.SIGN_INS_PER_ADDRESS = 1

    response = phone.arrive(corp, code="C", state=state)

    assert response.headers["Location"].startswith("/login/trouble/?t=")
    assert phone.get(response.headers["Location"]).status_code == 429
    assert (phone.user_id, wecom.read, wecom.redeemed) == (None, [], ["C"])
    settings.SIGN_INS_PER_ADDRESS = 1000
    wecom.gives("D", userid="lilei")
    phone.arrive(corp, code="D", state=state)
    assert phone.user_id == person.pk


def test_arrivals_with_states_that_are_none_count_too(corp: Corp, phone: Visitor, wecom: WeCom, settings: Any) -> None:
    wecom.gives("C", userid="lilei")
    settings.SIGN_INS_PER_ADDRESS = 1
    start(phone, corp, "127.0.0.1")

    for state in ("", "invented", "a" * 40 + "1"):
        response = phone.arrive(corp, code="C", state=state)

        assert phone.get(response.headers["Location"]).status_code == 429


def test_only_codes_that_are_redeemed_count_against_their_company(
    corp: Corp, person: User, phone: Visitor, wecom: WeCom, settings: Any
) -> None:
    """Ignore impossible codes, declined sign-ins, codes of another browser, refused codes and repeats."""
    settings.SIGN_INS_PER_COMPANY = 1
    for code in ("C", "D"):
        wecom.gives(code, userid="lilei")
    phone.arrive(corp, code="not a code", state=phone.begin(corp))
    phone.arrive(corp, code="", state=phone.begin(corp))
    state = phone.begin(corp)
    visitor().arrive(corp, code="D", state=state)
    phone.arrive(corp, code="D", state=state)

    for _time in range(3):
        phone.arrive(corp, code="C", state=state)

    assert phone.user_id == person.pk
    assert [int(valkey().get(key) or 0) for key in valkey().keys("accounts:{limits}:sign-ins:corp:*")] == [1]


def test_a_stray_arrival_that_begins_anew_is_one_step_of_a_minute(corp: Corp, phone: Visitor) -> None:
    """Count one step, as for the home page link with which a whole company begins its day."""
    phone.arrive(corp, state="")

    [key] = valkey().keys("accounts:{limits}:sign-ins:*")
    assert len(list(valkey().keys("accounts:login-state:*"))) == 1
    assert int(valkey().get(key) or 0) == 1
    assert 30 < valkey().ttl(key) <= 60


@pytest.mark.parametrize(
    ("method", "path", "first"),
    [
        ("post", "/wecom/{corp}/panel/", 200),
        ("get", "/wecom/{disabled}/start/", 403),
        ("get", "/wecom/999999/start/", 404),
        ("get", f"/wecom/{2**63}/start/", 404),
        ("get", "/wecom/{elsewhere}/start/", 302),
        ("get", "/wecom/{elsewhere}/start/?moved=1", 302),
    ],
)
def test_whatever_begins_a_sign_in_counts(corp: Corp, settings: Any, method: str, path: str, first: int) -> None:
    other = SiteAddress.objects.create(url="https://other.example.com/")
    corps = {"corp": corp, "disabled": make_corp("停用", 8, is_enabled=False)}
    corps["elsewhere"] = make_corp("别处", 9, site_address=other)
    settings.SIGN_INS_PER_ADDRESS = 1
    ask = getattr(visitor(DESKTOP).client, method)

    answers = [ask(path.format(**{name: one.pk for name, one in corps.items()})) for _time in range(2)]

    assert [answer.status_code for answer in answers] == [first, 429]


def test_who_is_signed_in_already_is_neither_counted_nor_held_up(
    corp: Corp, person: User, phone: Visitor, wecom: WeCom, settings: Any
) -> None:
    phone.sign_in(corp, wecom, "lilei")
    counted = {key: valkey().get(key) for key in valkey().keys("accounts:{limits}:*")}
    settings.SIGN_INS_PER_ADDRESS = settings.SIGN_INS_PER_COMPANY = 1

    landings = [
        phone.get(f"/wecom/{corp.pk}/start/?next=/m/1/").headers["Location"],
        phone.get(f"/wecom/{corp.pk}/callback/?path_url=m/1/").headers["Location"],
    ]

    assert landings == ["/m/1/", "/m/1/"]
    assert {key: valkey().get(key) for key in valkey().keys("accounts:{limits}:*")} == counted


@pytest.mark.parametrize(
    "instead", [{}, *(refusal(code, "no") for code in (40029, -1, 60020))], ids=["taken", "invalid", "busy", "ip"]
)
def test_a_code_is_redeemed_whatever_wecom_says(corp: Corp, wecom: WeCom, instead: dict[str, object]) -> None:
    if instead:
        wecom.instead["getuserinfo"] = instead

    tasks.redeem_refused_code(corp.pk, flow.seal_values(backends.SEALED_CODE, "STRAY"))

    assert wecom.redeemed == ["STRAY"]


def test_the_code_of_a_corp_disabled_meanwhile_and_what_no_key_opens_are_left_alone(corp: Corp, wecom: WeCom) -> None:
    tasks.redeem_refused_code(corp.pk, "gAAAAABinvented")
    Corp.objects.update(is_enabled=False)

    tasks.redeem_refused_code(corp.pk, flow.seal_values(backends.SEALED_CODE, "STRAY"))

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
    monkeypatch.setattr(backends, "CODES_REDEEMED_PER_MINUTE", 5)
    for number in range(backends.CODES_REDEEMED_PER_MINUTE + 5):
        phone.arrive(corp, code=f"INVENTED{number}")
    phone.arrive(other_corp, code="ANOTHER")

    assert wecom.redeemed == [*(f"INVENTED{number}" for number in range(backends.CODES_REDEEMED_PER_MINUTE)), "ANOTHER"]
    assert 0 < valkey().ttl(f"accounts:{{limits}}:refused-codes:{corp.pk}") <= 60


class TestBeforeItIsRedeemed:
    """Refused codes that are not redeemed yet, or never: no worker, or too many in a minute."""

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


def test_the_static_home_page_link_costs_a_second_call_in_the_background(
    corp: Corp, person: User, phone: Visitor, wecom: WeCom
) -> None:
    """Count the calls of auth/getuserinfo (docs/decisions/0003)."""
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
    assert "SECRET" not in flow.seal_values(backends.SEALED_CODE, "SECRET")
