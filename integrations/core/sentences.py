"""Sentences stored in rows, addresses of guides, and explanations of failures; all are translated when shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from django.conf import settings
from django.urls import reverse
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from integrations.clients.errors import Explanation
from integrations.clients.wecom import errcodes
from integrations.models import datasources

_PLACEHOLDER = re.compile(r"%%|%\((\w+)\)[sd]")


@dataclass(frozen=True)
class NoData:
    """The reason why a card has no data, translated by integrations.models.datasources."""

    code: str
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        return datasources.explain_problem(self.code, self.facts)


@dataclass(frozen=True)
class Sentence:
    """A sentence that rows can store; `str` translates it. `msgid`: English, with placeholders %(name)s or %(name)d;
    `plural`: the English text if the value `count` is not 1; empty for a sentence without a count."""

    msgid: str
    values: Mapping[str, Any] = field(default_factory=dict)
    plural: str = ""

    def __mod__(self, values: Mapping[str, object]) -> Sentence:
        """Return the sentence with these values. Values that are neither numbers nor sentences become text."""
        filled = {key: one if isinstance(one, int | Sentence | NoData) else str(one) for key, one in values.items()}
        return Sentence(self.msgid, filled, self.plural)

    def __str__(self) -> str:
        text, count = _(self.msgid) if self.msgid else "", self.values.get("count")
        if self.plural and isinstance(count, int):
            text = ngettext(self.msgid, self.plural, count)
        # A missing value leaves its placeholder.
        return _PLACEHOLDER.sub(lambda one: "%" if one[0] == "%%" else str(self.values.get(one[1], one[0])), text)

    def serialize(self) -> str:
        """Return the text to store in a row; `translate_stored` reads it."""
        return json.dumps(_to_document(self), ensure_ascii=False, separators=(",", ":"))


class SentenceError(Exception):
    """An error with a sentence: `str` translates it; `sentence.serialize()` returns the text for a row."""

    def __init__(self, sentence: Sentence) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return str(self.sentence)


def make_counted_sentence(msgid: str, plural: str, count: int) -> Sentence:
    """Return a sentence with `msgid` for one and `plural` for more; both name the count as %(count)d."""
    return Sentence(msgid, {"count": count}, plural)


def translate_stored(text: str) -> str:
    """Return a row's text in the active language. Text that is not a stored sentence is returned unchanged."""
    if not text.startswith('{"msgid":'):
        return text
    try:
        return str(_from_document(json.loads(text)))
    except (ValueError, TypeError, KeyError, RecursionError):
        return text


# Parts and texts of stored sentences that were reworded, with the same placeholders: older rows hold the former ones.
_PARTS = {"of the card “": "of “", "the card “": "the data “", "card ask": "query ask", "a card only": "data only"}
_REWORDED = {
    "One can go through the rows of a card only: for row in card.rows.": (
        "A loop goes through the rows of data only: for row in card.rows."
    ),
    "Say in which column the day stands: there is not exactly one column of days.": (
        "Name the column of the day: there is not exactly one column of days."
    ),
    "This is not a value that can be shown; name what is meant of it.": (
        "This is not a value that can be shown: name a part of it."
    ),
    "The chart has no column to stand along its axis.": "The chart has no column for its axis.",
    "Nobody enters the BI from here, or its connection is not complete.": (
        "Single sign-on to the BI is switched off, or its connection is not complete."
    ),
    "Nobody enters the BI from here: its address or key is missing, or it is switched off.": (
        "Single sign-on to the BI does not work: its address or key is missing, or it is switched off."
    ),
    "Each worker that made its message ended before.": (
        "The message was not made: every worker that tried it stopped unexpectedly."
    ),
    "“%(name)s” was not fetched: each worker that tried it ended before.": (
        "“%(name)s” was not fetched: every worker that tried it stopped unexpectedly."
    ),
}


def _to_document(value: object) -> object:
    match value:
        case Sentence(msgid, values, plural):
            document: dict[str, object] = {"msgid": msgid}
            if plural:
                document["plural"] = plural
            if values:
                document["values"] = {name: _to_document(each) for name, each in values.items()}
            return document
        case NoData(code, facts):
            return {"no_data": code, "facts": dict(facts)}
        case _:
            return value


def _from_document(document: Any) -> Any:
    """Return the sentence, or the value, of a document. Raises KeyError and TypeError for a malformed one."""
    if not isinstance(document, dict):
        return document
    if "no_data" in document:
        return NoData(str(document["no_data"]), dict(document["facts"]))
    msgid, plural = str(document["msgid"]), str(document.get("plural", ""))
    values = {name: _from_document(each) for name, each in dict(document.get("values", {})).items()}
    msgid = re.sub("|".join(_PARTS), lambda former: _PARTS[former[0]], _REWORDED.get(msgid, msgid))
    return Sentence(msgid, values, plural)


# --- Guides and explanations ------------------------------------------------------------------------------------------

# Built by `make docs`. Web processes serve them under /docs/ to people who may enter the administration.
GUIDES_FOLDER = settings.BASE_DIR / "docs" / "_build" / "html"


def find_guide_address(page: str, anchor: str = "") -> str:
    """Return the address of a guide, or an anchor in it, in the active language; empty if guides were not built."""
    tree = "zh-cn" if (get_language() or settings.LANGUAGE_CODE).startswith("zh") else "en"
    path = f"{tree}/{page}.html"
    if not (GUIDES_FOLDER / path).is_file():
        return ""
    return reverse("guides", args=[path]) + (f"#{anchor}" if anchor else "")


E = TypeVar("E", bound=Explanation)


def translate_explanation(english: E, facts: Mapping[str, Any] | None = None) -> E:
    """Translate `english` into the active language. `facts`: values of its placeholders; None if it has none."""
    what, who, where = (_(text) if text else "" for text in (english.what, english.who, english.where))
    if facts is not None:
        what, who, where = what % facts, who % facts, where % facts
    guide = find_guide_address("errors", english.guide) if english.guide else ""
    return replace(english, what=what, who=who, where=where, guide=guide)


def explain_errcode(code: int, *, operation: str = "") -> Explanation:
    """Return the explanation of a WeCom error code. `operation`: the refused call, if known."""
    return translate_explanation(errcodes.explain(code, operation=operation))
