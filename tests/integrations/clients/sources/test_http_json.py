"""JSON over HTTP: rows of every form, and misbehaving services, which all end in time with a message."""

import gzip
import json
import socket
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import translation

from integrations.clients.expressions import InvalidExpressionError, check_expression
from integrations.clients.sources.addresses import (
    AllowedNetwork,
    InvalidEntryError,
    append_path,
    find_needed_network,
    is_base_url,
    parse_headers,
    stays_below_base,
)
from integrations.clients.sources.http_json import ANSWER_BYTES_AT_MOST, JsonRequest, read_json
from integrations.data import Problem, SourceError
from integrations.data.table import Kind, Table
from integrations.data.table_builder import ColumnChoices
from integrations.models import datasources
from tests.integrations.clients.sources.place import NOW
from tests.integrations.clients.sources.web import Answer, says, web_service
from tests.integrations.clients.wecom.misbehaviour import (
    BREAKS,
    Misbehaviour,
    drips_body,
    drips_headers,
    hangs,
    never_ends,
    resets,
    stops_half_way,
)

# Endless answers are stopped after LITTLE; finite ones have time even on a busy machine.
LITTLE, SECONDS = 1.5, 30


def asked(answer: Answer, *, rows_at_most: int = 100, seconds: float = SECONDS, **values: Any) -> Table:
    with web_service(answer) as service:
        request = JsonRequest(
            **{"url": f"{service.url}/v1/facts", "allowed_network": AllowedNetwork.THIS_MACHINE, **values}
        )
        return read_json(request, rows_at_most=rows_at_most, seconds=seconds, now=NOW)


def says_json(value: Any, **known: Any) -> Answer:
    return says(json.dumps(value).encode(), **known)


class TestRows:
    def test_objects_become_columns_in_their_order_and_what_is_missing_is_none(self) -> None:
        rows = [{"day": "2026-11-24", "amount": 3.5, "open": True}, {"day": "2026-11-25", "note": {"a": [1]}}]

        table = asked(says_json({"data": {"rows": rows}}), expression="data.rows")

        assert [(one.name, one.kind) for one in table.columns] == [
            *(("day", Kind.DATE), ("amount", Kind.NUMBER), ("open", Kind.BOOLEAN), ("note", Kind.TEXT)),
        ]
        assert table.rows[0][1:] == (3.5, True, None)
        assert table.rows[1][1:] == (None, None, '{"a": [1]}')

    @pytest.mark.parametrize(
        ("value", "expression", "names", "rows"),
        [
            ([[1, "a"], [2]], "", ("#1", "#2"), ((1, "a"), (2, None))),
            ([3, 4], "", ("#1",), ((3,), (4,))),
            ({"total": 7}, "", ("total",), ((7,),)),
            ({"a": [{"n": 1}, {"n": 2}]}, 'a[?n > `1`].{"第几": n}', ("第几",), ((2,),)),
            ({"h": ["x", "x", ""], "d": [[1, 2, 3]]}, "{columns: h, rows: d}", ("x", "x (2)", "#3"), ((1, 2, 3),)),
        ],
    )
    def test_other_forms(self, value: Any, expression: str, names: tuple[str, ...], rows: Any) -> None:
        table = asked(says_json(value), expression=expression)

        assert (table.names, table.rows) == (names, rows)

    def test_no_rows_keep_the_columns_that_the_card_names(self) -> None:
        table = asked(says_json([]), choices=ColumnChoices(kinds={"金额": "number"}, units={"金额": "元"}))

        assert [(one.name, one.kind, one.unit) for one in table.columns] == [("金额", Kind.NUMBER, "元")]
        assert table.rows == ()

    def test_more_rows_than_asked_for_are_cut_and_it_is_said(self) -> None:
        table = asked(says_json([{"n": n} for n in range(10)]), rows_at_most=3)

        assert (len(table.rows), table.is_cut) == (3, True)
        assert asked(says_json([{"n": 1}] * 3), rows_at_most=3).is_cut is False

    def test_says_of_when_the_service_says_its_data_is(self) -> None:
        dated = says_json([1], headers="Last-Modified: Mon, 23 Nov 2026 08:00:00 GMT")
        future = says_json([1], headers="Last-Modified: Mon, 23 Nov 2037 08:00:00 GMT")

        assert asked(dated).as_of == datetime(2026, 11, 23, 8, tzinfo=UTC)
        assert asked(future).as_of == NOW

    def test_follows_within_the_same_origin_only(self) -> None:
        def answer(line: socket.socket, request: bytes) -> None:
            if b"GET /v1/facts" in request:
                says(b"", status="302 Found", headers="Location: /v2/facts")(line, request)
            else:
                says_json([{"n": 1}])(line, request)

        assert asked(answer).rows == ((1,),)


