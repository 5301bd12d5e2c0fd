"""Returns from WeCom, and the page to which each leads."""

import re
from http.cookies import Morsel, SimpleCookie

import pytest

from accounts.authentication import flow
from accounts.models import User
from integrations.core.redis import valkey
from integrations.models import Corp
from tests.accounts.conftest import DESKTOP, Visitor, make_person, query_of, state_in, visitor
from tests.accounts.wecom import WeCom

AUTHORIZE = "https://open.weixin.qq.com/connect/oauth2/authorize?"
QR = "https://login.work.weixin.qq.com/wwlogin/sso/login?"


@pytest.fixture
def signed_in(corp: Corp, person: User, phone: Visitor, wecom: WeCom) -> Visitor:
    phone.sign_in(corp, wecom, "lilei", code="FIRST")
    assert phone.user_id == person.pk
    wecom.redeemed.clear()
    return phone


def shown_title(visitor: Visitor, location: str) -> str:
    assert location.startswith("/login/trouble/?t=")
    found = re.search(r"<h1 class=\"centred\">(.*?)</h1>", visitor.get(location).content.decode())
    assert found is not None
    return found[1]


def browser_cookie(cookies: SimpleCookie) -> Morsel[str]:
    (found,) = (morsel for name, morsel in cookies.items() if name.startswith("__Host-guanwecom-browser-"))
    return found


