"""Whatever is posted to an inbound channel, the answer is one of ours: taken, or refused with problem details."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.inbound.mapping import Mapping
from notifications.models import InboundChannel
from tests.nightly import IS_NIGHTLY
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.inbound.channels import call, make_channel

pytestmark = pytest.mark.django_db
EXAMPLES = 10_000 if IS_NIGHTLY else 60
ANSWERS = {202, 400, 413, 422}

# Everything that a mapping can have, on fields that a payload may or may not have.
GREEDY = Mapping(
    title="{{ payload.a }} {{ payload['b c'][0].d|default('') }}",
    text="{% for one in payload.a %}{{ one }}{{ one.x|thousands }}{% endfor %}{{ payload.n + 1 }}",
    recipient_kind="userid",
    recipient_path="to || a",
    only_path="a || b",
    key_path="id",
    link_path="a",
    severity_path="n",
    urgent_values=("critical",),
    figures=(("数", "n"), ("和", "sum(a)")),
    file_paths=("a[]", "files"),
)
NAMES = st.sampled_from(["a", "b c", "d", "n", "to", "id", "x", "files", "name", "content"]) | st.text(max_size=5)
ODD = st.sampled_from(
    [
        *("<@all>", "<a href='x'>", "{{ 7*7 }}", "{% for %}", "\x00", "\ud800", "\u202e", "http://[", "data:,", "NaN"),
        *("https://example.com/x.png", "data:image/png;base64,AAAA", "[1,", '{"a": {"b": 1}}', "|@all", "=cmd()"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**17, max_value=10**60)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=30)
    | ODD
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
BODIES = (
    st.tuples(TREES.map(lambda tree: json.dumps(tree).encode()), st.just("application/json"))
    | st.tuples(st.binary(max_size=300), st.sampled_from(["application/json", "text/plain; charset=gbk", "", "a/b"]))
    | st.tuples(
        st.lists(st.tuples(NAMES, st.text(max_size=20) | ODD), max_size=6).map(
            lambda pairs: urlencode(pairs, errors="replace").encode()
        ),
        st.just("application/x-www-form-urlencoded"),
    )
    | st.tuples(
        st.binary(max_size=200).map(lambda part: b"--X\r\nContent-Disposition: form-data; " + part + b"\r\n--X--\r\n"),
        st.sampled_from(
            ["multipart/form-data; boundary=X", "multipart/form-data", "multipart/form-data; boundary=\x01"]
        ),
    )
)


@pytest.fixture
def channels(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[InboundChannel]:
    settings.API_CALLS_PER_TOKEN = 1_000_000
    monkeypatch.setattr("notifications.api.tokens.CALLS_PER_ADDRESS", 1_000_000)
    corp = make_corp()
    owner, person = make_manager(corp), make_person(corp, "a")
    greedy = make_channel(owner, person, mapping=GREEDY, daily_limit=1_000_000)
    waiting = make_channel(owner, person, is_enabled=False)
    return [greedy, waiting]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sent=BODIES, number=st.integers(min_value=0, max_value=1))
def test_no_body_brings_anything_but_our_answers(
    channels: list[InboundChannel], sent: tuple[bytes, str], number: int
) -> None:
    body, content_type = sent

    answer = call(channels[number], body, content_type)

    assert answer.status_code in ANSWERS, answer.content
    if answer.status_code == 202:
        assert answer.json()["status"] in {"accepted", "repeated", "left_out", "noted"}
    else:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
