"""The type of a file by its content, and which parts of an untrusted text are obeyed."""

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.inbound import content
from notifications.inbound.content import FILE_BYTES, PICTURE_BYTES, InboundError, check_file, tidy_name
from notifications.models import Medium, MessageForm
from tests.notifications.inbound.factories import png

PICTURE, FILE = Medium.Kind.PICTURE, Medium.Kind.FILE


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name in names:
            packed.writestr(name, "x")
    return content.getvalue()


def jpeg(width: int, height: int, *before: bytes) -> bytes:
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + b"\0" * 9
    return b"\xff\xd8" + b"".join(before) + frame + b"\xff\xd9"


def webp(chunk: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


LOSSY = b"VP8 " + b"\0" * 10 + struct.pack("<HH", 30, 20) + b"\0" * 4
LOSSLESS = b"VP8L" + b"\0" * 4 + b"\x2f" + struct.pack("<I", 29 | 19 << 14) + b"\0" * 8
EXTENDED = b"VP8X" + b"\0" * 8 + b"\x1d\0\0" + b"\x13\0\0"
SIZED = (30, 20)


@pytest.mark.parametrize(
    ("name", "content", "expected", "size"),
    [
        ("a.png", png(*SIZED), ("a.png", PICTURE, "image/png"), SIZED),
        ("a.JPEG", jpeg(*SIZED), ("a.JPEG", PICTURE, "image/jpeg"), SIZED),
        ("photo", jpeg(*SIZED, b"\xff\xe0\x00\x04JF", b"\xff"), ("photo.jpg", PICTURE, "image/jpeg"), SIZED),
        ("a.png", jpeg(*SIZED), ("a.png.jpg", PICTURE, "image/jpeg"), SIZED),
        # Too large to be shown.
        ("a.png", png(*SIZED) + b"\0" * PICTURE_BYTES, ("a.png", FILE, "image/png"), SIZED),
        ("a.gif", b"GIF89a" + struct.pack("<HH", *SIZED), ("a.gif", FILE, "image/gif"), SIZED),
        ("a.webp", webp(LOSSY), ("a.webp", FILE, "image/webp"), SIZED),
        ("a.webp", webp(LOSSLESS), ("a.webp", FILE, "image/webp"), SIZED),
        ("a.webp", webp(EXTENDED), ("a.webp", FILE, "image/webp"), SIZED),
        ("a.pdf", b"%PDF-1.7", ("a.pdf", FILE, "application/pdf"), (0, 0)),
        ("a", archive("xl/workbook.xml"), ("a.xlsx", FILE, None), (0, 0)),
        ("a.docx", archive("word/document.xml"), ("a.docx", FILE, None), (0, 0)),
        ("a.zip", archive("x.txt"), ("a.zip", FILE, "application/zip"), (0, 0)),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", ("a.xls", FILE, "application/vnd.ms-excel"), (0, 0)),
        ("表.csv", "一,二,三".encode("gb18030"), ("表.csv", FILE, "text/csv"), (0, 0)),
        ("a.json", b'{"a": 1}', ("a.json", FILE, "application/json"), (0, 0)),
    ],
)
def test_a_file_is_what_its_content_is(
    name: str, content: bytes, expected: tuple[str, Medium.Kind, str | None], size: tuple[int, int]
) -> None:
    found = check_file(name, content)

    assert (found.name, found.kind, (found.width, found.height), found.content) == (*expected[:2], size, content)
    assert expected[2] is None or found.content_type == expected[2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdf", b"%PDF-1.7" + b"0" * FILE_BYTES),
        ("a.pdf", b"%PDF"),
        ("a.exe", b"MZ\x90\0 a program"),
        ("a.html", b"<html></html>"),
        ("page.csv", b"\xef\xbb\xbf <!-- a --> <!DOCTYPE html><script>x()</script>"),
        ("page.txt", b"\n<svg onload=x()>"),
        ("a.xlsm", archive("xl/workbook.xml", "xl/vbaProject.bin")),
        ("a.zip", b"PK\x03\x04 cut off"),
        ("a.msi", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest"),
        ("a.txt", b"text with\0 a NUL"),
        ("a.txt", b"\x81\x20\xff\xff\xff\xff"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40),
        ("a.jpg", b"\xff\xd8\xff" + b"\xe0\0\0" * 100_000),
        ("a.jpg", b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\0\x03\0\0\0"),
        ("a.gif", b"GIF89a"),
        ("a.webp", webp(b"VP8?" + b"\0" * 20)),
        ("bomb.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 100_000, 100_000)),
        ("bomb.gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535)),
    ],
)
def test_what_may_not_be_sent_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(InboundError):
        check_file(name, content)


@given(st.binary(max_size=60))
def test_whatever_the_bytes_are_they_are_sent_or_refused(content: bytes) -> None:
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF0000WEBP", b"PK\x03\x04"):
        try:
            found = check_file("a.txt", head + content)
        except InboundError:
            continue
        assert found.content == head + content


@pytest.mark.parametrize(
    ("name", "tidy"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\报表.xlsx", "报表.xlsx"),
        ("a\u202egpj.exe", "a gpj.exe"),
        ('a"b\r\n.pdf', "a b .pdf"),
        ("...", "file"),
        ("长" * 200 + ".pdf", "长" * 110 + ".pdf"),
    ],
)
def test_a_name_has_no_folders_and_nothing_that_hides(name: str, tidy: str) -> None:
    assert tidy_name(name) == tidy


HOSTILE = (
    '<@all> <a href="x">y</a> [a](javascript:x) [b](https://b.test/?a=1) **c** `d` ![e](http://e.test) <http://f.test>'
)


@pytest.mark.parametrize(
    ("form", "markup", "shown"),
    [
        (
            MessageForm.MARKDOWN,
            "markdown",
            '＜@all＞ ＜a href="x"＞y＜/a＞ ［a］(javascript:x) [b](https://b.test/?a=1) **c** `d` [e](http://e.test) '
            "http://f.test",
        ),
        (
            MessageForm.TEXT,
            "markdown",
            '＜@all> ＜a href="x">y＜/a> [a](javascript:x) b (https://b.test/?a=1) c d e (http://e.test) http://f.test',
        ),
        (
            MessageForm.TEXT,
            "plain",
            '＜@all> ＜a href="x">y＜/a> [a](javascript:x) [b](https://b.test/?a=1) **c** `d` ![e](http://e.test) '
            "＜http://f.test>",
        ),
    ],
)
def test_nothing_of_a_strangers_text_is_obeyed_but_what_is_let_through(form: str, markup: str, shown: str) -> None:
    assert content.format_text(form, HOSTILE, markup) == shown


def test_headings_quotes_and_lists_stay_where_they_stand() -> None:
    lines = "# 标题\n> 引用 <b>\n* 一\n+ 二\n1. 三\n不是 # 标题"

    assert content.format_text(MessageForm.MARKDOWN, lines, "markdown") == (
        "# 标题\n> 引用 ＜b＞\n- 一\n- 二\n1. 三\n不是 # 标题"
    )
    assert content.format_text(MessageForm.TEXT, lines, "markdown") == "标题\n引用 ＜b>\n- 一\n- 二\n1. 三\n不是 # 标题"


def test_a_long_line_is_cut_before_anything_looks_at_it() -> None:
    found = content.clean_text("[a](http://" * 200_000)

    assert (len(found), found[-1]) == (50_000, "…")
    assert len(content.format_text(MessageForm.MARKDOWN, found, "markdown")) == 50_000


@given(st.text(max_size=200))
def test_titles_and_texts_may_be_anything(words: str) -> None:
    for tidy in (content.clean_title(words), content.clean_text(words)):
        assert "\0" not in tidy
        tidy.encode()
        for form in MessageForm:
            for markup in ("plain", "markdown"):
                assert "<@" not in content.format_text(form, tidy, markup)


@pytest.mark.parametrize(
    ("link", "is_safe"),
    [
        ("https://a.test/x?y=1", True),
        ("http://a.test", True),
        ("javascript:alert(1)", False),
        ("//a.test/", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://a.test/" + "x" * 1024, False),
        ("https://a.test/x y", False),
        ("https://a.test/\n", False),
    ],
)
def test_a_link_is_an_address_with_http(link: str, is_safe: bool) -> None:
    assert content.clean_link(link) == (link if is_safe else "")
