"""Translations without GNU gettext: `python tools/catalogues.py update|check|compile`.

Texts are written in English in Python (`gettext`, `_` and the like) and in templates: Django's (`translate`,
`blocktranslate`), or Jinja2's in the sandbox, which is no Django app. Each app keeps its Chinese in
`<app>/locale/zh_Hans/LC_MESSAGES/django.po`, the sandbox in `messages.po`. English has no catalogue: the text itself is
shown.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize
from jinja2.exceptions import TemplateSyntaxError

ROOT = Path(__file__).resolve().parent.parent
DJANGO_APPS = ("guanwecom", "integrations", "accounts", "notifications")
SANDBOX = "sandbox/wecom_sandbox"
APPS = (*DJANGO_APPS, SANDBOX)
LANGUAGE = "zh_Hans"
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "Sentence": None,
    "make_counted_sentence": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
TEMPLATE_PATTERNS = ("*.html", "*.txt", "*.xml", "*.svg")
TRANSLATOR_COMMENTS = ["Translators:"]
# Babel's own header holds the time of the update, which would make every update a change.
HEADER = """msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plural_forms}\\n"

"""
# A %-placeholder with its name, a %%, or a {placeholder}.
PLACEHOLDER = re.compile(r"%%|%(?:\((\w+)\))?[#0+-]*(?:\d+|\*)?(?:\.\d+)?[diouxXeEfFgGcrsa]|\{(\w*)(?:[!:][^{}]*)?\}")
FUZZY_HEADER = re.compile(r"(#.*\n)*#,.*\bfuzzy\b")
# Words that the product does not use, with those to use instead, and allowed terms that contain such a word.
GLOSSARY = tomllib.loads((ROOT / "tools" / "words.toml").read_text(encoding="utf-8"))
WORDS = {re.compile(pattern): instead for pattern, instead in GLOSSARY["words"].items()}
# Words for operators only. The page of operation and the commands, where they may occur, have their texts in guanwecom.
OPERATORS_WORDS = re.compile("worker|beat|celery|crontab", re.IGNORECASE)
# In a sentence with one of these, 成员 is a person of WeCom's directory, as WeCom says, and not our word for people.
DIRECTORY_CONTEXT = re.compile("企业微信|通讯录|应用|可见|群主|Secret")
# Line, text or forms, comments, context.
Extracted = tuple[int, str | tuple[str, ...], list[str], str | None]


class CatalogueError(Exception):
    """Catalogues and code do not match. The text lists every reason, one a line."""


@dataclass(frozen=True)
class CatalogueFile:
    """The file of one app's catalogue in one language."""

    app: str
    language: str
    root: Path

    @property
    def po(self) -> Path:
        domain = "messages" if self.app == SANDBOX else "django"
        return self.root / self.app / "locale" / self.language / "LC_MESSAGES" / f"{domain}.po"

    @property
    def mo(self) -> Path:
        return self.po.with_suffix(".mo")

    @property
    def name(self) -> str:
        return str(self.po.relative_to(self.root))

    def read(self) -> Catalog:
        """Return the catalogue; an empty one if there is no file yet."""
        if not self.po.exists():
            return Catalog(locale=self.language)
        with self.po.open("rb") as file:
            return read_po(file, locale=self.language, abort_invalid=True)

    def write(self, catalogue: Catalog) -> bool:
        """Write the catalogue, without obsolete entries. Return False if the file is up to date. Places of texts are
        left out, too: they would change whenever a module moves, and a search finds them."""
        buffer = io.BytesIO()
        write_po(
            buffer, catalogue, omit_header=True, sort_output=True, ignore_obsolete=True, no_location=True, width=120
        )
        header = HEADER.format(language=self.language, plural_forms=catalogue.plural_forms)
        text = header.encode() + buffer.getvalue().strip() + b"\n"
        if self.po.exists() and self.po.read_bytes() == text:
            return False
        _write_atomically(self.po, text)
        return True


