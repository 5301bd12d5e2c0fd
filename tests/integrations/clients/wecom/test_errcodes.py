"""Every code of WeCom's table has its class and its sentences."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.clients.errors import (
    BadRequestError,
    ConfigurationError,
    IntegrationError,
    LoginRefusedError,
    RateLimitedError,
    RecipientError,
    TransientError,
    UnexpectedResponseError,
)
from integrations.clients.wecom.calls import AnswerError
from integrations.clients.wecom.contacts import user_from
from integrations.clients.wecom.errcodes import ENTRIES, error_class, explain

# The action column of the official table as the contract restates it, of what our calls can bring about.
TABLE: dict[type[IntegrationError], tuple[int, ...]] = {
    TransientError: (-1, 6000, 40014, 42001, 50100),
    RateLimitedError: (45009, 45033),
    ConfigurationError: (
        *(40001, 40013, 40054, 40055, 40056, 40057, 40091, 41002, 41004, 43012, 45024, 45031, 48001, 48002, 48004),
        *(48005, 48006, 48009, 50001, 50003, 50006, 60020, 60031, 80001, 81011, 85004, 85005, 85008, 85111, 93000),
        *(93004, 93008, 301002, 301042, 701008, 701099, 2000002),
    ),
    RecipientError: (
        *(40003, 40031, 40050, 40068, 40201, 42052, 46003, 49008, 50002, 60003, 60123, 60011, 60021, 60111, 60140),
        *(81013, 82004, 85002, 86003, 86008, 92000),
    ),
    LoginRefusedError: (40029, 41008, 42003, 42022),
    BadRequestError: (
        *(40004, 40006, 40007, 40009, *range(40016, 40021), *range(40022, 40028), 40032, 40033, 40035, 40039, 40058),
        *(40063, 40093, 40094, 40123, 40206, 41001, 41006, 41009, 41010, 41011, 41016, 41033, 42027, 42028),
        *(*range(42031, 42037), 42038, 42039, 42042, 42044, 42045, 42048, 44001, 44004, 45001, 45002, 45004, 45008),
        *(45022, 45029, 45034, 60102, 81012, 81014, 82001, 84025, 86001, 86002, 86004, 86005, 86006, 86007, 86101),
        *(*range(86201, 86208), 86215, 86216, 86217),
    ),
}


def test_each_code_has_its_class_and_its_sentences() -> None:
    expected = {code: cls for cls, codes in TABLE.items() for code in codes}

    assert {code: error_class(code) for code in ENTRIES} == expected
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
