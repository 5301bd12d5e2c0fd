"""Bodies of other systems as trees, expressions on them, and their fields as an editor picks them."""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from integrations.clients import expressions
from integrations.clients.expressions import ExpressionTooCostlyError, InvalidExpressionError
from notifications.inbound import mapping
from notifications.inbound.channels import WEBHOOK_SCHEMES
from notifications.inbound.content import InboundError
from notifications.inbound.mapping import (
    FOLDER,
    ITEMS_AT_MOST,
    OTHER,
    PRESETS,
    ChannelMapping,
    list_payload_lines,
)
from notifications.inbound.payloads import parse_body
from notifications.models import InboundChannel
from notifications.reports.templates import merge_fields, renderer
from notifications.reports.templates.merge_fields import PAYLOAD, Field

NOW = datetime(2026, 11, 28, 1, 2, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind", "payload"),
    [
        (b'{"a": NaN, "b": -Infinity, "c": 1e999}', "application/json", {"a": None, "b": None, "c": None}),
        (b'{"n": 12345678901234567890123}', "application/json", {"n": "12345678901234567890123"}),
        (b'{"a": 1, "a": 2}', "application/json", {"a": 2}),
        (b'{"t": "a\\u0000b\\ud800", "l": [["\\u0000"]]}', "application/json", {"t": "ab?", "l": [[""]]}),
        (b'\xef\xbb\xbf{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b"plain", "text/plain", {"text": "plain"}),
        (b'{"a": 1}', "text/plain", {"a": 1}),
        (b'{"a": 1}', FORM, {"a": 1}),
        (b"5", "application/json", {"value": 5}),
        ('{"a": "中"}'.encode("gb18030"), "application/json; charset=GBK", {"a": "中"}),
        (b"a=1&b=2&b=3&p=%7B%22x%22%3A+%5B1%5D%7D", FORM, {"a": "1", "b": ["2", "3"], "p": {"x": [1]}}),
        (b'{"content": "[{\\"a\\": 1}]", "deep": {"t": "[1]"}}', "", {"content": [{"a": 1}], "deep": {"t": "[1]"}}),
        (b'{"t": "[FIRING:1] disk"}', "application/json", {"t": "[FIRING:1] disk"}),
    ],
)
def test_bodies_become_trees(body: bytes, kind: str, payload: Any) -> None:
    assert parse_body(body, kind) == payload


def test_files_of_a_form_have_a_name_and_base64() -> None:
    head = b'--X\r\nContent-Disposition: form-data; name="f"; filename="../r.csv"\r\nContent-Type: text/csv\r\n\r\n'

    found = parse_body(head + b"a,b\r\n--X--\r\n", "multipart/form-data; boundary=X")

    assert found == {"f": [{"name": "r.csv", "type": "text/csv", "content": "YSxi"}]}


@pytest.mark.parametrize("charset", ["", "utf-8", "bogus", "utf-7"])
def test_a_charset_that_is_not_the_bodys_is_refused(charset: str) -> None:
    with pytest.raises(InboundError):
        parse_body('{"a": "中"}'.encode("gbk"), f"application/json; charset={charset}")


ALERTS = {"alerts": [{"labels": {"name": "磁盘", "n": number}} for number in range(3)], "a b": {"c": 1}}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("alerts[0].labels.name", "磁盘"),
        ('"a b".c', 1),
        ("alerts[?labels.n > `0`].labels.n", [1, 2]),
        ("join(', ', alerts[:2].labels.name)", "磁盘, 磁盘"),
        ("missing || alerts[1].labels.n", 1),
        ("nothing.at.all", None),
        ("sum(alerts)", None),
        ("", None),
    ],
)
def test_expressions_find_or_find_nothing(expression: str, found: Any) -> None:
    assert expressions.find_value(expression, ALERTS) == found


@pytest.mark.parametrize("expression", ["a[", "a" * 1001, "to_strin(@)", "a[?sort_of(b)]"])
def test_what_is_not_of_the_language_is_refused(expression: str) -> None:
    with pytest.raises(InvalidExpressionError):
        expressions.check_expression(expression)
    assert expressions.find_value(expression, ALERTS) is None


