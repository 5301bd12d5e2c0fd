"""Stored sentences: read in the reader's language, not in the language of the time of writing."""

import re

import pytest
from django.test import override_settings
from django.urls import reverse
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from integrations.core import sentences
from integrations.core.sentences import NoData, Sentence, make_counted_sentence, translate_stored
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.models import Delivery, Run
from tests.notifications.delivery.test_explanations import in_language
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

VALUES = st.recursive(
    st.text() | st.integers(),
    lambda inner: st.builds(
        Sentence,
        st.sampled_from(["Line %(line)d: %(reason)s", "“%(name)s” %d 100%"]),
        st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_is_stored_is_shown_as_it_was(msgid: str, values: dict[str, object]) -> None:
    sentence = Sentence(msgid) % values

    assert translate_stored(sentence.serialize()) == str(sentence)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        '{"msgid":',
        '{"msgid":"a"',
        '{"msgid":"a"}}',
        '{"msgid":"a","values":7}',
        '{"msgid":"a","values":{"b":{}}}',
        '{"msgid":"a","values":' * 2000,
    ],
)
def test_a_broken_one_is_shown_as_it_is(text: str) -> None:
    assert translate_stored(text) == text


def test_a_value_that_is_missing_leaves_its_place() -> None:
    with translation.override("en"):
        assert translate_stored('{"msgid":"Line %(line)d: %(reason)s","values":{"line":2}}') == "Line 2: %(reason)s"


def test_all_parts_are_in_the_language_in_force() -> None:
    refused = [
        make_counted_sentence("Refused for %(count)d recipient.", "Refused for %(count)d recipients.", count)
        for count in (1, 2)
    ]
    nested = Sentence("Line %(line)d: %(reason)s") % {"line": 3, "reason": Sentence("This number is too large.")}
    parts = {"first": refused[0], "second": refused[1], "third": nested}
    stored = Sentence("%(first)s %(second)s %(third)s", parts).serialize()

    with translation.override("en"):
        assert translate_stored(stored) == (
            "Refused for 1 recipient. Refused for 2 recipients. Line 3: This number is too large."
        )
    with translation.override("zh-hans"):
        assert translate_stored(stored) == "1 个接收人被拒绝。 2 个接收人被拒绝。 第 3 行：该数字过大。"


def test_why_a_card_has_no_data_is_in_the_language_in_force() -> None:
    found = NoData("busy", {})
    sentence = Sentence("There is no data of “%(card)s”: %(problem)s") % {"card": "销售", "problem": found}
    stored = sentence.serialize()

    said = set()
    for language in ("en", "zh-hans"):
        with translation.override(language):
            assert translate_stored(stored) == str(sentence)
            assert str(found) in translate_stored(stored)
            said.add(translate_stored(stored))
    assert len(said) == 2


@pytest.mark.django_db
def test_a_run_that_failed_is_read_in_the_language_of_its_reader_and_of_the_site() -> None:
    run = failed_run("en")

    page = in_language(make_superuser(), "zh-hans").get(reverse("admin:notifications_run_change", args=[run.pk]))

    assert SAID["zh-hans"] in page.content.decode()
    assert SAID["en"] not in page.content.decode()
    [notice] = request_owner_notices(now=NOW)
    render_run(run_id=notice, now=NOW)
    delivery = Delivery.objects.get()
    assert delivery.run_id == notice
    assert delivery.text == f"“{run.subscription}”，应于 2026-11-24 09:00:30 发出：{SAID['zh-hans']}"


SAID = {
    "en": "This cannot be a message: textcard.title: is empty",
    "zh-hans": "内容无法作为消息发送：textcard.title: is empty",
}


def failed_run(language: str) -> Run:
    """Return a run that failed while the site's language was `language`."""
    corp = make_corp()
    owner = make_person(corp, "lilei")
    run = make_run(make_subscription(owner, owner=owner, report=make_report(title=" ", corp=corp)))
    with override_settings(LANGUAGE_CODE=language):
        render_run(run_id=run.pk, now=NOW)
    run.refresh_from_db()
    assert run.status == Run.Status.FAILED
    return run


WITH_CARD = {
    "There is no data of the card “%(card)s”: %(problem)s": "There is no data of “%(card)s”: %(problem)s",
    "Own rows: of the card “%(card)s” only the first %(count)s rows were read, so that people would miss rows of "
    "theirs. Raise the limit of its data source, or let the card ask for fewer rows.": (
        "Own rows: of “%(card)s” only the first %(count)s rows were read, so that people would miss rows of theirs. "
        "Raise the limit of its data source, or let the query ask for fewer rows."
    ),
    "Own rows: the card “%(card)s” has no column “%(column)s”, so that nobody may see its rows.": (
        "Own rows: the data “%(card)s” has no column “%(column)s”, so that nobody may see its rows."
    ),
    "Chart “%(chart)s”: the card “%(card)s” has no column “%(column)s”.": (
        "Chart “%(chart)s”: the data “%(card)s” has no column “%(column)s”."
    ),
    "A loop goes through the rows of a card only: for row in card.rows.": (
        "A loop goes through the rows of data only: for row in card.rows."
    ),
}


@pytest.mark.parametrize(("former", "present"), [*sentences._REWORDED.items(), *WITH_CARD.items()])
def test_a_row_with_a_reworded_text_reads_like_a_new_one(former: str, present: str) -> None:
    values = {"name": "a.png", "card": "Sales", "problem": "?", "count": 2, "column": "Region", "chart": "Line"}

    read = translate_stored(Sentence(former, values).serialize())
    with translation.override("zh-hans"):
        chinese = translate_stored(Sentence(former, values).serialize())

    assert read == str(Sentence(present, values))
    assert re.search("[一-鿿]", chinese)
