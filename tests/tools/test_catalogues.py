"""Catalogues: what is extracted, what an update keeps, what a check refuses, and what Django reads."""

import gettext
import os
import shutil
from pathlib import Path

import pytest
from babel.messages.catalog import Message

from tools import catalogues
from tools.catalogues import CatalogueFile

PYTHON = '''
from django.utils.translation import gettext as _, gettext_lazy, gettext_noop, ngettext, ngettext_lazy, pgettext_lazy

def shown(count, name):
    """Not a text."""
    return [
        _("Save"), gettext_lazy("Delete"), gettext_noop("Later"), pgettext_lazy("verb", "Post"),
        ngettext("%(count)s person", "%(count)s people", count) % {"count": count},
        ngettext_lazy("one day", "%d days", "count"), _("Hello, {name}").format(name=name),
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
JINJA = """{% extends "base.html" %}
<h1 title="{{ _("Save") }}">{{ pgettext("noun", "Post") }}</h1>
{% if one %}{{ ngettext("%(n)s row", "%(n)s rows", n, n=n) }}{{ _(label) }}{% endif %}
{% trans name=one.name %}Hello, {{ name }}{% endtrans %}
"""
EVERY_TEXT = {
    *(("", text) for text in ("Save", "Delete", "Later", "Hello, {name}", "Don&#x27;t (ever", "Bare", "Filter")),
    ("", "%(count)s person", "%(count)s people"),
    ("", "one day", "%d days"),
    ("", '%(n)s message (from "you")', '%(n)s messages (from "you")'),
    ("", "100 %%\n  of it"),
    ("verb", "Post"),
    ("noun", "Post"),
}
NAME = "accounts/locale/zh_Hans/LC_MESSAGES/django.po"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose app `accounts` has one module and one template; the sandbox has one Jinja2 page."""
    for path, text in {
        "accounts/views.py": PYTHON,
        "accounts/templates/accounts/page.html": TEMPLATE,
        "accounts/migrations/0001_initial.py": '_("Only in a migration")',
        f"{catalogues.SANDBOX}/templates/page.html": JINJA,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.fixture
def chinese(root: Path) -> CatalogueFile:
    """The app's Chinese catalogue, up to date and translated."""
    return translated(root)


def key_of(message: Message) -> str:
    text = catalogues._forms(message.id)[0]
    return f"{message.context}: {text}" if message.context else text


def translated(root: Path, app: str = "accounts") -> CatalogueFile:
    catalogues.update(app, root)
    file = CatalogueFile(app, "zh_Hans", root)
    catalogue = file.read()
    for message in catalogues._list_messages(catalogue):
        text = f"译 {key_of(message)}"
        message.string = (text,) if message.pluralizable else text
    file.write(catalogue)
    return file


def test_update_writes_every_text_keeps_translations_and_drops_what_is_unused(root: Path) -> None:
    lines = catalogues.update("accounts", root)

    assert lines == [f"{NAME}: 13 texts, 13 untranslated, written"]
    file = CatalogueFile("accounts", "zh_Hans", root)
    assert {catalogues._make_key(message) for message in catalogues._list_messages(file.read())} == EVERY_TEXT
    assert 'msgid "%(count)s person"\nmsgid_plural "%(count)s people"\nmsgstr[0] ""\n' in file.po.read_text()
    assert "Plural-Forms: nplurals=1; plural=0;" in file.po.read_text()
    assert [path.name for path in (root / "accounts" / "locale").iterdir()] == ["zh_Hans"]

    translated(root)
    (root / "accounts" / "views.py").write_text(PYTHON.replace('"Delete"', '"Deletes"'))
    catalogues.update("accounts", root)

    found = {catalogues._make_key(message)[-1]: message.string for message in catalogues._list_messages(file.read())}
    assert (found["Save"], found["Deletes"], "Delete" in found) == ("译 Save", "", False)
    assert "fuzzy" not in file.po.read_text()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('msgstr "译 Save"', 'msgstr ""', "untranslated: 'Save'"),
        ('msgid "Save"', 'msgid "Safe"', "obsolete: 'Safe'"),
        ('msgid "Save"', '#, fuzzy\nmsgid "Save"', "fuzzy: 'Save'"),
        ('msgstr "译 Save"\n', 'msgstr "译 Save"\n\n#~ msgid "Old"\n#~ msgstr "旧"\n', "obsolete: 'Old'"),
        ('msgid_plural "%d days"', 'msgid_plural "%d nights"', "missing: 'one day' / '%d days'"),
        ("译 Hello, {name}", "你好", "placeholders differ: 'Hello, {name}'"),
        ("译 Hello, {name}", "您好，{name}（本企业）", "has “企业” instead of “公司”: 'Hello, {name}'"),
        ("译 %(count)s person", "%(counts)s", "placeholders differ: '%(count)s person' / '%(count)s people'"),
        ('msgctxt "verb"\n', 'msgctxt "noun2"\n', "missing: 'Post' (context 'verb')"),
        ('msgid ""\nmsgstr ""\n"Language', '#, fuzzy\nmsgid ""\nmsgstr ""\n"Language', "its header is marked fuzzy"),
    ],
)
def test_check_names_what_is_wrong(root: Path, chinese: CatalogueFile, old: str, new: str, problem: str) -> None:
    text = chinese.po.read_text()
    assert text.count(old) == 1
    chinese.po.write_text(text.replace(old, new))

    assert f"{NAME}: {problem}" in catalogues.check("accounts", root)


def test_check_refuses_a_text_that_two_apps_translate_differently(
    root: Path, chinese: CatalogueFile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Let the sandbox translate otherwise, because it is a product of its own."""
    shutil.copytree(root / "accounts", root / "integrations")
    other, sandbox = CatalogueFile("integrations", "zh_Hans", root), translated(root, catalogues.SANDBOX)
    texts = {key_of(one) for one in catalogues._list_messages(sandbox.read())}
    assert texts == {"Save", "noun: Post", "%(n)s row", "Hello, %(name)s"}, "its templates are Jinja's"
    sandbox.po.write_text(sandbox.po.read_text().replace("译 Save", "保存"))

    assert catalogues.main(["check", "accounts", "integrations", catalogues.SANDBOX], root) == 0
    other.po.write_text(other.po.read_text().replace("译 Save", "保存").replace("译 verb: Post", "提交"))
    assert catalogues.main(["check", "accounts", "integrations"], root) == 1
    assert capsys.readouterr().out.splitlines() == [
        "'Save' differs: integrations 保存, accounts 译 Save",
        "'verb: Post' differs: integrations 提交, accounts 译 verb: Post",
    ]


def test_the_command_line_updates_checks_and_compiles(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(verb: str) -> tuple[int, str, str]:
        status = catalogues.main([verb, "accounts"], root)
        return status, *capsys.readouterr()

    assert run("update") == (0, f"{NAME}: 13 texts, 13 untranslated, written\n", "")
    assert run("check")[0] == 1
    assert "nothing in it is translated" in run("compile")[2]
    chinese = translated(root)
    assert run("update") == (0, f"{NAME}: 13 texts, 0 untranslated, unchanged\n", "")
    assert run("check") == (0, "", "")
    assert run("compile") == (0, f"{NAME}: compiled\n", "")
    assert run("compile") == (0, "", ""), "what is up to date is skipped"
    later = chinese.mo.stat().st_mtime_ns + 1
    os.utime(chinese.po, ns=(later, later))
    assert run("compile") == (0, f"{NAME}: compiled\n", "")
    with chinese.mo.open("rb") as file:
        translations = gettext.GNUTranslations(file)
    assert translations.gettext("Save") == "译 Save"
    assert translations.ngettext("%(count)s person", "%(count)s people", 2) == "译 %(count)s person"
    assert translations.pgettext("verb", "Post").endswith("Post")