def behaves(way: Misbehaviour) -> Answer:
    return lambda line, _request: way(line)


def redirects(location: str) -> Answer:
    return says(b"", status="302 Found", headers=f"Location: {location}")


BOMB = gzip.compress(b"[" + b"0," * 12_000_000 + b"0]", compresslevel=1)
DOUBLING = "[@,@]" + "|[@,@][]" * 100
CASES: dict[str, tuple[Answer, str, Problem]] = {
    "drips its content": (behaves(drips_body), "", Problem.TOO_SLOW),
    "drips its header": (behaves(drips_headers), "", Problem.TOO_SLOW),
    "never ends": (behaves(never_ends(b"HTTP/1.1 200 OK\r\n\r\n")), "", Problem.TOO_BIG),
    "is silent": (behaves(hangs), "", Problem.TOO_SLOW),
    "resets": (behaves(resets), "", Problem.UNREACHABLE),
    "breaks off": (behaves(stops_half_way), "", Problem.UNREACHABLE),
    "is no HTTP": (behaves(BREAKS["no HTTP"]), "", Problem.UNREACHABLE),
    "a web page": (says(b"<html>", headers="Content-Type: text/html"), "", Problem.NOT_UNDERSTOOD),
    "a web page that says it is JSON": (says(b"<html>"), "", Problem.NOT_UNDERSTOOD),
    "a gzip bomb": (says(BOMB, headers="Content-Encoding: gzip"), "", Problem.TOO_BIG),
    "broken gzip": (
        says(b"\x1f\x8b\x08\x00junkjunkjunk", headers="Content-Encoding: gzip"),
        "",
        Problem.NOT_UNDERSTOOD,
    ),
    "an unknown packing": (says(b"[]", headers="Content-Encoding: br"), "", Problem.NOT_UNDERSTOOD),
    "deep JSON": (says(b"[" * 200_000 + b"]" * 200_000), "", Problem.NOT_UNDERSTOOD),
    "broken UTF-8": (says(b'[{"a":"\xff\xfe"}]'), "", Problem.NOT_UNDERSTOOD),
    "an empty answer": (says(b""), "", Problem.NOT_UNDERSTOOD),
    "a huge number": (says(b"[" + b"9" * 100_000 + b"]"), "", Problem.NOT_UNDERSTOOD),
    "a row of a million cells": (says(b"[[" + b"0," * 999_999 + b"0]]"), "", Problem.NO_TABLE),
    "too many columns": (says_json([{f"c{n}": n for n in range(600)}]), "", Problem.NO_TABLE),
    "uneven rows": (says_json({"columns": ["a"], "rows": [[1], [1, 2]]}), "", Problem.NO_TABLE),
    "rows that are none": (says_json({"columns": ["a"], "rows": [1]}), "", Problem.NOT_UNDERSTOOD),
    "no such key": (says_json({"a": 1}), "rows", Problem.EXPRESSION),
    "a function on the wrong type": (says_json({"a": 1}), "length(a)", Problem.EXPRESSION),
    "an expression that doubles for ever": (says_json([1]), DOUBLING, Problem.EXPRESSION),
    "more values than a process may hold": (says(b"[" + b"0," * 4_000_000 + b"0]"), "", Problem.TOO_BIG),
    "an expired token": (says_json({}, status="401 Unauthorized"), "", Problem.CREDENTIALS_REFUSED),
    "a deleted query": (says_json({}, status="404 Not Found"), "", Problem.NOT_FOUND),
    "too many questions": (says_json({}, status="429 Too Many Requests"), "", Problem.BUSY),
    "a mistake of ours": (says_json({}, status="400 Bad Request"), "", Problem.REFUSED),
    "a busy service": (says_json({}, status="503 Service Unavailable"), "", Problem.BROKEN),
    "to the cloud's credentials": (redirects("http://169.254.169.254/latest/"), "", Problem.REDIRECTED),
    "to another port": (redirects("http://127.0.0.1:1/"), "", Problem.REDIRECTED),
    "to a file": (redirects("file:///etc/passwd"), "", Problem.REDIRECTED),
    "round in circles": (redirects("/v1/facts"), "", Problem.REDIRECTED),
    "to nowhere": (says(b"", status="302 Found"), "", Problem.REDIRECTED),
}


