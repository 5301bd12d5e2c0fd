"""Files there and back: names in Chinese, sizes at the limit, three days, one company."""

from __future__ import annotations

from typing import Literal

import pytest

from integrations.clients.errors import BadRequestError
from integrations.clients.wecom.api.media import MediaFile
from integrations.clients.wecom.messages import builders
from tests.integrations.against_sandbox.message_cases import sent
from tests.integrations.against_sandbox.place import AMR, MP4, PNG, Place
from tests.integrations.against_sandbox.test_refusals import refused

NAMES = ["日报.csv", "营收（三季度）·终稿 v2.xlsx", "a b;c=d,'e'.txt", "100%25.txt", "😀.png", "x" * 200 + "表.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_and_is_what_the_recipient_sees(place: Place, name: str) -> None:
    media = place.app.media_upload(b"1,2,3\n", kind="file", file_name=name, media_type="text/csv")

    assert place.app.media_get(media.media_id) == MediaFile(b"1,2,3\n", "text/csv", name)
    sent(place, builders.file_content(media.media_id))
    assert place.phone()[0]["file"]["filename"] == name


@pytest.mark.parametrize(
    ("kind", "body", "media_type"),
    [
        ("image", PNG, "image/png"),
        ("image", b"\xff\xd8\xff" + PNG, "image/jpeg"),
        ("voice", AMR, "audio/amr"),
        ("video", MP4, "video/mp4"),
    ],
)
def test_each_kind_keeps_its_bytes(
    place: Place, kind: Literal["image", "voice", "video"], body: bytes, media_type: str
) -> None:
    media = place.app.media_upload(body, kind=kind, file_name="影音", media_type=media_type)
    assert place.app.media_get(media.media_id) == MediaFile(body, media_type, "影音")


@pytest.mark.parametrize("body", [b"\r\n--x\r\n", b"\x00" * 6, b'{"errcode":40007}', b"123456\r\n"])
def test_bytes_that_look_like_something_else(place: Place, body: bytes) -> None:
    media = place.app.media_upload(body, kind="file", file_name="数据.json", media_type="application/json")
    assert place.app.media_get(media.media_id) == MediaFile(body, "application/json", "数据.json")


def test_the_largest_file(place: Place) -> None:
    body = bytes(range(256)) * (20 * 4096)
    media = place.app.media_upload(body, kind="file", file_name="大.bin")
    assert place.app.media_get(media.media_id).content == body


def test_a_file_lives_three_days_and_serves_every_app_of_the_company(place: Place) -> None:
    media_id = place.app.media_upload(b"1,2,3\n", kind="file", file_name="日报.csv").media_id
    assert place.contacts.media_get(media_id).name == "日报.csv"
    place.sandbox.advance(3 * 24 * 3600 - 60)
    assert place.client().media_get(media_id).name == "日报.csv"
    place.sandbox.advance(120)
    refused(BadRequestError, 40007, lambda: place.app.media_get(media_id))
    refused(BadRequestError, 40007, lambda: sent(place, builders.file_content(media_id)))
