"""The company's page as a guided path: values to copy, links to build, addresses to enter, changes to write."""

import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.companies import console, links, services
from integrations.models import Corp, Job, SiteAddress
from tests.integrations.conftest import CORPID, client_of, staff
from tests.integrations.diagnosing import check_run
from tests.integrations.pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_one_host")]
# Written by hand from the specification's link and choice 2 of the design; 1 stands for the company's key.
HOME_PAGE = (
    f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={CORPID}"
    "&redirect_uri=https%3A%2F%2Fbi.example.com%2Fwecom%2F{pk}%2Fcallback%2F{query}"
    "&response_type=code&scope=snsapi_base&agentid=1000002#wechat_redirect"
)


@pytest.fixture
def corp(corp: Corp) -> Corp:
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": "https://bi.example.com/"})
    return corp


def address(corp: Corp, name: str, *args: Any) -> str:
    return reverse(f"admin:integrations_corp_{name}", args=[corp.pk, *args])


def fields_of(response: Any) -> dict[str, str]:
    """Return every copyable value of a page, by the id of its field."""
    content = response.content.decode()
    found = {}
    for field in re.findall(r"<input[^>]*readonly[^>]*>", content):
        name, value = re.search(r'id="([^"]*)"', field), re.search(r'value="([^"]*)"', field)
        if name and value:
            found[name[1]] = html.unescape(value[1])
    assert set(found) == set(re.findall(r'data-copy="([^"]*)"', content))
    return found


def test_every_value_derives_from_the_site_address(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(domain_id="a&b")
    page = admin_client.get(address(corp, "change"))
    assert "It gives no silent sign-in and no link to an inner page" in text_of(page)
    copied = fields_of(page)

    assert copied["value-domain"] == copied["value-callback"] == "bi.example.com"
    assert copied["value-home-page"] == HOME_PAGE.format(pk=corp.pk, query="%3Fdomain%3Da%2526b")
    assert copied["value-login"] == "https://bi.example.com/login/"
    assert copied["callback-app"] == f"https://bi.example.com/wecom/{corp.pk}/events/"
    assert copied["callback-contacts"] == f"https://bi.example.com/wecom/{corp.pk}/contacts-events/"
    assert copied["link-result"] == copied["value-home-page"]


def test_where_nobody_signs_in_the_page_does_not_speak_of_it(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(sign_in_enabled=False, is_enabled=True)

    response = admin_client.get(address(corp, "change"))
    link = admin_client.get(address(corp, "link"), {"page": "other", "path": "survey-engine"})

    copied, text = fields_of(response), text_of(response)
    assert not {"value-home-page", "value-ips"} & set(copied)
    assert copied["value-login"] == copied["link-result"] == "https://bi.example.com/login/"
    assert fields_of(link) == {"link-result": "https://bi.example.com/survey-engine"}
    assert "There is no silent sign-in and no QR code." in text
    assert "People of this company receive messages; sign-in with WeCom is off." in text
    assert "sign in with WeCom and receive" not in text
    assert "a link that opens one page of this site, where people sign in by themselves." in text
    assert "signing people in on the way" not in text
    assert states(corp)["verification"] == "optional"
    shown = '<span class="pill pill-good">done</span> <span class="meta">not needed</span>'
    assert f'<span id="state-of-domain">{shown}</span>' in response.text


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        (
            {"page": "other", "path": "https://bi.example.com/m/1?a=1&b=报表"},
            "%3Fpath_url%3D%2Fm%2F1%253Fa%253D1%2526b%253D%25E6%258A%25A5%25E8%25A1%25A8",
        ),
        ({"page": "", "path": "ignored"}, ""),
        ({}, ""),
    ],
)
def test_a_link_is_built_on_the_server(admin_client: Client, corp: Corp, asked: dict[str, str], query: str) -> None:
    page = admin_client.get(address(corp, "link"), asked)
    part = admin_client.get(address(corp, "link"), asked, headers={"accept": "application/json"})

    expected = HOME_PAGE.format(pk=corp.pk, query=query)
    assert fields_of(page) == {"link-result": expected}
    assert html.escape(expected) in part.json()["html"]


def test_a_path_that_leads_elsewhere_gives_no_link(admin_client: Client, corp: Corp) -> None:
    path = '//"><script>x'

    page = admin_client.get(address(corp, "link"), {"page": "other", "path": path})

    content = page.content.decode()
    # Each choice leads to another page: a link that names no page leads to the home page.
    assert re.findall(r'<option value="([^"]*)"', content) == ["", "other"]
    assert (page.status_code, fields_of(page)) == (200, {})
    assert 'role="alert"' in content
    assert f'value="{html.escape(path)}"' in content  # for correction, not for typing again


