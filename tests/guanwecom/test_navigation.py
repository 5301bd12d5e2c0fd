"""The menu: twelve entries by task, limited to what a person may open, with tabs for lists that belong together."""

import re
from html import unescape

import pytest
from django.contrib import admin
from django.test import Client

from accounts.models import User
from guanwecom import navigation
from integrations.models import Corp
from notifications.models import Report
from tests.admin_table import TABLE
from tests.admin_world import STAFF, World

pytestmark = pytest.mark.django_db
EVERYTHING = {
    "推送": ["推送", "预警", "送达记录"],
    "数据": ["数据与数据源"],
    "人员": ["人员", "通讯录"],
    "系统集成": ["企业微信配置", "观远 BI", "接入"],
    "系统管理": ["设置", "审计与任务"],
}


def client_of(world: World, who: str) -> Client:
    client = world.client(who)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-hans"
    return client


def menu_at(client: Client, path: str = "/admin/") -> list[navigation.Section]:
    sections: list[navigation.Section] = client.get(path).context["menu"]
    return sections


def labels(sections: list[navigation.Section]) -> dict[str, list[str]]:
    return {str(section.label): [str(entry.label) for entry in section.entries] for section in sections}


def tabs(sections: list[navigation.Section]) -> list[str]:
    return [str(tab.label) for section in sections for entry in section.entries for tab in entry.tabs]


def current(sections: list[navigation.Section]) -> list[str]:
    return [str(entry.label) for section in sections for entry in section.entries if entry.current_tab]


def test_each_reader_has_its_twelve_entries_in_their_language(world: World) -> None:
    client = client_of(world, "U")
    menu = menu_at(client)
    chinese, chinese_tabs = labels(menu), tabs(menu)  # in the active language
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    menu = menu_at(client)
    english, english_tabs = labels(menu), tabs(menu)

    assert chinese == EVERYTHING
    assert sum(map(len, EVERYTHING.values())) + 1 == 12  # with the overview
    assert list(english) == ["Push", "Data", "People", "System integration", "System"]
    assert english["People"] == ["People", "Directory"]
    assert all(label.isascii() for label in english_tabs)
    assert [label for label in chinese_tabs if label.isascii()] == []


def test_every_list_of_the_administration_is_a_tab_of_one_entry() -> None:
    tabs = [tab for section in navigation.SECTIONS for entry in section.entries for tab in entry.tabs]
    # A report is edited on the page of its push.
    assert sorted(tab.model for tab in tabs if not tab.page) == sorted(
        model._meta.label for model in admin.site._registry if model is not Report
    )


def test_a_push_editor_sees_what_they_work_with(world: World) -> None:
    assert labels(menu_at(client_of(world, "P1"))) == {
        "推送": ["推送", "预警", "送达记录"],
        "数据": ["数据与数据源"],
        "人员": ["人员", "通讯录"],
        "系统集成": ["接入"],
        "系统管理": ["审计与任务"],  # the jobs of their inbound channels
    }


def test_nobody_is_led_to_a_list_that_they_may_not_open(world: World) -> None:
    opened = {row.page: row.expected for row in TABLE if row.method == "get" and not row.args}
    for who in STAFF:
        for section in menu_at(client_of(world, who)):
            for tab in (tab for entry in section.entries for tab in entry.tabs):
                page = tab.page or f"{tab.model.lower().replace('.', '_')}_changelist"
                assert opened[page][who] in {200, 302}, (who, tab)


def test_the_entry_and_the_tab_of_the_page_are_marked(world: World) -> None:
    answer = client_of(world, "U").get("/admin/notifications/incident/")
    assert current(answer.context["menu"]) == ["预警"]
    assert [(str(tab.label), tab.is_current) for tab in answer.context["tabs"]] == [
        ("规则", False),
        ("事件", True),
    ]
    assert answer.content.decode().count('aria-current="page"') == 1


def test_a_form_has_no_tabs_by_which_one_could_lose_what_was_typed_and_a_popup_no_menu(world: World) -> None:
    client = client_of(world, "U")
    answer = client.get("/admin/notifications/alertrule/add/")
    assert answer.context["tabs"] == ()
    assert current(answer.context["menu"]) == ["预警"]
    assert client.get("/admin/integrations/corp/").context["tabs"] == ()
    text = client.get("/admin/integrations/card/add/?_popup=1").content.decode()
    assert 'id="menu"' not in text
    assert 'role="search" action="/admin/search/"' not in text


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("integrations/corp/", "首页 › 系统集成 › 企业微信配置"),
        ("integrations/corp/add/", "首页 › 系统集成 › 企业微信配置 › 新建企业微信公司"),
        ("integrations/corp/{corp}/change/", "首页 › 系统集成 › 企业微信配置 › Alpha Company"),
        ("integrations/corp/{corp}/history/", "首页 › 系统集成 › 企业微信配置 › Alpha Company › 历史"),
        ("integrations/corp/{corp}/enable/", "首页 › 系统集成 › 企业微信配置 › Alpha Company › 启用“Alpha Company”"),
        ("integrations/department/", "首页 › 人员 › 通讯录 › 部门"),
        ("notifications/subscription/week/", "首页 › 推送 › 发送日历"),
    ],
)
def test_the_way_to_a_page_stands_above_it_in_the_words_of_the_menu(world: World, path: str, way: str) -> None:
    corp = Corp.objects.get(name="Alpha Company")
    text = client_of(world, "U").get(f"/admin/{path.format(corp=corp.pk)}").content.decode()
    shown = text.split('<div class="breadcrumbs">')[1].split("</div>")[0]
    assert " ".join(unescape(re.sub(r"<[^>]+>", "", shown)).split()) == way


def found_by(client: Client, text: str) -> dict[str, list[str]]:
    answer = client.get("/admin/search/", {"q": text})
    assert answer.status_code == 200
    return {each["label"]: [name for name, _url in each["rows"]] for each in answer.context["found"]}


def test_what_is_found_leads_to_its_page_and_shows_nothing_of_other_companies(world: World) -> None:
    client = client_of(world, "U")
    found = client.get("/admin/search/?q=Alpha").context["found"]
    [companies] = [each for each in found if each["label"] == "企业微信公司"]
    [(name, url)] = companies["rows"]
    assert (name, client.get(url).status_code) == ("Alpha Company", 200)

    assert "企业微信公司" not in found_by(client_of(world, "I2"), "Alpha")
    assert found_by(client_of(world, "I2"), "Beta")["企业微信公司"] == ["Beta Company"]
    assert found_by(client_of(world, "N"), "Alpha") == {}

    User.objects.bulk_create(User(username=f"hanmei{number}") for number in range(6))
    answer = client.get("/admin/search/", {"q": "hanmei"})
    [people] = [each for each in answer.context["found"] if each["label"] == "人员"]
    assert (len(people["rows"]), people["list_url"]) == (5, "/admin/accounts/user/?q=hanmei")


@pytest.mark.parametrize("text", ["", "   ", "没有这个", "x" * 5000, "%_'\"<script>", "\x00"])
def test_odd_texts_find_nothing_and_break_nothing(world: World, text: str) -> None:
    answer = client_of(world, "U").get("/admin/search/", {"q": text})
    assert answer.status_code == 200
    assert "<script>" not in answer.content.decode().replace("<script src", "")
    assert answer.context["found"] == []