def extract_app(app: str, root: Path) -> Catalog:
    """Return a template catalogue of all texts in the app's Python and template files."""
    template = Catalog()
    for path in sorted(_find_sources(root / app)):
        location = str(path.relative_to(root))
        try:
            for _line, messages, comments, context in _extract_file(path, location, is_jinja=app == SANDBOX):
                template.add(messages, None, [(location, 1)], auto_comments=comments, context=context)
        except (SyntaxError, tokenize.TokenError, TemplateSyntaxError) as error:
            raise CatalogueError(f"{location}: {error}") from error
    return template


def _find_sources(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*.py") if "migrations" not in path.relative_to(folder).parts)
    for pattern in TEMPLATE_PATTERNS:
        yield from folder.rglob(f"templates/**/{pattern}")


def _extract_file(path: Path, location: str, *, is_jinja: bool) -> Iterable[Extracted]:
    """Extract the texts of a Python file or a template; parentheses around a template's texts make Python ignore
    indentation."""
    source, is_template = path.read_text(encoding="utf-8"), path.suffix != ".py"
    if is_jinja and is_template:
        # By default Babel treats a template that Jinja2 cannot read as one without texts; make it an error.
        options: dict[str, Any] = {"silent": "false"}
        return list(extract("jinja2", io.BytesIO(source.encode()), KEYWORDS, TRANSLATOR_COMMENTS, options))
    if is_template:
        source = f"(\n{templatize(source, origin=location)}\n)\n"
    return extract("python", io.BytesIO(source.encode()), KEYWORDS, TRANSLATOR_COMMENTS)


# --- Commands --------------------------------------------------------------------------------------------------------


def update(app: str, root: Path = ROOT) -> list[str]:
    """Update the app's catalogue from its code: add new texts, remove unused ones. Returns a line about it."""
    file = CatalogueFile(app, LANGUAGE, root)
    catalogue = file.read()
    catalogue.update(extract_app(app, root), no_fuzzy_matching=True)
    if not file.po.exists() and not len(catalogue):
        return []
    done = "written" if file.write(catalogue) else "unchanged"
    missing = sum(not _is_translated(message) for message in _list_messages(catalogue))
    return [f"{file.name}: {len(catalogue)} texts, {missing} untranslated, {done}"]


def check(app: str, root: Path = ROOT) -> list[str]:
    """List the problems of the app's catalogue; empty if every text has a usable translation."""
    wanted = {_make_key(message) for message in _list_messages(extract_app(app, root))}
    file = CatalogueFile(app, LANGUAGE, root)
    catalogue = file.read()
    found = {_make_key(message): message for message in _list_messages(catalogue)}
    problems = [f"missing: {_describe_key(key)}" for key in sorted(wanted - found.keys())]
    problems += [f"obsolete: {_describe_key(key)}" for key in sorted(found.keys() - wanted)]
    problems += [f"obsolete: {_describe_key(_make_key(message))}" for message in catalogue.obsolete.values()]
    if file.po.exists() and FUZZY_HEADER.match(file.po.read_text(encoding="utf-8")):
        problems.append("its header is marked fuzzy")
    for key, message in sorted(found.items()):
        faults = find_message_faults(message)
        if app != SANDBOX and not faults:
            english = _forms(message.id)[0]
            faults = [fault for text in _forms(message.string) for fault in find_word_faults(text, english)]
            if app != "guanwecom" and any(map(OPERATORS_WORDS.search, _forms(message.string))):
                faults.append("has a word for operators only")
        problems += [f"{fault}: {_describe_key(key)}" for fault in faults]
    return [f"{file.name}: {problem}" for problem in problems]


def find_conflicts(root: Path = ROOT) -> list[str]:
    """List texts that two apps translate differently: Django merges catalogues, and one translation is lost."""
    translations: dict[str, dict[str, str]] = {}
    for app in DJANGO_APPS:
        for message in _list_messages(CatalogueFile(app, LANGUAGE, root).read()):
            text = _forms(message.id)[0]
            key = f"{message.context}: {text}" if message.context else text
            translations.setdefault(key, {})[app] = " / ".join(_forms(message.string))
    return [
        f"{key!r} differs: {', '.join(f'{app} {text}' for app, text in by_app.items())}"
        for key, by_app in sorted(translations.items())
        if len(set(by_app.values())) > 1
    ]


def find_message_faults(message: Message) -> list[str]:
    """List the faults of one translation."""
    if message.fuzzy:
        return ["fuzzy"]
    if not _is_translated(message):
        return ["untranslated"]
    allowed = [list_placeholders(text) for text in _forms(message.id)]
    if any(list_placeholders(text) not in allowed for text in _forms(message.string)):
        return ["placeholders differ"]
    found = [(pattern.search(text), instead) for text in _forms(message.string) for pattern, instead in WORDS.items()]
    return [f"has “{match[0]}” instead of “{instead}”" for match, instead in found if match]


def find_word_faults(text: str, english: str) -> list[str]:
    """List words of a Chinese text that the glossary replaces by others. `english`: the text that it translates."""
    nouns, states = GLOSSARY["nouns"], GLOSSARY["states"]
    if text in states:
        return [f"is “{text}” instead of the state “{states[text]}”"]
    for term in GLOSSARY["terms"]:
        text = text.replace(term, "")
    is_of_the_directory = "member" in english.lower() or DIRECTORY_CONTEXT.search(text)
    found = [word for word in nouns if word in text and not (word == "成员" and is_of_the_directory)]
    return [f"has “{word}” instead of “{nouns[word]}”" for word in found]


def list_placeholders(text: str) -> list[str]:
    """Return the placeholders: named ones sorted and once each, then nameless ones in order."""
    named, nameless = set(), []
    for match in PLACEHOLDER.finditer(text):
        name = match[1] or match[2]
        if name:
            named.add(("{%s}" if match[0].startswith("{") else "%%(%s)") % name)
        elif match[0] != "%%":
            nameless.append(match[0])
    return sorted(named) + nameless


def compile_app(app: str, root: Path = ROOT) -> list[str]:
    """Write the .mo file if it is older than its .po. Raises CatalogueError if it would be empty."""
    file = CatalogueFile(app, LANGUAGE, root)
    if not file.po.exists() or (file.mo.exists() and file.mo.stat().st_mtime_ns >= file.po.stat().st_mtime_ns):
        return []
    catalogue = file.read()
    if not any(_is_translated(message) and not message.fuzzy for message in _list_messages(catalogue)):
        raise CatalogueError(f"{file.name}: nothing in it is translated; its compiled form would be empty")
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    _write_atomically(file.mo, buffer.getvalue())
    return [f"{file.name}: compiled"]


# --- Helpers ---------------------------------------------------------------------------------------------------------


def _list_messages(catalogue: Catalog) -> list[Message]:
    """Return the messages without the header."""
    return [message for message in catalogue if message.id]


def _forms(text: str | Iterable[str] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or ())


def _is_translated(message: Message) -> bool:
    return bool(message.string) and all(_forms(message.string))


def _make_key(message: Message) -> tuple[str, ...]:
    """Return gettext's key of a text, and its plural, so that an update notices a changed plural."""
    return (message.context or "", *_forms(message.id))


def _describe_key(key: tuple[str, ...]) -> str:
    context, *forms = key
    return " / ".join(repr(form) for form in forms) + (f" (context {context!r})" if context else "")


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically, so that a simultaneous reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python tools/catalogues.py", description=__doc__.splitlines()[0])
    run = {"update": update, "check": check, "compile": compile_app}
    parser.add_argument("verb", choices=run, help="update the catalogues, check them, or write the .mo files")
    parser.add_argument("apps", nargs="*", metavar="app", help=f"of {', '.join(APPS)} (all)")
    options = parser.parse_args(arguments)
    try:
        lines = [line for app in options.apps or APPS for line in run[options.verb](app, root)]
    except CatalogueError as error:
        print(error, file=sys.stderr)
        return 1
    if options.verb == "check":
        lines += find_conflicts(root)
    for line in lines:
        print(line)
    return 1 if options.verb == "check" and lines else 0


if __name__ == "__main__":
    sys.exit(main())
