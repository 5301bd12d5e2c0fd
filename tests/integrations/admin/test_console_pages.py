"""The company's page as a guided path: values to copy, links to build, addresses to note, changes to have written."""

from __future__ import annotations

import datetime as dt
import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.companies import links, services
from integrations.models import ConsoleWrite, Corp, Job, SiteAddress, VerificationFile
from tests.integrations.companies.test_corp_admin import text_of
from tests.integrations.conftest import CORPID, client_of, staff
from tests.integrations.diagnosing import check_run

pytestmark = pytest.mark.django_db
# By hand, from the specification's link and choice 2 of the design; 1 stands for the company's key.
HOME_PAGE = (
    f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={CORPID}"
    "&redirect_uri=https%3A%2F%2Fbi.example.com%2Fwecom%2F{pk}%2Fcallback%2F{query}"
    "&response_type=code&scope=snsapi_base&agentid=1000002#wechat_redirect"
)


@pytest.fixture
def corp(corp: Corp) -> Corp:
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": "https://bi.example.com/"})
    return corp


@pytest.fixture(autouse=True)
def _one_host(settings: Any) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]


def address(corp: Corp, name: str, *args: Any) -> str:
    return reverse(f"admin:integrations_corp_{name}", args=[corp.pk, *args])


def fields_of(response: Any) -> dict[str, str]:
    """Every value that can be copied from a page, by the id of its field."""
    content = response.content.decode()
    found = {}
    for field in re.findall(r"<input[^>]*readonly[^>]*>", content):
        name, value = re.search(r'id="([^"]*)"', field), re.search(r'value="([^"]*)"', field)
        if name and value:
            found[name[1]] = html.unescape(value[1])
    assert set(found) == set(re.findall(r'data-copy="([^"]*)"', content))
    return found


# --- What is copied ---------------------------------------------------------------------------------------------------


def test_every_value_derives_from_the_site_address(admin_client: Client, corp: Corp) -> None:
    copied = fields_of(admin_client.get(address(corp, "change")))

    assert copied["value-domain"] == copied["value-callback"] == "bi.example.com"
    assert copied["value-home-page"] == HOME_PAGE.format(pk=corp.pk, query="")
    assert copied["value-login"] == "https://bi.example.com/login/"
    assert copied["callback-app"] == f"https://bi.example.com/wecom/{corp.pk}/events/"
    assert copied["callback-contacts"] == f"https://bi.example.com/wecom/{corp.pk}/contacts-events/"
    assert copied["link-result"] == copied["value-home-page"]


