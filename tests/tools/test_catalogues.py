"""Catalogues: what is extracted, what an update keeps, what a check refuses, what Django reads in the end."""

from __future__ import annotations

import gettext
import os
import shutil
from pathlib import Path

import pytest
from babel.messages.catalog import Message

from tools import catalogues
from tools.catalogues import CatalogueError, CatalogueFile

PYTHON = '''
from django.utils.translation import gettext as _, gettext_lazy, gettext_noop, ngettext, ngettext_lazy, pgettext_lazy

def shown(count, name):
    """Not a text."""
    return [
        _("Save"),
        gettext_lazy("Delete"),
        gettext_noop("Later"),
        ngettext("%(count)s person", "%(count)s people", count) % {"count": count},
        ngettext_lazy("one day", "%d days", "count"),
        pgettext_lazy("verb", "Post"),
        _("Hello, {name}").format(name=name),
    ]
'''
TEMPLATE = """{% load i18n %}
    <h1>{% translate "Save" %}</h1>
      {% if people %}
  {% blocktranslate count n=people|length trimmed %}
     {{ n }} message (from "you")
  {% plural %}
     {{ n }} messages (from "you")
  {% endblocktranslate %}{% endif %}
 {% translate "Post" context "noun" %}
<p title='{% translate "Don&#x27;t (ever" as x %}'>{{ _("Bare") }} {{ value|default:_("Filter") }}</p>
{# not a text: {% translate "Commented out" %} #}
{% comment %}Translators: shown at night{% endcomment %}
{% blocktranslate %}100 %
  of it{% endblocktranslate %}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose app `accounts` has one module and one template."""
    app = tmp_path / "accounts"
    (app / "templates" / "accounts").mkdir(parents=True)
    (app / "migrations").mkdir()
    (app / "views.py").write_text(PYTHON)
    (app / "templates" / "accounts" / "page.html").write_text(TEMPLATE)
    (app / "migrations" / "0001_initial.py").write_text('_("Only in a migration")')
    return tmp_path


@pytest.fixture
def chinese(root: Path) -> CatalogueFile:
    """The app's Chinese catalogue, up to date and untranslated."""
    catalogues.update("accounts", root)
    return CatalogueFile("accounts", "zh_Hans", root)


def translate_all(root: Path, app: str = "accounts") -> None:
    file = CatalogueFile(app, "zh_Hans", root)
    catalogue = file.read()
    for message in catalogues._texts(catalogue):
        text = f"译 {catalogues._json_key(message)}"
        message.string = (text,) if message.pluralizable else text
    file.write(catalogue)


EVERY_TEXT = {
    ("", "Save"),
    ("", "Delete"),
    ("", "Later"),
    ("", "%(count)s person", "%(count)s people"),
    ("", "one day", "%d days"),
    ("verb", "Post"),
    ("", "Hello, {name}"),
    ("", '%(n)s message (from "you")', '%(n)s messages (from "you")'),
    ("noun", "Post"),
    ("", "Don&#x27;t (ever"),
    ("", "Bare"),
    ("", "Filter"),
    ("", "100 %%\n  of it"),
}


def test_extracts_every_text_of_python_and_templates(root: Path) -> None:
    template = catalogues.extract_app("accounts", root)

    assert {catalogues._key(message) for message in catalogues._texts(template)} == EVERY_TEXT


def test_a_file_that_is_no_python_stops_the_update_and_is_named(root: Path) -> None:
    (root / "accounts" / "broken.py").write_text("_('never closed'\n'''")

    with pytest.raises(CatalogueError, match=r"^accounts/broken\.py: "):
        catalogues.update("accounts", root)

    assert not (root / "accounts" / "locale").exists()


def test_update_leaves_chinese_to_people_and_writes_no_english(root: Path) -> None:
    lines = catalogues.update("accounts", root)

    assert lines == [
        "accounts/locale/zh_Hans/LC_MESSAGES/django.po: 13 texts, 13 untranslated, written",
    ]
    chinese = CatalogueFile("accounts", "zh_Hans", root).po.read_text()
    assert 'msgid "%(count)s person"\nmsgid_plural "%(count)s people"\nmsgstr[0] ""\n' in chinese
    assert "Plural-Forms: nplurals=1; plural=0;" in chinese
    assert [path.name for path in (root / "accounts" / "locale").iterdir()] == ["zh_Hans"]