MANY = {"a": [{"b": list(range(1000))} for _one in range(1000)]}


@pytest.mark.parametrize(
    ("expression", "payload"),
    [
        *((path, MANY) for path in ("a[*].b[*]", "a[?contains(b, `1`)]", "sort(a[].b[])", "a[].b[] | [] | [] | []")),
        # The result would be far too large; it is refused before it is built.
        ("join(s, l)", {"s": "x" * 2_000_000, "l": [""] * 40_000}),
    ],
    ids=["product", "contains", "sort", "pipes", "join"],
)
def test_work_is_bounded(expression: str, payload: Any) -> None:
    with pytest.raises(ExpressionTooCostlyError):
        expressions.find_value(expression, payload)


def test_each_value_of_what_is_built_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "STEPS_AT_MOST", 200)
    numbers = list(range(40))  # four steps for each: read twice, and twice in the result

    assert expressions.find_value("[a, a]", {"a": numbers}) == [numbers, numbers]


def test_a_long_text_is_no_work() -> None:
    assert expressions.find_value("a", {"a": "x" * 5_000_000}) == "x" * 5_000_000


def test_the_tree_names_each_field_for_paths_and_templates() -> None:
    payload = {"a": {"b c": [{"true": 1}]}, "t": "长" * 100, "e": {}}

    rows = [(row.name, row.path, row.template, row.depth) for row in list_payload_lines(payload)]

    assert rows == [
        ("a", "a", "{{ payload.a }}", 0),
        ("b c", 'a."b c"', "{{ payload.a['b c'] }}", 1),
        ("[0]", 'a."b c"[0]', "{{ payload.a['b c'][0] }}", 2),
        ("true", 'a."b c"[0].true', "{{ payload.a['b c'][0]['true'] }}", 3),
        ("t", "t", "{{ payload.t }}", 0),
        ("e", "e", "{{ payload.e }}", 0),
    ]
    assert list(list_payload_lines(payload))[4].example == "长" * 79 + "…"


def test_what_a_tree_names_is_found_and_read_back_as_a_label() -> None:
    payload = {"it's": [{"x_1": 7}]}

    for row in list_payload_lines(payload):
        assert expressions.find_value(row.path, payload) is not None
        [part] = merge_fields.read_parts(row.template, {"payload": ""}) or []
        assert isinstance(part, Field)
        mapped = map_payload(ChannelMapping(title=row.template), payload)
        assert mapped is not None
        assert "7" in mapped.message.title


def test_a_large_payload_shows_its_beginning() -> None:
    payload = {"list": list(range(100)), **{f"n{number}": number for number in range(1000)}}
    names = [row.name for row in list_payload_lines(payload)]

    assert names[:7] == ["list", *(f"[{number}]" for number in range(ITEMS_AT_MOST)), "n0"]


def map_payload(rules: ChannelMapping, payload: Any) -> Any:
    return mapping.map_payload(InboundChannel(mapping=rules.to_document()), payload, now=NOW)


def test_lines_of_a_value_stay_lines_and_markup_of_values_is_text() -> None:
    found = map_payload(ChannelMapping(text="**状态**\n{{ payload.t }}", is_markdown=True), {"t": "# a\n**b** <@all>"})

    assert found.message.text == "**状态**\n＃ a\n＊＊b＊＊ ＜@all＞"  # look-alikes on purpose
    assert found.message.markup == "markdown"


@pytest.mark.parametrize(
    ("path", "values", "payload", "is_sent"),
    [
        ("s", ("ok",), {"s": "OK"}, True),
        ("s", ("ok",), {"s": "bad"}, False),
        ("s", ("ok",), {"s": ["bad", "ok"]}, True),
        ("s", ("ok",), {}, False),
        ("s", (), {"s": 1}, True),
        ("s", (), {"s": ""}, False),
        ("n > `3`", (), {"n": 4}, True),
        ("n > `3`", (), {"n": 3}, False),
        ("s", ("true",), {"s": True}, True),
    ],
)
def test_the_condition(path: str, values: tuple[str, ...], payload: Any, is_sent: bool) -> None:
    found = map_payload(ChannelMapping(title="x", only_path=path, only_values=values), payload)

    assert (found is not None) is is_sent