@pytest.mark.parametrize("case", CASES)
def test_a_misbehaving_service_ends_in_time_with_a_sentence(case: str) -> None:
    answer, expression, problem = CASES[case]
    seconds = LITTLE if problem is Problem.TOO_SLOW else SECONDS

    with pytest.raises(SourceError) as found:
        asked(answer, seconds=seconds, expression=expression, headers={"Authorization": "Bearer sim-secret-token"})

    assert found.value.problem is problem
    with translation.override("en"):
        sentence = datasources.explain_problem(found.value.problem, found.value.facts)
    assert "%" not in sentence.replace("%%", "")
    for hidden in ("sim-secret-token", "127.0.0.1", "169.254", "/v1/facts", "http://"):
        assert hidden not in f"{sentence} {found.value!r} {found.value.facts} {found.value.__cause__!r}"
        assert hidden not in repr(found.value.__context__)


def test_what_an_expression_makes_is_bounded_where_it_is_made() -> None:
    """Bound the expression, whose one row of two cells would become 2 ** 15 cells."""
    tracemalloc.start()
    try:
        table = asked(says_json([1]), expression="|".join(["[@,@]"] * 15))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(table.rows) == 2
    assert {len(str(value)) for row in table.rows for value in row} == {20_000}
    assert str(table.rows[0][0]).endswith("…")
    assert peak < 10 * 2**20


def test_rows_that_repeat_a_large_answer_are_too_big() -> None:
    with pytest.raises(SourceError) as found:
        asked(says_json(["x" * 20_000] * 4), expression="[@,@]" + "|[@,@][]" * 12, rows_at_most=10_000)

    assert (found.value.problem, found.value.facts) == (Problem.TOO_BIG, {"megabytes": 32})


@pytest.mark.parametrize(
    ("columns", "rows", "names"),
    [
        ([["a"]], [{"x": 1}], ('["a"]',)),
        ([1, None], [{"1": 7}], ("1", "#2")),
        ([{"a": 1}, "b"], [[7, 8]], ('{"a": 1}', "b")),
    ],
)
def test_names_of_columns_are_texts_whatever_they_are(columns: Any, rows: Any, names: tuple[str, ...]) -> None:
    assert asked(says_json({"columns": columns, "rows": rows})).names == names


@pytest.mark.parametrize(
    ("answer", "value"),
    [(b"[NaN]", None), (b"[Infinity]", None), (b"[-Infinity]", None), (b'["a\\ud800b\\u0000c"]', "a?bc")],
)
def test_what_is_no_number_is_nothing_and_half_characters_are_taken_out(answer: bytes, value: str | None) -> None:
    assert asked(says(answer)).rows == ((value,),)