def states(corp: Corp) -> dict[str, str]:
    corp.refresh_from_db()
    return {step.anchor: str(step.state) for step in services.list_steps(corp)}


def test_each_step_takes_its_state_from_what_was_found(corp: Corp) -> None:
    assert set(states(corp).values()) == {"to_do"}
    assert [step.anchor for step in services.list_steps(corp) if step.is_next] == ["credentials"]
    check_run(corp, "token", "running", finished_at=None)
    assert states(corp)["credentials"] == "running"
    check_run(corp, "token", "ok")
    check_run(corp, "ip", "wrong", errcode=60020)
    check_run(corp, "domain", "ok")
    check_run(corp, "home_page", "warning")

    assert states(corp) == {
        "credentials": "done",
        "verification": "done",  # WeCom has accepted the domain, so it has seen the file
        "console": "done",
        "trusted_ip": "wrong",
        "diagnosis": "wrong",
        "enable": "to_do",
    }
    assert [step.anchor for step in services.list_steps(corp) if step.is_next] == ["trusted_ip"]
    # Results for other values do not count.
    SiteAddress.objects.update(url="https://new.example.com/")
    Corp.objects.update(connection_version=2)
    assert set(states(corp).values()) == {"to_do"}


def test_the_file_is_done_where_it_answers_at_the_present_address(corp: Corp) -> None:
    assert states(corp)["verification"] == "to_do"
    for status, state in (("ok", "done"), ("wrong", "wrong"), ("skipped", "to_do")):
        check_run(corp, "verification_file", status)
        assert states(corp)["verification"] == state
    check_run(corp, "verification_file")
    SiteAddress.objects.update(url="https://new.example.com/")
    assert states(corp)["verification"] == "to_do"


def test_the_page_s_steps_and_values_are_told_anew_while_something_is_to_do(admin_client: Client, corp: Corp) -> None:
    def seen() -> list[str]:
        page = admin_client.get(address(corp, "change")).content.decode()
        answer = admin_client.get(address(corp, "steps")).json()
        assert answer["html"] in page
        assert answer["is_unfinished"] is True
        assert "data-unfinished" in page.split(answer["html"])[0].rsplit('<div class="corp-next"', 1)[1]
        assert sorted(answer["parts"]) == sorted(
            [
                *(f"state-of-{name}" for name in (*states(corp), "domain", "home_page")),
                *("corp-state", "files-result", "known-ips", "last-writes", "staged-credentials", "token-result"),
            ]
        )
        assert all(f'id="{part}"' in page for part in answer["parts"])
        found = {name: answer["parts"][f"state-of-{name}"] for name in ("domain", "home_page")}
        assert all(f'<span id="state-of-{name}">{html}</span>' in page for name, html in found.items())
        return [re.sub(r"<[^>]+>", "", html) for html in found.values()]

    assert seen() == ["waiting not checked in WeCom yet"] * 2
    check_run(corp, "domain", "wrong")
    check_run(corp, "home_page", "ok")
    assert seen() == ["failed not so in WeCom", "done so in WeCom"]


def make_preview(corp: Corp, kind: str = "settings", **columns: Any) -> Job:
    changes = [{"name": "home_url", "before": "https://old.example.com/<b>", "after": links.build_home_page_link(corp)}]
    common = {"kind": console.WRITE, "key": f"{corp.pk}:{kind}", "payload": {"kind": kind}, "status": "done"}
    times = dict.fromkeys(("requested_at", "due_at", "finished_at"), timezone.now())
    return Job.objects.create(
        corp=corp, asked_by="root", **{**common, **times, "result": {"changes": changes}, **columns}
    )


def test_a_change_is_previewed_in_the_background_confirmed_once_and_written(admin_client: Client, corp: Corp) -> None:
    assert admin_client.post(address(corp, "write_start", "secrets")).status_code == 404
    response = admin_client.post(address(corp, "write_start", "settings"))

    write = Job.objects.get()
    assert (write.payload, write.status, write.asked_by) == ({"kind": "settings"}, "waiting", "root")
    assert response["Location"] == address(corp, "write", write.pk)
    assert "data-unfinished" in admin_client.get(response["Location"]).content.decode()
    assert admin_client.get(address(corp, "write_state", write.pk)).json()["is_unfinished"] is True

    Job.objects.update(status="failed", problem="lost")
    died = text_of(admin_client.get(address(corp, "write", write.pk)))
    assert all(one in died for one in ("Every worker that did this stopped", "Try again", "Make a new preview"))

    write = make_preview(corp)
    shown = text_of(admin_client.get(address(corp, "write", write.pk)))
    assert "In WeCom now https://old.example.com/&lt;b&gt; After writing https://open.weixin.qq.com/" in shown
    assert "Write this into WeCom" in shown
    admin_client.post(address(corp, "write_confirm", write.pk))
    response = admin_client.post(address(corp, "write_confirm", write.pk), follow=True)
    confirmed = Job.objects.latest("pk")
    assert confirmed.payload == {"kind": "settings", "requested_by": "root", **write.result}
    assert "This change was not waiting for a confirmation any more." in text_of(response)
    assert LogEntry.objects.filter(change_message__contains="home page and trusted domain").count() == 1


