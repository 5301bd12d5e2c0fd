"""What we place ourselves is cut as Vega would cut it, which measures letters, and has room for all that is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.charts import drawing
from notifications.charts.drawing import FONT_SIZE
from notifications.charts.vega import SCHEMA
from tests.notifications.charts.conftest import Draw
from tests.notifications.charts.tables import texts

ROOM = 80
WORDS = (
    *("上海市浦东新区张江高科技园区", "上海市浦东新", "上海市浦东新区", "旗舰店 No. 12 Shanghai", "i" * 40, "W" * 9),
    *("1234567890123456789", "-12,345.67 (8.9%)", '!"#$%&()*+/:;<=>', "?@[]^_`{|}~", "ABCDEFGHIJKLM", "NOPQRSTUVXYZ"),
    *("abcdefghijklmno", "pqrstuvwxyz'\\", ""),
)


@pytest.mark.parametrize("words", WORDS)
def test_texts_are_cut_where_the_renderer_would_cut_them(draw: Draw, words: str) -> None:
    mark = {"type": "text", "limit": ROOM, "font": drawing.FONT, "fontSize": FONT_SIZE}
    data = {"values": [{"t": words}]}
    measured = {"$schema": SCHEMA, "data": data, "mark": mark, "encoding": {"text": {"field": "t"}}}

    assert [drawing.cut(words, ROOM, FONT_SIZE)] == texts(draw(measured).svg)


@given(st.text(st.sampled_from("上海aW1 …😀é"), max_size=60), st.booleans())
def test_what_is_seen_has_room(words: str, is_bold: bool) -> None:
    seen = drawing.cut(words, ROOM, FONT_SIZE, is_bold=is_bold)

    assert drawing.width(seen, FONT_SIZE, is_bold=is_bold) < ROOM
    assert seen == words or (seen.endswith("…") and words.startswith(seen[:-1]))


def test_words_are_no_tags() -> None:
    found = drawing.whole(40, [drawing.text('<b x="1">&amp;</b>', 0, 20, room=500)])

    assert texts(found) == ['<b x="1">&amp;</b>']
