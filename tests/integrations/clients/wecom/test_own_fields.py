"""The company's own fields of a member: extattr of user/get and user/list."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.clients.wecom.calls import AnswerError
from integrations.clients.wecom.contacts import user_from


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


def test_without_fields_there_are_none() -> None:
    assert user_from({"userid": "lilei"}).own_fields == ()
    assert own_fields({"attrs": []}) == ()
    assert own_fields({}) == ()


@pytest.mark.parametrize("extattr", [{"attrs": "x"}, {"attrs": ["x"]}])
def test_what_is_no_field_is_no_answer(extattr: Any) -> None:
    with pytest.raises(AnswerError):
        own_fields(extattr)
