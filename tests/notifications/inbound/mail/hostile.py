"""Hostile mails, made by kinds from one seed; each kind is a known attack on mail systems."""

import base64
import random
from collections.abc import Callable, Iterator
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

from tests.nightly import IS_NIGHTLY

EACH = 4 if IS_NIGHTLY else 1
# HTML that would run, load or submit something.
TRICKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror=alert(1)>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example><form action=/><input type=submit></form>",
    "<link rel=stylesheet href=https://evil.example/x>",
    "<iframe src=https://evil.example></iframe><object data=https://evil.example></object>",
    "<div style='background:url(https://evil.example/x);position:fixed'>x</div>",
    "<div style='background:image-set(\"https://evil.example/x\" 1x)'>x</div>",
    "<div style='background:IMAGE-SET(\"https://evil.example/x\" 1x);color:rgb(0,0,0)'>x</div>",
    "<div style='background:-webkit-image-set(\"https://evil.example/x\" 1x)'>x</div>",
    "<img src=https://evil.example/track.png><img src='//evil.example/x'><video src=https://evil.example/x autoplay>",
)
Maker = Callable[[random.Random], bytes]


def hostile_mails(seed: int = 18) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, mail), EACH times for every kind."""
    for name, make in KINDS.items():
        for number in range(EACH):
            yield name, make(random.Random(f"{seed} {name} {number}"))  # noqa: S311  # no secret


def _mail(*lines: str, body: bytes = b"x\r\n") -> bytes:
    head = "".join(f"{line}\r\n" for line in ("From: bi@example.com", "Subject: hostile", *lines))
    return head.encode("utf-8", "surrogateescape") + b"\r\n" + body


def _html(html: str, charset: str = "utf-8") -> bytes:
    return _mail(f"Content-Type: text/html; charset={charset}", body=html.encode("utf-8", "replace"))


def _multipart(boundary: str, *parts: bytes, kind: str = "mixed") -> bytes:
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"'
    return _mail("MIME-Version: 1.0", head, body=body + b"--" + boundary.encode() + b"--\r\n")


def _file(name: str, content: bytes, kind: str = "application/octet-stream") -> bytes:
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n"
    head += f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + base64.encodebytes(content)


def _some(of: random.Random, most: int = 5000) -> int:
    return of.randrange(1, most)


def nested_multiparts(of: random.Random) -> bytes:
    depth = of.choice([5, 90, 500, 3000])
    opens = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(depth))
    return _mail(opens[:-4] if of.random() < 0.5 else opens)


def nested_mails(of: random.Random) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * of.choice([3, 400, 5000])


def nested_tags(of: random.Random) -> bytes:
    tag = of.choice(["div", "b", "a href=https://x.y", "table><tr><td", "blockquote", "font", "svg", "select", "li"])
    return _html(f"<{tag}>" * of.choice([150, 5000, 90_000]) + "x")


def unclosed_markup(of: random.Random) -> bytes:
    return _html(of.choice(["<", "<!--", "<style>", "&", "<a href='", "</", "<![CDATA[", "<p "]) * 100_000)


def attributes(of: random.Random) -> bytes:
    return _html("<p " + " ".join(f"a{n}={n}" for n in range(of.choice([10, 30_000]))) + ">x")


def ten_thousand_parts(of: random.Random) -> bytes:
    part = of.choice([b"\r\nx", b"Content-Type: text/html\r\n\r\n<p>x", _file("a.csv", b"1,2\r\n")])
    return _multipart("b", *[part] * 10_000)


def wrong_charsets(of: random.Random) -> bytes:
    charset = of.choice(["idna", "punycode", "rot13", "undefined", "utf-7", "hex", "unicode_escape", "utf-16", "\x00"])
    text = of.choice(["日报" * 2000, "a" * 100_000, "\\ud800" * 500])
    return _mail(f'Content-Type: text/plain; charset="{charset}"', body=text.encode())


def wrong_bytes(of: random.Random) -> bytes:
    return _mail("Content-Type: text/html; charset=utf-8", body=of.randbytes(_some(of)))


def header_injection(of: random.Random) -> bytes:
    inner = of.choice(["a\r\nBcc: all@example.com", "a\r\n\r\n<script>", "a\x00b", "a\x0bb", "\u202e\u2066a"])
    encoded = base64.b64encode(inner.encode()).decode()
    name = of.choice(["Subject", "From", "Message-ID", "Content-Disposition", "Auto-Submitted"])
    return _mail(f"{name}: =?utf-8?B?{encoded}?=", f"X-Y: {inner}")


def long_headers(of: random.Random) -> bytes:
    value = of.choice(['";' * 300_000, "a" * 700_000, "=?utf-8?Q?=61?= " * 40_000, "<" * 300_000, "(" * 300_000])
    name = of.choice(["Subject", "From", "Content-Type", "Content-Disposition", "Message-ID", "Content-ID"])
    return _mail(f"{name}: {value}")


def many_headers(of: random.Random) -> bytes:
    name = of.choice(["Subject", "Received", "To", "Content-Type"])
    return _mail(*[f"{name}: {n}" for n in range(of.choice([100, 50_000]))])


def folded_headers(of: random.Random) -> bytes:
    return _mail("Subject: x" + "\r\n y" * of.choice([10, 50_000]))


def broken_base64(of: random.Random) -> bytes:
    content = of.choice([b"====", b"A", b"A=B=C", b"\xff\xfe", b"QUJD" * 1000 + b"!"])
    return _mail("Content-Type: text/plain", "Content-Transfer-Encoding: base64", body=content * _some(of, 900))


def broken_encodings(of: random.Random) -> bytes:
    encoding = of.choice(["quoted-printable", "x-uuencode", "uuencode", "8bit", "none", "base64; x", "=?utf-8?Q?b?="])
    content = of.choice([b"=", b"=ZZ", b"begin 644 a\r\nM\xff\r\nend\r\n", b"begin 644 a\r\n", b"=\r\n" * 999])
    return _mail("Content-Type: text/html", f"Content-Transfer-Encoding: {encoding}", body=content * _some(of, 300))


def nul_bytes(of: random.Random) -> bytes:
    return _mail("Subject: a\x00b", "X\x00Y: z", body=b"\x00" * _some(of) + b"x")


def reading_direction(of: random.Random) -> bytes:
    name = of.choice(["\u202ecod.exe", "a\u2066b.xlsx", "\u200f.csv"])
    return _multipart("b", _file(name, b"1,2,3\r\n"), f"\r\n\u202e{name}".encode())


def bad_boundaries(of: random.Random) -> bytes:
    boundary = of.choice(["", " ", "\x00", "b" * 5000, ".*", "(a+)+$", "\\", "=?utf-8?Q?b?=", "b\r\n b"])
    body = f"--{boundary}\r\n\r\nx\r\n--{boundary}\r\n\r\ny\r\n".encode()
    return _mail(f'Content-Type: multipart/mixed; boundary="{boundary}"', body=body)


def content_id_loops(of: random.Random) -> bytes:
    html = b'Content-Type: text/html\r\nContent-ID: <a>\r\n\r\n<img src="cid:a"><img src="cid:b"><iframe src="cid:a">'
    other = b'Content-Type: text/html\r\nContent-ID: <b>\r\n\r\n<img src="cid:a"><object data="cid:b">'
    return _multipart("b", *[html, other] * _some(of, 50), kind="related")


def archive_bombs(of: random.Random) -> bytes:
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", bytes(50_000_000))
    return _multipart("b", _file(of.choice(["a.zip", "a.xlsx"]), content.getvalue()))


def scripts(of: random.Random) -> bytes:
    return _html(f"<p>before</p>{of.choice(TRICKS)}<p>after</p>")


def markup_of_wecom(of: random.Random) -> bytes:
    text = of.choice(["<@all>", "<@zhangsan>", "[x](https://evil.example)", "**x**", '<font color="warning">x</font>'])
    kind = of.choice(["text/plain", "text/html"])
    body = text if kind == "text/plain" else text.replace("<", "&lt;")
    return _mail(f"Subject: {text}", f"Content-Type: {kind}; charset=utf-8", body=(body * _some(of, 99)).encode())


def spoofed_senders(of: random.Random) -> bytes:
    sender = of.choice(['"ceo@example.com" <x@evil.example>', "<>", "a@b@c", ",".join(["a@b.c"] * 3000), "ceo\x00@x.y"])
    return f"From: {sender}\r\nReply-To: {sender}\r\nSender: {sender}\r\n\r\nx\r\n".encode()


KINDS: dict[str, Maker] = {
    make.__name__: make
    for make in (
        *(nested_multiparts, nested_mails, nested_tags, unclosed_markup, attributes, ten_thousand_parts),
        *(wrong_charsets, wrong_bytes, header_injection, long_headers, many_headers, folded_headers),
        *(broken_base64, broken_encodings, nul_bytes, reading_direction, bad_boundaries),
        *(content_id_loops, archive_bombs, scripts, markup_of_wecom, spoofed_senders),
    )
}