def test_update_keeps_translations_and_drops_unused_texts_without_guessing(root: Path, chinese: CatalogueFile) -> None:
    translate_all(root)
    (root / "accounts" / "views.py").write_text(PYTHON.replace('"Delete"', '"Deletes"'))

    catalogues.update("accounts", root)

    found = {catalogues._key(message)[-1]: message.string for message in catalogues._texts(chinese.read())}
    assert found["Save"] == "译 Save"
    assert found["Deletes"] == ""
    assert "Delete" not in found
    assert "fuzzy" not in chinese.po.read_text()


def test_an_app_without_texts_gets_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "accounts").mkdir()

    assert catalogues.update("accounts", tmp_path) == []
    assert catalogues.check("accounts", tmp_path) == []
    assert catalogues.compile_app("accounts", tmp_path) == []


NAME = "accounts/locale/zh_Hans/LC_MESSAGES/django.po"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('msgstr "译 Save"', 'msgstr ""', "untranslated: 'Save'"),
        ('msgid "Save"\nmsgstr "译 Save"', "", "missing: 'Save'"),
        ('msgid "Save"', 'msgid "Safe"', "obsolete: 'Safe'"),
        ('msgid_plural "%d days"', 'msgid_plural "%d nights"', "missing: 'one day' / '%d days'"),
        ("译 Hello, {name}", "你好", "placeholders differ: 'Hello, {name}'"),
        ("译 Hello, {name}", "{名}", "placeholders differ: 'Hello, {name}'"),
        ("译 Hello, {name}", "您好，{name}（本企业）", "has “企业” instead of “公司”: 'Hello, {name}'"),
        ("译 %(count)s person", "%(counts)s", "placeholders differ: '%(count)s person' / '%(count)s people'"),
        ('msgctxt "verb"\n', 'msgctxt "noun2"\n', "missing: 'Post' (context 'verb')"),
        ('msgid ""\nmsgstr ""\n"Language', '#, fuzzy\nmsgid ""\nmsgstr ""\n"Language', "its header is marked fuzzy"),
    ],
)  # fmt: skip  # one case a line
def test_check_names_what_is_wrong(root: Path, chinese: CatalogueFile, old: str, new: str, problem: str | None) -> None:
    translate_all(root)
    text = chinese.po.read_text()
    assert text.count(old) == 1
    chinese.po.write_text(text.replace(old, new))

    assert f"{NAME}: {problem}" in catalogues.check("accounts", root)


def test_check_refuses_fuzzy_and_retired_entries(root: Path, chinese: CatalogueFile) -> None:
    translate_all(root)
    text = chinese.po.read_text().replace('msgid "Save"', '#, fuzzy\nmsgid "Save"')
    chinese.po.write_text(text + '\n#~ msgid "Old"\n#~ msgstr "旧"\n')

    assert catalogues.check("accounts", root) == [f"{NAME}: obsolete: 'Old'", f"{NAME}: fuzzy: 'Save'"]


def test_check_refuses_a_text_that_two_apps_translate_differently(
    root: Path, chinese: CatalogueFile, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root / "accounts", root / "integrations")
    translate_all(root)
    other = CatalogueFile("integrations", "zh_Hans", root)
    text = chinese.po.read_text()

    other.po.write_text(text)
    assert catalogues.main(["check", "accounts", "integrations"], root) == 0
    other.po.write_text(text.replace("译 Save", "保存").replace("译 verb\x04Post", "提交"))
    assert catalogues.main(["check", "accounts", "integrations"], root) == 1
    assert capsys.readouterr().out.splitlines() == [
        "'Save' differs: integrations 保存, accounts 译 Save",
        "'verb: Post' differs: integrations 提交, accounts 译 verb\x04Post",
    ]


JINJA = """{% extends "base.html" %}
<h1 title="{{ _("Save") }}">{{ pgettext("noun", "Post") }}</h1>
{% if one %}{{ ngettext("%(n)s row", "%(n)s rows", n, n=n) }}{{ _(label) }}{% endif %}
{% trans name=one.name %}Hello, {{ name }}{% endtrans %}
"""


@pytest.fixture
def sandbox_page(tmp_path: Path) -> Path:
    """A template of the sandbox, which is written for Jinja2."""
    page = tmp_path / catalogues.SANDBOX / "templates" / "page.html"
    page.parent.mkdir(parents=True)
    page.write_text(JINJA)
    return page


