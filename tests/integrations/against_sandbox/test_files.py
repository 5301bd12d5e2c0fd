"""Files that are uploaded: names in Chinese, bytes of every kind."""

from __future__ import annotations

import pytest

from integrations.clients.wecom import builders
from tests.integrations.against_sandbox.message_cases import sent
from tests.integrations.against_sandbox.place import Place

NAMES = ["日报.csv", "营收（三季度）·终稿 v2.xlsx", "a b;c=d,'e'.txt", "100%25.txt", "😀.png", "x" * 200 + "表.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_the_recipient_sees(place: Place, name: str) -> None:
    media_id = place.app.media_upload(b"1,2,3\n", kind="file", file_name=name, media_type="text/csv")

    sent(place, builders.file_content(media_id))
    assert place.phone()[0]["file"]["filename"] == name


@pytest.mark.parametrize("body", [b"\r\n--x\r\n", b"\x00" * 6, b'{"errcode":40007}', b"123456\r\n"])
def test_bytes_that_look_like_something_else(place: Place, body: bytes) -> None:
    media_id = place.app.media_upload(body, kind="file", file_name="数据.json", media_type="application/json")
    assert place.fetch(media_id) == (body, "application/json")
