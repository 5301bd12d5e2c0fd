"""Sentences for every code of WeCom's table. Their classes are in test_contract and against_sandbox/test_refusals."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.clients.errors import (
    UnexpectedResponseError,
)
from integrations.clients.wecom.calls import AnswerError
from integrations.clients.wecom.contacts import user_from
from integrations.clients.wecom.errcodes import ENTRIES, error_class, explain


def test_each_code_has_its_sentences() -> None:
    for code in ENTRIES:
        advice = explain(code)
        for sentence in (advice.what, advice.who, advice.where):
            assert sentence[0].isupper()
            assert sentence.endswith(".")


@pytest.mark.parametrize("code", [1, 999_999, -2])
def test_an_unknown_code_is_unexpected_and_says_what_to_do(code: int) -> None:
    assert error_class(code) is UnexpectedResponseError
    assert "does not know" in explain(code).what
    assert "devtool/query" in explain(code).where


def own_fields(extattr: Any) -> tuple[tuple[str, str], ...]:
    return user_from({"userid": "lilei", "extattr": extattr}).own_fields


def test_plain_texts_are_read_in_both_forms_and_links_are_not() -> None:
    attrs = [
        {"type": 0, "name": "工号", "text": {"value": "A007"}},
        {"name": "爱好", "value": "旅游"},
        {"type": 0, "name": "空", "text": {"value": ""}},
        {"type": 1, "name": "主页", "web": {"url": "https://example.com", "title": "x"}},
    ]

    assert own_fields({"attrs": attrs}) == (("工号", "A007"), ("爱好", "旅游"), ("空", ""))
    assert user_from({"userid": "lilei"}).own_fields == own_fields({}) == ()


@pytest.mark.parametrize("extattr", [{"attrs": "x"}, {"attrs": ["x"]}])
def test_what_is_no_field_is_no_answer(extattr: Any) -> None:
    with pytest.raises(AnswerError):
        own_fields(extattr)