def test_templates_of_the_sandbox_are_read_as_jinja(sandbox_page: Path, tmp_path: Path) -> None:
    name = f"{catalogues.SANDBOX}/locale/zh_Hans/LC_MESSAGES/messages.po"

    assert catalogues.update(catalogues.SANDBOX, tmp_path) == [f"{name}: 4 texts, 4 untranslated, written"]
    texts = catalogues._texts(CatalogueFile(catalogues.SANDBOX, "zh_Hans", tmp_path).read())
    assert {catalogues._json_key(one) for one in texts} == {"Save", "noun\x04Post", "%(n)s row", "Hello, %(name)s"}


def test_a_template_that_jinja_cannot_read_is_named(sandbox_page: Path, tmp_path: Path) -> None:
    sandbox_page.write_text("{% if one %}")

    with pytest.raises(CatalogueError, match=r"sandbox/wecom_sandbox/templates/page\.html: "):
        catalogues.update(catalogues.SANDBOX, tmp_path)


def test_catalogues_of_the_sandbox_conflict_with_none(root: Path, chinese: CatalogueFile, sandbox_page: Path) -> None:
    translate_all(root)
    catalogues.update(catalogues.SANDBOX, root)
    translate_all(root, catalogues.SANDBOX)
    catalogue = CatalogueFile(catalogues.SANDBOX, "zh_Hans", root)
    catalogue.po.write_text(catalogue.po.read_text().replace("译 Save", "保存"))

    assert catalogues.main(["check", "accounts", catalogues.SANDBOX], root) == 0


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("企业微信公司：企业可信IP、我的企业 → 企业信息、“企业ID”、企业邮箱", []),
        ("请在企业后台修改", ["has “企业” instead of “公司”"]),
        ("已接收", ["has “已接收” instead of “已接受”"]),
        ("新凭据", ["has “凭据” instead of “凭证”"]),
        ("技术细节", ["has “技术细节” instead of “技术详情”"]),
        ("请联系本站点的管理员", ["has “本站点” instead of “本系统”"]),
        ("不是应用的可信 IP", ["has “可信 IP” instead of “企业可信IP”"]),
    ],
)
def test_one_word_stands_for_one_thing(text: str, faults: list[str]) -> None:
    assert catalogues.message_faults(Message("Text", text)) == faults


def test_compiled_catalogues_give_the_translations(root: Path, chinese: CatalogueFile) -> None:
    translate_all(root)

    catalogues.compile_app("accounts", root)

    with chinese.mo.open("rb") as file:
        translations = gettext.GNUTranslations(file)
    assert translations.gettext("Save") == "译 Save"
    assert translations.ngettext("%(count)s person", "%(count)s people", 2) == "译 %(count)s person"
    assert translations.pgettext("verb", "Post").endswith("Post")


def test_compile_skips_what_is_up_to_date_and_repeats_what_is_stale(root: Path, chinese: CatalogueFile) -> None:
    translate_all(root)
    assert catalogues.compile_app("accounts", root) == [f"{NAME}: compiled"]
    assert catalogues.compile_app("accounts", root) == []

    later = chinese.mo.stat().st_mtime_ns + 1
    os.utime(chinese.po, ns=(later, later))

    assert catalogues.compile_app("accounts", root) == [f"{NAME}: compiled"]


def test_compile_refuses_a_catalogue_in_which_nothing_is_translated(root: Path, chinese: CatalogueFile) -> None:
    with pytest.raises(CatalogueError, match="nothing in it is translated"):
        catalogues.compile_app("accounts", root)


def test_the_command_line_updates_checks_and_compiles(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(verb: str) -> tuple[int, str, str]:
        status = catalogues.main([verb, "accounts"], root)
        return status, *capsys.readouterr()

    assert run("update") == (0, f"{NAME}: 13 texts, 13 untranslated, written\n", "")
    assert run("check")[0] == 1
    assert run("compile")[0] == 1
    translate_all(root)
    assert run("update") == (0, f"{NAME}: 13 texts, 0 untranslated, unchanged\n", "")
    assert run("check") == (0, "", "")
    assert run("compile") == (0, f"{NAME}: compiled\n", "")