class TestAddresses:
    @pytest.mark.parametrize(
        ("reach", "addresses"),
        [
            (
                AllowedNetwork.PUBLIC,
                "1.1.1.1 8.8.8.8 2606:4700:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808 ::ffff:0:808:808",
            ),
            (
                AllowedNetwork.PRIVATE,
                "10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 fc00::1 198.18.0.1 ::ffff:10.0.0.1",
            ),
            (
                AllowedNetwork.THIS_MACHINE,
                "127.0.0.1 127.9.9.9 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ::127.0.0.1 ::ffff:0:7f00:1",
            ),
            (
                AllowedNetwork.NOWHERE,  # the metadata services of clouds among them
                "169.254.169.254 169.254.1.1 168.63.129.16 100.100.100.200 224.0.0.1 255.255.255.255 240.0.0.1 :: "
                "0.0.0.0 fe80::1 fec0::1 feff::1 4000::1 fd00:ec2::254 fd20:ce::254 ::ffff:169.254.169.254 "
                "::ffff:0:a9fe:a9fe 64:ff9b:1::a9fe:a9fe 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: nonsense",
            ),
        ],
    )
    def test_each_address_needs_its_reach(self, reach: AllowedNetwork, addresses: str) -> None:
        assert {address: find_needed_network(address) for address in addresses.split()} == dict.fromkeys(
            addresses.split(), reach
        )

    def test_a_service_of_this_machine_is_not_asked_without_leave(self) -> None:
        with web_service(says_json([1])) as service, pytest.raises(SourceError) as found:
            read_json(JsonRequest(url=service.url), rows_at_most=1, seconds=SECONDS, now=NOW)

        assert found.value.problem is Problem.LOOPBACK_FORBIDDEN
        assert service.requests == []

    def test_a_name_is_looked_up_once_and_that_address_is_connected_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Defeat DNS rebinding: the name is public when it is checked, and this machine when it is connected to."""
        looked_up: list[str] = []

        def answers(host: str, port: int, **_known: Any) -> list[Any]:
            looked_up.append(host)
            address = "127.0.0.1" if len(looked_up) > 1 else "1.1.1.1" if port else ""
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        connected: list[Any] = []

        def connection(address: Any, **_known: Any) -> socket.socket:
            connected.append(address)
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "getaddrinfo", answers)
        monkeypatch.setattr(socket, "create_connection", connection)

        with pytest.raises(SourceError):
            read_json(JsonRequest(url="http://rebind.example.com/"), rows_at_most=1, seconds=SECONDS, now=NOW)

        assert (looked_up, connected) == (["rebind.example.com"], [("1.1.1.1", 80)])

    def test_one_inner_address_among_others_is_enough_to_refuse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in ("1.1.1.1", "10.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_known: found)

        with pytest.raises(SourceError) as refused:
            read_json(JsonRequest(url="http://both.example.com/"), rows_at_most=1, seconds=SECONDS, now=NOW)

        assert refused.value.problem is Problem.ADDRESS_FORBIDDEN


class TestWriting:
    @pytest.mark.parametrize(("expression", "position"), [("a[", 2), ("a b", 2), ("x" * 1001, 1000), ("(" * 999, -1)])
    def test_an_expression_is_refused_with_its_place(self, expression: str, position: int) -> None:
        with pytest.raises(InvalidExpressionError) as found:
            check_expression(expression)

        assert found.value.position == position

    @pytest.mark.parametrize(
        "text", ["X", ": a", "Host: a", "X: a\nContent-Length: 3", "X: 密", "X Y: 1", "X: ", "Transfer-Encoding: x"]
    )
    def test_headers_that_are_none_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidEntryError):
            parse_headers(text)

    def test_headers_are_read_line_by_line(self) -> None:
        assert parse_headers("X-Key: a:b\r\n\nAuthorization: Bearer x") == {"X-Key": "a:b", "Authorization": "Bearer x"}

    @pytest.mark.parametrize(
        "url",
        ["ftp://a/", "http://", "http://u:p@a/", "http://a/?k=1", "http://a\\b/", "http://a:0/", "//a", "http://a b"],
    )
    def test_an_address_with_anything_hidden_in_it_is_refused(self, url: str) -> None:
        assert not is_base_url(url)

    @pytest.mark.parametrize("path", ["../x", "a/%2e%2e/b", "//evil", "http://evil/", "a#b", "a\\b", "a\nb", "..;/x"])
    def test_a_path_stays_below_its_address(self, path: str) -> None:
        assert not stays_below_base(path)
        with pytest.raises(InvalidEntryError):
            append_path("https://a/v1", path)

    @pytest.mark.parametrize(
        ("path", "url"), [("", "https://a/v1/"), ("x?y=/../z", "https://a/v1/x?y=/../z"), ("?q=1", "https://a/v1/?q=1")]
    )
    def test_a_path_is_put_behind(self, path: str, url: str) -> None:
        assert append_path("https://a/v1/", path) == url


def test_nothing_of_a_request_is_in_its_representation() -> None:
    request = JsonRequest(url="https://sim-host/", headers={"X": "sim-secret"}, body="sim-body")

    assert "sim-" not in repr(request)
    assert ANSWER_BYTES_AT_MOST == 16 * 2**20
