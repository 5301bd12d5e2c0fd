"""Files that are uploaded: names in Chinese, sizes at the limit, three days."""

from __future__ import annotations

import pytest

from integrations.clients.errors import BadRequestError
from integrations.clients.wecom import builders
from tests.integrations.against_sandbox.message_cases import sent
from tests.integrations.against_sandbox.place import PNG, Place
from tests.integrations.against_sandbox.test_refusals import refused

NAMES = ["日报.csv", "营收（三季度）·终稿 v2.xlsx", "a b;c=d,'e'.txt", "100%25.txt", "😀.png", "x" * 200 + "表.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_the_recipient_sees(place: Place, name: str) -> None:
    media_id = place.app.media_upload(b"1,2,3\n", kind="file", file_name=name, media_type="text/csv")

    sent(place, builders.file_content(media_id))
    assert place.phone()[0]["file"]["filename"] == name


@pytest.mark.parametrize(("body", "media_type"), [(PNG, "image/png"), (b"\xff\xd8\xff" + PNG, "image/jpeg")])
def test_a_picture_keeps_its_bytes(place: Place, body: bytes, media_type: str) -> None:
    media_id = place.app.media_upload(body, kind="image", file_name="图", media_type=media_type)
    assert place.fetch(media_id) == (body, media_type)


@pytest.mark.parametrize("body", [b"\r\n--x\r\n", b"\x00" * 6, b'{"errcode":40007}', b"123456\r\n"])
def test_bytes_that_look_like_something_else(place: Place, body: bytes) -> None:
    media_id = place.app.media_upload(body, kind="file", file_name="数据.json", media_type="application/json")
    assert place.fetch(media_id) == (body, "application/json")


def test_the_largest_file(place: Place) -> None:
    body = bytes(range(256)) * (20 * 4096)
    media_id = place.app.media_upload(body, kind="file", file_name="大.bin")
    assert place.fetch(media_id)[0] == body


def test_a_file_lives_three_days(place: Place) -> None:
    media_id = place.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv")
    place.settings(token_seconds=4 * 24 * 3600)
    place.sandbox.advance(3 * 24 * 3600 - 60)
    sent(place, builders.file_content(media_id))
    place.sandbox.advance(120)
    refused(BadRequestError, 40007, lambda: sent(place, builders.file_content(media_id)))