def test_a_script_gets_the_preview_and_the_write_with_the_address_to_ask_again(
    admin_client: Client, corp: Corp
) -> None:
    script = {"Accept": "application/json"}

    preview = admin_client.post(address(corp, "write_start", "menu"), headers=script).json()
    write = admin_client.post(address(corp, "write_confirm", make_preview(corp).pk), headers=script).json()

    jobs = list(Job.objects.filter(kind=console.WRITE, status="waiting").order_by("pk"))
    assert [answer["url"] for answer in (preview, write)] == [address(corp, "write_state", job.pk) for job in jobs]
    assert all(answer["is_unfinished"] for answer in (preview, write))


def test_a_refused_change_says_what_who_and_where_and_names_our_address(admin_client: Client, corp: Corp) -> None:
    failed: dict[str, Any] = {"status": "failed", "problem": "refused", "result": {}}
    domain = make_preview(corp, **failed, facts={"errcode": 85005, "hint": "17640000"})
    refused = {"message": "not allow to access from your ip", "hint": "[1764000000]", "caller_ip": "203.0.113.9"}
    ip = make_preview(corp, **failed, facts={**refused, "errcode": 60020})

    text = text_of(admin_client.get(address(corp, "write", domain.pk)))

    assert "The ownership of the trusted domain is not verified." in text
    assert "Download the verification file in WeCom's console" in text
    assert "Make a new preview" in text
    assert fields_of(admin_client.get(address(corp, "write", ip.pk))) == {
        "write-ip": "203.0.113.9",
        "write-detail": "errcode 60020; not allow to access from your ip; hint [1764000000]",
    }


def test_a_menu_is_shown_entry_by_entry_and_to_nobody_of_another_company(
    admin_client: Client, corp: Corp, other_corp: Corp
) -> None:
    before = [{"name": "更多", "sub_button": [{"type": "click", "name": "<i>帮助", "key": "HELP"}]}]
    after = [{"type": "view", "name": "首页", "url": "https://bi.example.com/"}]
    write = make_preview(corp, "menu", result={"changes": [{"name": "menu", "before": before, "after": after}]})

    text = text_of(admin_client.get(address(corp, "write", write.pk)))

    assert "更多 &lt;i&gt;帮助 · click HELP" in text
    assert "首页 https://bi.example.com/" in text
    assert "The menu is replaced as a whole" in text
    client = client_of(staff("one", other_corp, permissions=("view_corp", "change_corp")))  # of another company
    assert client.get(address(other_corp, "write", write.pk)).status_code == 404
    assert client.post(address(other_corp, "write_confirm", write.pk)).status_code == 404
    assert Job.objects.get() == write


KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"


def test_a_pair_of_wecom_s_console_is_pasted(admin_client: Client, corp: Corp) -> None:
    response = admin_client.post(
        address(corp, "callback_paste", "app"), {"token": " tokenOfWeCom\u200b", "aes_key": f"{KEY}\n"}, follow=True
    )

    corp.refresh_from_db()
    assert (corp.callback_token, corp.callback_aes_key) == ("tokenOfWeCom", KEY)
    assert KEY not in response.content.decode()
    assert "Token and EncodingAESKey pasted (app)." in LogEntry.objects.get().change_message


def test_what_cannot_be_such_a_pair_is_refused_and_not_repeated(admin_client: Client, corp: Corp) -> None:
    for token, aes_key, error in (
        ("t", KEY[:-1], "Ensure this value has at least 43 characters (it has 42)."),
        ("t", "!" + KEY[1:], "An EncodingAESKey has letters and digits only."),
        ("t", "", "This field is required."),
        ("a token!", KEY, "A Token has 1 to 32 letters and digits."),
        ("x" * 33, KEY, "A Token has 1 to 32 letters and digits."),
    ):
        response = admin_client.post(address(corp, "callback_paste", "app"), {"token": token, "aes_key": aes_key})

        assert error in text_of(response)
        assert not aes_key or aes_key not in response.content.decode()
    corp.refresh_from_db()
    assert (corp.callback_token, corp.callback_aes_key) == ("", "")
