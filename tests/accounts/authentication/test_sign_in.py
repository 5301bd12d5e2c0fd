"""The way from WeCom's code to a session: who gets in, who does not, and which page says why."""

from typing import Any, cast

import pytest
import requests
from django.utils import timezone

from accounts.models import DirectoryPolicy, User
from integrations.models import Corp, Member, SyncRun
from tests.accounts.conftest import Visitor, make_person
from tests.accounts.wecom import WeCom, refusal

CODE = "CODE-of_one.person~1"
OK = {"errcode": 0, "errmsg": "ok"}


def error_page(visitor: Visitor, corp: Corp, **query: str) -> tuple[int, str]:
    response = visitor.arrive(corp, **query)
    assert response.headers["Location"].startswith("/login/trouble/?t=")
    page = visitor.get(response.headers["Location"])
    assert page.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    return page.status_code, page.content.decode()


def test_signs_in_and_lands_on_the_page_asked_for(corp: Corp, person: User, phone: Visitor, wecom: WeCom) -> None:
    wecom.gives(CODE, userid="lilei")
    state = phone.begin(corp, "/messages/7/?from=wecom&x=%E6%8A%A5")

    response = phone.arrive(corp, code=CODE, state=state)

    assert response.status_code == 302
    assert response.headers["Location"] == "/messages/7/?from=wecom&x=%E6%8A%A5"
    assert phone.user_id == person.pk
    assert phone.client.session["corp_id"] == corp.pk
    assert wecom.redeemed == [CODE]
    assert wecom.read == ["lilei"]
    # The answer is not cached and sends no referrer.
    assert response.content == b""
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"


def test_a_shared_userid_belongs_to_each_corps_own_person(
    corp: Corp, other_corp: Corp, person: User, phone: Visitor, wecom: WeCom
) -> None:
    wecom.gives(CODE, userid="LiLei")
    status, text = error_page(phone, other_corp, code=CODE, state=phone.begin(other_corp))
    assert (status, phone.user_id) == (403, None)
    assert "您的企业微信账号还没有关联" in text
    assert '<code class="hand-over">LiLei</code>' in text
    assert "请联系本系统的系统管理员，把下面的账号发给对方" in text
    assert f"/wecom/{other_corp.pk}/start/?next=%2F" in text

    namesake = make_person("lilei2", other_corp, "lilei")
    wecom.gives("another", userid="LiLei")
    phone.arrive(other_corp, code="another", state=phone.begin(other_corp))

    assert phone.user_id == namesake.pk


def test_a_missing_company_is_named_with_who_sets_it(corp: Corp, phone: Visitor, wecom: WeCom) -> None:
    make_person("half", None, "LiLei")
    wecom.gives(CODE, userid="LiLei")

    _status, text = error_page(phone, corp, code=CODE, state=phone.begin(corp))

    assert "请管理员在管理后台打开您的人员页面，把“企业微信公司名称”选为“北山制造”。" in text
    assert "LiLei" in text  # for the administrator


