"""Texts that send somebody to a page of the administration name it as the menu does, in both languages."""

import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import RequestFactory
from django.utils.text import capfirst
from django.utils.translation import gettext, override

from accounts.models import User
from guanwecom import navigation
from tools.catalogues import APPS, LANGUAGE, ROOT, CatalogueFile

# First steps or places that are not ours: in WeCom, on the site's own pages, in the browser.
ELSEWHERE = (
    *("WeCom's console", "App management", "Management tools", "Contacts", "My company", "App home page"),
    *("WeCom authorised sign-in", "Web authorisation and JS-SDK", "The group in WeCom", "Security and management"),
    "Take the account from WeCom's console",
)
# A path of more than one step through the menu, and the name of a page or section.
_PATH = re.compile(r"(?:^|[.;:,(] ?|\bto )“?([A-Z][\w' -]*?)”? → “?(\w[\w' -]*)")
_PLACE = re.compile(r"\b(?:under|page|section) “?(?=[A-Z])([^.;:”]+)")
# A step that is one row of a list.
_ROW = ("the ", "a ")
_HEADING = re.compile(r'<h[1-4][^>]*>[^<{]*{% translate "([^"]+)" %}')


def list_texts() -> Iterator[tuple[str, str]]:
    """Yield every English text of every app with its translation."""
    for app in APPS:
        for message in CatalogueFile(app, LANGUAGE, ROOT).read():
            text, translation = (
                one if isinstance(one, str) else one[0] if one else "" for one in (message.id, message.string)
            )
            if text:
                yield text, translation


def list_names(language: str) -> list[list[str]]:
    """Return the names of apps, of their lists and of the sections of their pages."""
    # A list that is a menu entry of its own has the entry's name.
    alone = {entry.tabs[0].model for each in navigation.SECTIONS for entry in each.entries if len(entry.tabs) == 1}
    request = RequestFactory().get("/")
    request.user = User(username="root", is_staff=True, is_superuser=True)
    with override(language):
        models = list(admin.site._registry.items())
        names = [
            str(apps.get_app_config(app).verbose_name) for app in APPS if apps.is_installed(app) and app != "guanwecom"
        ]
        lists = [
            capfirst(str(model._meta.verbose_name_plural)) for model, _admin in models if model._meta.label not in alone
        ]
        sections = [
            str(title) for _model, one in models for title, _fields in one.get_fieldsets(request) if title is not None
        ]
        headings = [gettext(text) for text in _list_headings()]
        return [names, lists, sections, headings, list(_list_menu_labels())]


def _list_menu_labels() -> Iterator[str]:
    for section in navigation.SECTIONS:
        yield str(section.label)
        for entry in section.entries:
            yield str(entry.label)
            yield from (str(tab.label) for tab in entry.tabs if tab.label)


def _list_headings() -> list[str]:
    files = sorted(file for app in APPS for file in (ROOT / app / "templates" / "admin").rglob("*.html"))
    return [text for file in files for text in _HEADING.findall(file.read_text())]


@pytest.fixture(scope="module")
def chinese() -> dict[str, str]:
    """Chinese names by English ones."""
    pairs = zip(list_names("en"), list_names("zh-hans"), strict=True)
    return {name: translation for names in pairs for name, translation in zip(*names, strict=True)}


def find_name(text: str, names: dict[str, str]) -> str:
    """Return the longest name with which `text` begins, else ""."""
    return max((name for name in names if re.match(rf"{re.escape(name)}\b", text)), key=len, default="")


def test_every_way_and_every_page_that_a_sentence_names_is_there(chinese: dict[str, str]) -> None:
    wrong = []
    for text, translation in list_texts():
        paths = [path for path in _PATH.findall(text) if not path[0].startswith(ELSEWHERE)]
        steps = [step for path in paths for step in path if not step.startswith(_ROW)]
        places = [place for place in _PLACE.findall(text) if not place.startswith(ELSEWHERE)]
        for named in (*steps, *places):
            name = find_name(named, chinese)
            if not name or chinese[name] not in translation:
                wrong.append((named, text, translation))
    assert wrong == []


def test_the_names_are_looked_for() -> None:
    """Guard the test above: it finds names, and would find a menu that does not exist."""
    found = [path[0] for text, _translation in list_texts() for path in _PATH.findall(text)]

    assert {"System integration", "People", "WeCom's console"} <= set(found)
    assert _PATH.findall("Reset it; copy it to Integrations → WeCom → the company.") == [("Integrations", "WeCom ")]
    assert _PLACE.findall("Correct the proxy under “Advanced”, or start it.") == ["Advanced"]