def test_recipients_of_texts_lists_and_lines() -> None:
    rules = ChannelMapping(recipient_kind="userid", recipient_path="to")

    found = [map_payload(rules, {"to": to}).addresses for to in ("a, b；c|d", ["a", "b c"], [7, 8.0], None, {"x": 1})]

    assert [[one.value for one in addresses] for addresses in found] == [
        *(["a", "b", "c", "d"], ["a", "b", "c"], ["7", "8"], [], [])
    ]


def test_figures_link_key_severity_and_an_attribute() -> None:
    rules = ChannelMapping(
        figures=(("订单", "sum.orders"), ("空", "missing"), ("比", "sum.rate")),
        link_path="url",
        key_path="id",
        severity_path="level",
        urgent_values=("critical", "1"),
        recipient_kind="attribute",
        recipient_attribute="store",
        recipient_path="stores[].code",
    )
    payload = {"sum": {"orders": 12, "rate": 0.5}, "url": "https://a.example", "id": 7, "level": "CRITICAL"}

    found = map_payload(rules, {**payload, "stores": [{"code": "S1"}, {"code": "S2"}]})

    assert found.message.figures == [["订单", "12"], ["比", "0.5"]]
    assert (found.message.link, found.key, found.is_urgent) == ("https://a.example", "7", True)
    assert [(one.kind, one.value, one.attribute) for one in found.addresses] == [
        ("attribute", "S1", "store"),
        ("attribute", "S2", "store"),
    ]


def test_files_by_address_by_base64_and_what_is_neither() -> None:
    payload = {
        "p": ["https://example.com/a.png", "data:text/csv;base64,YSxiLGMsZCxl", "no", "file:///etc/passwd"],
        "f": {"filename": "r.csv", "data": "YSxiLGMsZCxl"},
    }

    found = map_payload(ChannelMapping(file_paths=("p", "f", "missing")), payload)

    assert found.urls == (("", "https://example.com/a.png"),)
    assert [file.name for file in found.files] == ["r.csv"]
    assert len(found.refused) == 3


def test_an_expression_that_takes_too_long_is_a_mapping_error() -> None:
    with pytest.raises(InboundError):
        map_payload(ChannelMapping(title="x", key_path="a[*].b[*]"), MANY)


def test_a_mapping_survives_being_kept() -> None:
    whole = ChannelMapping(title="t", figures=(("a", "b"),), only_values=("x",), is_markdown=True)

    assert ChannelMapping.from_document(json.loads(json.dumps(whole.to_document()))) == whole
    assert ChannelMapping.from_document({"title": "t", "of another release": 1}) == ChannelMapping(title="t")


FILES = sorted(FOLDER.glob("*.toml"))
PATHS = ("recipient_path", "only_path", "key_path", "link_path", "severity_path")


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_file_holds_what_is_known_in_both_languages(path: Path) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    preset = PRESETS[path.stem]

    assert set(document) <= {"position", "scheme", "is_alert", "label", "steps", "mapping"}
    assert set(document.get("mapping", {})) <= set(ChannelMapping.__dataclass_fields__)
    assert [set(words) for words in (document["label"], *document["steps"])] == [{"en", "zh"}] * (
        1 + len(document["steps"])
    )
    assert preset.scheme in WEBHOOK_SCHEMES
    for template in (preset.mapping.title, preset.mapping.text):
        renderer.compile_template(template, frozenset({PAYLOAD}))
    for expression in filter(None, (*(getattr(preset.mapping, name) for name in PATHS), *preset.mapping.file_paths)):
        expressions.check_expression(expression)


def test_labels_are_in_the_readers_language_and_the_unknown_one_is_last() -> None:
    with translation.override("zh-hans"):
        assert PRESETS["guandata"].label == "观远（自定义推送渠道）"
    with translation.override("en"):
        assert PRESETS["guandata"].label == "Guandata (custom push channel)"
    assert list(PRESETS)[-1] == OTHER