def test_the_domain_id_stands_in_the_home_page_only_where_there_is_one(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(domain_id="a&b")

    copied = fields_of(admin_client.get(address(corp, "change")))

    assert copied["value-home-page"] == HOME_PAGE.format(pk=corp.pk, query="%3Fdomain%3Da%2526b")


def test_the_domain_id_stands_before_the_page_of_a_link(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(domain_id="guandata")

    page = admin_client.get(address(corp, "link"), {"page": "other", "path": "survey-engine"})

    query = "%3Fdomain%3Dguandata%26path_url%3Dsurvey-engine"
    assert fields_of(page) == {"link-result": HOME_PAGE.format(pk=corp.pk, query=query)}


def test_without_sign_in_the_plain_address_is_the_home_page(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(sign_in_enabled=False)

    response = admin_client.get(address(corp, "change"))

    copied = fields_of(response)
    assert not {"value-home-page", "value-ips"} & set(copied)
    assert copied["value-login"] == copied["link-result"] == "https://bi.example.com/login/"
    assert "There is no silent sign-in and no QR code." in text_of(response)


def test_the_plain_address_stands_beside_with_what_it_does_not_give(admin_client: Client, corp: Corp) -> None:
    assert "It gives no silent sign-in and no link to an inner page" in text_of(
        admin_client.get(address(corp, "change"))
    )


def test_the_address_that_was_refused_when_something_was_written(admin_client: Client, corp: Corp) -> None:
    write = ConsoleWrite.objects.create(
        corp=corp, kind="settings", status="failed", problem="refused", errcode=60020, caller_ip="203.0.113.9",
        message="not allow to access from your ip", hint="[1764000000]", requested_by="root",
        requested_at=timezone.now(), finished_at=timezone.now(),
    )  # fmt: skip

    assert fields_of(admin_client.get(address(corp, "write", write.pk))) == {
        "write-ip": "203.0.113.9",
        "write-detail": "errcode 60020; not allow to access from your ip; hint [1764000000]",
    }


# --- Links to inner pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({"page": "other", "path": "survey-engine"}, "%3Fpath_url%3Dsurvey-engine"),
        (
            {"page": "other", "path": "/m/1?a=1&b=报表"},
            "%3Fpath_url%3D%2Fm%2F1%253Fa%253D1%2526b%253D%25E6%258A%25A5%25E8%25A1%25A8",
        ),
        ({"page": "other", "path": "https://bi.example.com/m/1"}, "%3Fpath_url%3D%2Fm%2F1"),
        (
            {"page": "other", "path": "https://bi.example.com/m/1?from=menu"},
            "%3Fpath_url%3D%2Fm%2F1%253Ffrom%253Dmenu",
        ),
        ({"page": "other", "path": ""}, ""),
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


@pytest.mark.parametrize(
    "path", ["//evil.example", "javascript:alert(1)", "https://evil.example/", "/\\evil.example", "/login/"]
)
def test_a_path_that_leads_elsewhere_gives_no_link(admin_client: Client, corp: Corp, path: str) -> None:
    page = admin_client.get(address(corp, "link"), {"page": "other", "path": path})

    content = page.content.decode()
    assert (page.status_code, fields_of(page)) == (200, {})
    assert 'role="alert"' in content
    assert f'value="{html.escape(path)}"' in content  # to be corrected, not typed anew


def test_no_two_choices_lead_to_one_page(admin_client: Client, corp: Corp) -> None:
    """Sign-in leads to the home page where a link names none."""
    content = admin_client.get(address(corp, "link")).content.decode()

    assert re.findall(r'<option value="([^"]*)"', content) == ["", "other"]


def test_what_is_typed_cannot_break_the_page(admin_client: Client, corp: Corp) -> None:
    page = admin_client.get(address(corp, "link"), {"page": "other", "path": '"><script>alert(1)</script>'})

    assert "<script>alert" not in page.content.decode()


def test_without_sign_in_a_link_is_the_plain_address_of_the_page(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(sign_in_enabled=False)

    page = admin_client.get(address(corp, "link"), {"page": "other", "path": "survey-engine"})

    assert fields_of(page) == {"link-result": "https://bi.example.com/survey-engine"}


# --- Trusted IPs ------------------------------------------------------------------------------------------------------


def test_what_wecom_named_and_what_was_noted_is_copied_with_semicolons(admin_client: Client, corp: Corp) -> None:
    for hours, ip in ((3, "203.0.113.1"), (2, "203.0.113.2"), (1, "203.0.113.1")):
        check_run(corp, "ip", "wrong", caller_ip=ip, finished_at=timezone.now() - dt.timedelta(hours=hours))

    admin_client.post(address(corp, "ips"), {"addresses": "203.0.113.9，\t203.0.113.2\u200b\t2001:db8::1"})

    corp.refresh_from_db()
    assert corp.noted_ips == ["203.0.113.9", "203.0.113.2", "2001:db8::1"]
    copied = fields_of(admin_client.get(address(corp, "change")))
    assert copied["value-ips"] == "203.0.113.1;203.0.113.2;203.0.113.9;2001:db8::1"
    assert "Own addresses noted: 203.0.113.9;203.0.113.2;2001:db8::1" in LogEntry.objects.get().change_message


def test_the_second_of_two_who_note_addresses_is_told(admin_client: Client, corp: Corp) -> None:
    page = admin_client.get(address(corp, "change")).content.decode()
    form = page.split(address(corp, "ips"), 1)[1].split("</form>")[0]
    seen = dict(re.findall(r'name="(seen)" value="([^"]*)"', form))
    Corp.objects.update(noted_ips=["203.0.113.7"])

    response = admin_client.post(address(corp, "ips"), {**seen, "addresses": "203.0.113.9"}, follow=True)

    corp.refresh_from_db()
    assert corp.noted_ips == ["203.0.113.7"]
    assert "Somebody else noted 203.0.113.7 meanwhile, so nothing of yours was saved." in text_of(response)
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("2001:db8::1%eth0", "“2001:db8::1%eth0” is not an IP address"),
        ("::ffff:10.0.0.7", "::ffff:10.0.0.7 is an address inside your network."),
        ("bi.example.com", "“bi.example.com” is not an IP address"),
        ("203.0.113.256", "“203.0.113.256” is not an IP address"),
        ("203.0.113.0/24", "is not an IP address"),
        ("10.0.0.7", "10.0.0.7 is an address inside your network."),
        ("192.168.1.2", "192.168.1.2 is an address inside your network."),
        ("127.0.0.1", "127.0.0.1 is an address inside your network."),
        (";".join(f"203.0.{n}.1" for n in range(121)), "WeCom takes at most 120 trusted IPs."),
    ],
)
def test_what_cannot_be_a_trusted_ip_is_refused(admin_client: Client, corp: Corp, typed: str, error: str) -> None:
    response = admin_client.post(address(corp, "ips"), {"addresses": typed}, follow=True)

    assert error in text_of(response)
    corp.refresh_from_db()
    assert corp.noted_ips == []


def test_noted_addresses_can_be_forgotten(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(noted_ips=["203.0.113.9"])

    admin_client.post(address(corp, "ips"), {"addresses": " ", "seen": "203.0.113.9"})

    corp.refresh_from_db()
    assert corp.noted_ips == []


# --- The steps --------------------------------------------------------------------------------------------------------


def states(corp: Corp) -> dict[str, str]:
    corp.refresh_from_db()
    return {step.anchor: str(step.state) for step in services.list_steps(corp)}


def test_a_new_company_has_everything_to_do(corp: Corp) -> None:
    assert set(states(corp).values()) == {"to_do"}
    assert [step.anchor for step in services.list_steps(corp) if step.is_next] == ["credentials"]


def test_each_step_takes_its_state_from_what_was_found(corp: Corp) -> None:
    check_run(corp, "token", "ok")
    check_run(corp, "ip", "wrong", errcode=60020)
    check_run(corp, "domain", "ok")
    check_run(corp, "home_page", "warning")

    assert states(corp) == {
        "credentials": "done",
        "verification": "done",  # WeCom has taken the domain, so it has seen the file
        "console": "done",
        "trusted_ip": "wrong",
        "diagnosis": "wrong",
        "enable": "to_do",
    }
    assert [step.anchor for step in services.list_steps(corp) if step.is_next] == ["trusted_ip"]


def test_what_was_found_of_other_values_counts_for_nothing(corp: Corp) -> None:
    check_run(corp, "token", "ok")
    check_run(corp, "domain", "ok")
    SiteAddress.objects.update(url="https://new.example.com/")
    Corp.objects.update(connection_version=2)

    assert set(states(corp).values()) == {"to_do"}


def test_the_file_is_done_where_it_answers_at_the_present_address(corp: Corp) -> None:
    file = VerificationFile.objects.create(corp=corp, code="0123456789abcdef", uploaded_at=timezone.now())
    url = "https://bi.example.com/WW_verify_0123456789abcdef.txt"
    for outcome, checked_url, state in (
        ("", "", "to_do"),
        ("found", url, "done"),
        ("unreachable", url, "wrong"),
        ("found", "https://former.example.com/x", "to_do"),
    ):
        VerificationFile.objects.filter(pk=file.pk).update(outcome=outcome, checked_url=checked_url)
        assert states(corp)["verification"] == state


def test_without_sign_in_no_file_is_needed(corp: Corp) -> None:
    Corp.objects.update(sign_in_enabled=False)

    assert states(corp)["verification"] == "optional"


def test_a_check_under_way_is_said(corp: Corp) -> None:
    check_run(corp, "token", "running", finished_at=None)

    assert states(corp)["credentials"] == "running"


def test_the_page_s_list_of_steps_is_told_anew_while_something_is_to_do(admin_client: Client, corp: Corp) -> None:
    page = admin_client.get(address(corp, "change")).content.decode()
    answer = admin_client.get(address(corp, "steps")).json()

    assert answer["html"] in page
    assert answer["is_unfinished"] is True
    assert "data-unfinished" in page.split(answer["html"])[0].rsplit('<div class="corp-next"', 1)[1]
    named = [*states(corp), "domain", "home_page"]
    assert sorted(answer["parts"]) == sorted(
        [
            *(f"state-of-{name}" for name in named),
            *("corp-state", "known-ips", "last-writes", "staged-credentials", "token-result"),
        ]
    )
    assert all(f'id="{part}"' in page for part in answer["parts"])


def test_an_address_that_wecom_names_while_one_looks_is_told(admin_client: Client, corp: Corp) -> None:
    before = admin_client.get(address(corp, "steps")).json()["parts"]["known-ips"]
    assert "203.0.113.9" not in before

    run = check_run(corp, "ip", "wrong", caller_ip="203.0.113.9", errcode=60020)

    told_at = admin_client.get(address(corp, "steps")).json()["parts"]["known-ips"]
    assert "<time" in told_at

    run.caller_ip, run.status, run.facts = None, "ok", {"addresses": ["203.0.113.9"]}  # tried again, and passed
    run.save()

    after = admin_client.get(address(corp, "steps")).json()["parts"]["known-ips"]
    assert "named by WeCom when it refused a call" in after
    page = admin_client.get(address(corp, "change")).content.decode()
    assert 'value="203.0.113.9"' in after
    assert after.strip() in page


def seen(client: Client, corp: Corp) -> dict[str, str]:
    """What the page says of each value that WeCom shows to programs, by its place."""
    page = client.get(address(corp, "change")).content.decode()
    parts = client.get(address(corp, "steps")).json()["parts"]
    found = {name: parts[f"state-of-{name}"] for name in ("domain", "home_page")}
    assert all(f'<span id="state-of-{name}">{html}</span>' in page for name, html in found.items())
    return {name: re.sub(r"<[^>]+>", "", html) for name, html in found.items()}


def test_each_value_says_whether_it_was_seen_to_be_right(admin_client: Client, corp: Corp) -> None:
    assert seen(admin_client, corp) == {
        "domain": "not checked in WeCom yet",
        "home_page": "not checked in WeCom yet",
    }

    check_run(corp, "domain", "wrong")
    check_run(corp, "home_page", "ok")
    assert seen(admin_client, corp) == {"domain": "not so in WeCom", "home_page": "so in WeCom"}

    check_run(corp, "domain", "running", finished_at=None)
    SiteAddress.objects.update(url="https://new.example.com/")  # what was found of the former values counts for nothing
    assert seen(admin_client, corp) == {
        "domain": "not checked in WeCom yet",
        "home_page": "not checked in WeCom yet",
    }


def test_a_domain_that_nobody_needs_is_not_asked_for(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(sign_in_enabled=False)

    assert seen(admin_client, corp)["domain"] == "not needed"


def test_where_nobody_signs_in_the_page_does_not_speak_of_it(admin_client: Client, corp: Corp) -> None:
    Corp.objects.update(sign_in_enabled=False, is_enabled=True)

    text = text_of(admin_client.get(address(corp, "change")))

    assert "People of this company receive messages; sign-in with WeCom is off." in text
    assert "sign in with WeCom and receive" not in text
    assert "a link that opens one page of this site, where people sign in by themselves." in text
    assert "signing people in on the way" not in text


# --- Changes in WeCom -------------------------------------------------------------------------------------------------


def planned(corp: Corp, **columns: Any) -> ConsoleWrite:
    changes = [{"name": "home_url", "before": "https://old.example.com/<b>", "after": links.home_page_link(corp)}]
    common = {"kind": "settings", "status": "planned", "requested_by": "root", "requested_at": timezone.now()}
    return ConsoleWrite.objects.create(corp=corp, **{**common, "changes": changes, **columns})


def test_a_preview_is_made_in_the_background_and_shown(admin_client: Client, corp: Corp) -> None:
    response = admin_client.post(address(corp, "write_start", "menu"))

    write = ConsoleWrite.objects.get()
    assert (write.kind, write.status, write.requested_by) == ("menu", "waiting", "root")
    assert response["Location"] == address(corp, "write", write.pk)
    page = admin_client.get(response["Location"]).content.decode()
    assert "data-unfinished" in page
    assert admin_client.get(address(corp, "write_state", write.pk)).json()["is_unfinished"] is True


def test_both_sides_are_shown_before_anything_is_written(admin_client: Client, corp: Corp) -> None:
    write = planned(corp)

    response = admin_client.get(address(corp, "write", write.pk))

    text = text_of(response)
    assert "In WeCom now https://old.example.com/&lt;b&gt; After writing https://open.weixin.qq.com/" in text
    assert "Write this into WeCom" in text
    assert ConsoleWrite.objects.get().status == "planned"


def test_only_a_confirmation_has_it_written(admin_client: Client, corp: Corp) -> None:
    write = planned(corp)

    admin_client.post(address(corp, "write_confirm", write.pk))
    response = admin_client.post(address(corp, "write_confirm", write.pk), follow=True)

    assert (ConsoleWrite.objects.get().status, Job.objects.get().key) == ("confirmed", str(write.pk))
    assert "This change was not waiting for a confirmation any more." in text_of(response)
    assert LogEntry.objects.filter(change_message__contains="home page and trusted domain").count() == 1


def test_a_change_whose_workers_died_says_so_and_can_be_tried_again(admin_client: Client, corp: Corp) -> None:
    admin_client.post(address(corp, "write_start", "settings"))
    Job.objects.update(status="failed", problem="lost")

    text = text_of(admin_client.get(address(corp, "write", ConsoleWrite.objects.get().pk)))

    assert "Every worker that did this ended" in text
    assert "Try again" in text
    assert "Make a new preview" in text


def test_a_refusal_says_what_who_and_where(admin_client: Client, corp: Corp) -> None:
    write = planned(
        corp, status="failed", problem="refused", errcode=85005, hint="17640000", finished_at=timezone.now()
    )

    text = text_of(admin_client.get(address(corp, "write", write.pk)))

    assert "The ownership of the trusted domain is not verified." in text
    assert "Download the verification file in WeCom's console" in text
    assert "Make a new preview" in text


def test_a_menu_is_shown_entry_by_entry(admin_client: Client, corp: Corp) -> None:
    before = [{"name": "更多", "sub_button": [{"type": "click", "name": "<i>帮助", "key": "HELP"}]}]
    after = [{"type": "view", "name": "首页", "url": "https://bi.example.com/"}]
    write = planned(corp, kind="menu", changes=[{"name": "menu", "before": before, "after": after}])

    text = text_of(admin_client.get(address(corp, "write", write.pk)))

    assert "更多 &lt;i&gt;帮助 · click HELP" in text
    assert "首页 https://bi.example.com/" in text
    assert "The menu is replaced as a whole" in text


def test_another_company_s_change_cannot_be_reached_through_one_s_own(corp: Corp, other_corp: Corp) -> None:
    client = client_of(staff("one", corp, permissions=("view_corp", "change_corp")))
    theirs = planned(other_corp)

    assert client.get(address(corp, "write", theirs.pk)).status_code == 404
    assert client.post(address(corp, "write_confirm", theirs.pk)).status_code == 404
    assert ConsoleWrite.objects.get().status == "planned"


def test_an_unknown_kind_of_change_is_not_found(admin_client: Client, corp: Corp) -> None:
    assert admin_client.post(address(corp, "write_start", "secrets")).status_code == 404
    assert not ConsoleWrite.objects.exists()


# --- The callback's keys from WeCom's console -------------------------------------------------------------------------

KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"


def test_a_pair_of_wecom_s_console_is_pasted(admin_client: Client, corp: Corp) -> None:
    response = admin_client.post(
        address(corp, "callback_paste", "app"), {"token": " tokenOfWeCom\u200b", "aes_key": f"{KEY}\n"}, follow=True
    )

    corp.refresh_from_db()
    assert (corp.callback_token, corp.callback_aes_key) == ("tokenOfWeCom", KEY)
    assert KEY not in response.content.decode()
    assert "Token and EncodingAESKey pasted (app)." in LogEntry.objects.get().change_message


@pytest.mark.parametrize(
    ("token", "aes_key", "error"),
    [
        ("t", KEY[:-1], "An EncodingAESKey has exactly 43 characters; this has 42."),
        ("t", KEY + "x", "An EncodingAESKey has exactly 43 characters; this has 44."),
        ("t", "!" + KEY[1:], "An EncodingAESKey has letters and digits only."),
        ("t", "", "This field is required."),
        ("a token!", KEY, "A Token has 1 to 32 letters and digits."),
        ("x" * 33, KEY, "A Token has 1 to 32 letters and digits."),
    ],
)
def test_what_cannot_be_such_a_pair_is_refused_and_not_repeated(
    admin_client: Client, corp: Corp, token: str, aes_key: str, error: str
) -> None:
    response = admin_client.post(address(corp, "callback_paste", "app"), {"token": token, "aes_key": aes_key})

    assert error in text_of(response)
    assert not aes_key or aes_key not in response.content.decode()
    corp.refresh_from_db()
    assert (corp.callback_token, corp.callback_aes_key) == ("", "")