@pytest.mark.parametrize(
    ("operation", "instead", "status", "title"),
    [
        ("getuserinfo", refusal(60020, "not allow to access from your ip"), 502, "企业微信不信任本服务器的 IP 地址"),
        ("getuserinfo", refusal(50001, "redirect_uri unauthorized"), 502, "企业微信不信任本系统的域名"),
        ("gettoken", refusal(40001, "invalid credential"), 502, "与企业微信的对接配置不正确"),
        ("getuserinfo", refusal(-1, "system busy"), 503, "暂时无法连接企业微信"),
        ("getuserinfo", refusal(45009, "api freq out of limit"), 503, "暂时无法连接企业微信"),
        ("getuserinfo", refusal(99999, "?"), 502, "企业微信给出了无法识别的内容"),
        ("getuserinfo", "<html>Sign in to this network</html>", 502, "企业微信给出了无法识别的内容"),
        ("gettoken", "<html>Sign in to this network</html>", 502, "企业微信给出了无法识别的内容"),
        ("get", refusal(48002, "api forbidden"), 502, "与企业微信的对接配置不正确"),
        ("get", refusal(60011, "no privilege"), 403, "您不在该应用的可见范围内"),
        ("get", refusal(60111, "invalid user"), 403, "您不在该应用的可见范围内"),
        ("get", {**OK, "userid": "lilei", "name": "李雷", "enable": 0}, 403, "您不在该应用的可见范围内"),
        ("get", {**OK, "userid": "lilei", "name": "李雷", "status": 2}, 403, "您不在该应用的可见范围内"),
        ("getuserinfo", {**OK, "openid": "oSIM0001", "external_userid": "wmSIM0001"}, 403, "您不属于该公司"),
        ("getuserinfo", {**OK, "userid": "wwlinkedcompany0001/"}, 403, "您不属于该公司"),
        ("getuserinfo", requests.ConnectionError("refused"), 503, "暂时无法连接企业微信"),
        ("getuserinfo", requests.ReadTimeout("slow"), 503, "暂时无法连接企业微信"),
    ],
)
def test_explains_that_wecom_did_not_answer_as_it_should_or_let_nobody_in(
    corp: Corp,
    person: User,
    phone: Visitor,
    wecom: WeCom,
    operation: str,
    instead: dict[str, object] | str | Exception,
    status: int,
    title: str,
) -> None:
    make_person("nameless", corp, "")
    wecom.gives(CODE, userid="lilei")
    wecom.instead[operation] = instead

    shown, text = error_page(phone, corp, code=CODE, state=phone.begin(corp))

    assert shown == status
    assert f'<h1 class="centred">{title}</h1>' in text
    assert phone.user_id is None
    assert CODE not in text


def test_the_page_about_the_ip_shows_the_ip(corp: Corp, person: User, phone: Visitor, wecom: WeCom) -> None:
    wecom.instead["getuserinfo"] = refusal(60020, "not allow to access from your ip")

    _status, text = error_page(phone, corp, code=CODE, state=phone.begin(corp))

    assert '<code class="hand-over">203.0.113.9</code>' in text
    assert "errcode: 60020" in text
    assert "hint: 1764000000123456789012345" in text


@pytest.mark.parametrize("switched_off", ["is_enabled", "sign_in_enabled"])
@pytest.mark.parametrize(("asked", "read"), [("_get", ["lilei"]), ("_getuserinfo", [])])
def test_a_corp_that_is_disabled_while_wecom_is_asked_signs_nobody_in(
    *,
    corp: Corp,
    person: User,
    phone: Visitor,
    wecom: WeCom,
    monkeypatch: pytest.MonkeyPatch,
    switched_off: str,
    asked: str,
    read: list[str],
) -> None:
    """Refuse also somebody in a fresh copy of the directory, about whom WeCom is not asked again."""
    if asked == "_getuserinfo":
        now = timezone.now()
        DirectoryPolicy.objects.create(corp=corp, mode="link")
        Member.objects.create(corp=corp, userid="lilei", userid_folded="lilei", first_seen_at=now, changed_at=now)
        done = {"trigger": "manual", "status": "done", "requested_at": now, "started_at": now}
        SyncRun.objects.create(corp=corp, **done)
    wecom.gives(CODE, userid="lilei")
    state, answer = phone.begin(corp), getattr(wecom, asked)

    def disable_then_answer(query: dict[str, str]) -> dict[str, Any]:
        Corp.objects.filter(pk=corp.pk).update(**{switched_off: False})
        return cast("dict[str, Any]", answer(query))

    monkeypatch.setattr(wecom, asked, disable_then_answer)
    status, text = error_page(phone, corp, code=CODE, state=state)

    assert (status, phone.user_id, wecom.read) == (403, None, read)
    assert "企业微信登录已关闭" in text