class TestStart:
    def test_inside_wecom_goes_to_the_authorise_page(self, corp: Corp, phone: Visitor) -> None:
        location = phone.get(f"/wecom/{corp.pk}/start/", next="/messages/7/").headers["Location"]

        assert location.startswith(AUTHORIZE)
        assert location.endswith("#wechat_redirect")
        query = query_of(location)
        assert re.fullmatch(r"[A-Za-z0-9]{40}1", query.pop("state"))
        assert query == {
            "appid": corp.corpid,
            "agentid": str(corp.agentid),
            "redirect_uri": f"https://bi.example.com/wecom/{corp.pk}/callback/",
            "response_type": "code",
            "scope": "snsapi_base",
        }

    def test_elsewhere_goes_to_the_qr_page_in_the_persons_language(self, corp: Corp, desktop: Visitor) -> None:
        start = f"/wecom/{corp.pk}/start/"
        location = desktop.get(start).headers["Location"]
        english = desktop.client.get(start, headers={"accept-language": "en"}).headers["Location"]

        assert location.startswith(QR)
        assert query_of(location)["login_type"] == "CorpApp"
        assert (query_of(location)["lang"], query_of(english)["lang"]) == ("zh", "en")

    def test_neither_state_nor_cookie_can_be_read_in_the_store_where_it_lives_five_minutes(
        self, corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        state = phone.begin(corp)
        cookie = browser_cookie(phone.client.cookies).value

        [key] = valkey().keys("accounts:login-state:*")
        kept = str((key, valkey().hgetall(key)))
        assert 270 < valkey().ttl(key) <= 300
        assert "target" in kept
        assert state not in kept
        assert cookie not in kept
        wecom.gives("C", userid="lilei")
        phone.arrive(corp, code="C", state=state)
        assert flow.STATE_SECONDS - 30 < valkey().ttl(key) <= flow.STATE_SECONDS

    def test_a_session_of_another_corp_does_not(self, other_corp: Corp, signed_in: Visitor) -> None:
        location = signed_in.get(f"/wecom/{other_corp.pk}/start/").headers["Location"]

        assert query_of(location)["appid"] == other_corp.corpid

    def test_under_another_host_moves_once_and_then_explains(self, corp: Corp) -> None:
        stray = visitor(host="localhost")

        first = stray.get(f"/wecom/{corp.pk}/start/", next="/m/").headers["Location"]
        second = stray.get(f"/wecom/{corp.pk}/start/", next="/m/", moved="1").headers["Location"]

        assert first == f"https://bi.example.com/wecom/{corp.pk}/start/?next=%2Fm%2F&moved=1"
        assert shown_title(stray, second) == "访问地址与站点地址不一致"

    def test_only_get_counts(self, corp: Corp, phone: Visitor) -> None:
        for path in ("start", "callback"):
            assert phone.client.post(f"/wecom/{corp.pk}/{path}/").status_code == 405


def begin_state(corp: Corp) -> str:
    """Return the state of a sign-in that browser B began."""
    state = flow.SignInState(corp.pk, flow.SignInKind.SILENT, "/", 1)
    text = flow.store_state(state=state, browser_id="B")
    assert text is not None
    return text


class TestStrayCode:
    """A code that we did not ask for: from the static home page link, or somebody else's."""

    def test_in_an_ordinary_browser_leads_to_the_qr_page(self, corp: Corp, desktop: Visitor, wecom: WeCom) -> None:
        assert desktop.arrive(corp, code="STRAY").headers["Location"].startswith(QR)

    def test_of_a_disabled_corp_is_left_alone(self, corp: Corp, phone: Visitor, wecom: WeCom) -> None:
        Corp.objects.update(is_enabled=False)

        phone.arrive(corp, code="STRAY")

        assert wecom.redeemed == []

    def test_under_another_host_is_not_used_there_and_the_move_keeps_the_number_of_the_attempt(
        self, corp: Corp, phone: Visitor, wecom: WeCom
    ) -> None:
        location = visitor(host="localhost").arrive(corp, path_url="x", code="STRAY").headers["Location"]

        assert location == f"https://bi.example.com/wecom/{corp.pk}/start/?next=%2Fx&moved=1&again=1"
        assert state_in(phone.client.get(location)).endswith("2")


def test_refused_cookies_end_there_even_if_the_store_forgets_everything(corp: Corp, wecom: WeCom) -> None:
    state = state_in(visitor().arrive(corp, code="C"))
    valkey().flushdb()

    location = visitor().arrive(corp, code="C2", state=state).headers["Location"]

    assert shown_title(visitor(), location) == "您的浏览器禁用了 Cookie"


class TestForeignState:
    """Sign-in CSRF. test_ways_to_arrive.py covers the state of another browser."""

    def test_of_another_corp_signs_nobody_in(
        self, corp: Corp, other_corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        wecom.gives("C", userid="lilei")

        response = phone.arrive(corp, code="C", state=phone.begin(other_corp))

        assert query_of(response.headers["Location"])["appid"] == corp.corpid
        assert phone.user_id is None

    def test_of_any_other_form_counts_as_none(self, corp: Corp, phone: Visitor, wecom: WeCom) -> None:
        for state in ("a" * 500, "' or 1=1", "状态", "A" * 40, "A" * 41, "\x00", "A" * 40 + "0"):
            assert state_in(phone.arrive(corp, code="C", state=state)).endswith("2")


class TestUsedState:
    def test_leads_nobody_to_a_last_attempt_and_somebody_signed_in_by_other_means_there_too(
        self, corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        state = phone.begin(corp, "/messages/7/")
        wecom.gives("C", userid="lilei")
        phone.arrive(corp, code="C", state=state)
        del phone.client.cookies["sessionid"]
        assert state_in(phone.arrive(corp, code="C", state=state)).endswith("3")
        phone.client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

        assert phone.arrive(corp, code="C", state=state).headers["Location"] == "/messages/7/"

    def test_is_taken_by_its_own_browser_with_one_code(self, corp: Corp) -> None:
        text, kinds = begin_state(corp), flow.StateStatus

        def consume(code: str, *browsers: str) -> flow.StateStatus:
            return flow.consume_state(text=text, browser_ids=browsers, corp_id=corp.pk, code=code).status

        assert [consume("C"), consume("C", "A", "C")] == [kinds.FOREIGN, kinds.FOREIGN]
        assert consume("C", "A", "B") is kinds.OURS
        assert [consume("D", "B"), consume("C", "B")] == [kinds.CONSUMED_WITH_ANOTHER_CODE, kinds.CONSUMED]

    def test_two_arrivals_at_once_redeem_once(self, corp: Corp) -> None:
        from tests.integrations.clients.wecom.server import at_once

        text = begin_state(corp)

        arrivals = at_once(
            8, lambda: flow.consume_state(text=text, browser_ids=["B"], corp_id=corp.pk, code="C").status
        )

        assert arrivals.count(flow.StateStatus.OURS) == 1
        assert arrivals.count(flow.StateStatus.CONSUMED) == 7


def test_a_code_of_a_form_that_wecom_never_gives_is_not_even_asked_about(
    corp: Corp, phone: Visitor, wecom: WeCom
) -> None:
    for code in ("a" * 513, "<script>", "a b", "码", "a\r\nb"):
        with_state = phone.arrive(corp, code=code, state=phone.begin(corp))
        without = phone.arrive(corp, code=code)

        assert (state_in(with_state)[-1], state_in(without)[-1]) == ("2", "2")
    assert wecom.redeemed == []


def test_declining_leads_to_the_login_page_with_a_sentence_and_does_not_begin_again(corp: Corp, phone: Visitor) -> None:
    location = phone.arrive(corp, state=phone.begin(corp, "/m/")).headers["Location"]

    assert location == "/login/?next=%2Fm%2F&stay=1&declined=1"
    assert "您在企业微信中取消了登录" in phone.get(location).content.decode()
    assert phone.arrive(corp, state="foreign").headers["Location"] == "/login/?next=%2F&stay=1&declined=1"


class TestTabs:
    def test_of_two_companies_do_not_either(
        self, corp: Corp, other_corp: Corp, person: User, phone: Visitor, wecom: WeCom
    ) -> None:
        namesake = make_person("lilei2", other_corp, "lilei")
        first, second = phone.begin(corp, "/one/"), phone.begin(other_corp, "/two/")
        wecom.gives("C1", userid="lilei")
        wecom.gives("C2", userid="lilei")

        phone.arrive(corp, code="C1", state=first)
        assert phone.user_id == person.pk
        landed = phone.arrive(other_corp, code="C2", state=second)

        assert landed.headers["Location"] == "/two/"
        assert phone.user_id == namesake.pk

    def test_signing_out_gives_the_browser_another_cookie(self, corp: Corp, person: User, wecom: WeCom) -> None:
        shared = visitor(DESKTOP)
        shared.begin(corp)
        noted = browser_cookie(shared.client.cookies)

        shared.client.post("/logout/")
        shared.begin(corp)

        assert shared.client.cookies.pop(noted.key).value == ""
        assert browser_cookie(shared.client.cookies).value != noted.value


def test_without_the_store_sign_in_says_so(corp: Corp, phone: Visitor, settings: object) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]  # pytest-django's fixture

    started = phone.get(f"/wecom/{corp.pk}/start/")
    page = phone.get(started.headers["Location"])

    assert page.status_code == 503
    assert "暂时无法登录" in page.content.decode()
