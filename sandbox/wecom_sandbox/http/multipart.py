"""multipart/form-data as strictly as WeCom reads it: a plain file name in raw UTF-8, no RFC 2231."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wecom_sandbox.errors import ApiError

_BOUNDARY = re.compile(r"""boundary=(?:"([^"]+)"|([^;\s]+))""", re.IGNORECASE)
_NAME = re.compile(rb"""[;\s]name=(?:"([^"]*)"|([^;\s]+))""", re.IGNORECASE)
_FILENAME = re.compile(rb"""[;\s]filename=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    filename: str
    content_type: str
    body: bytes


def read_media(content_type: str, body: bytes) -> Upload:
    """The part named `media`. Raises ApiError 44001 where WeCom finds no data."""
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or match is None:
        raise ApiError(44001)
    boundary = b"--" + (match.group(1) or match.group(2)).encode(errors="surrogateescape")
    for piece in (b"\r\n" + body).split(b"\r\n" + boundary)[1:]:
        head, found, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not found or piece.startswith(b"--"):
            continue
        headers = _headers(head)
        disposition = headers.get(b"content-disposition", b"")
        if _first(_NAME, disposition) == b"media":
            return _upload(headers, disposition, content)
    raise ApiError(44001)


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _first(pattern: re.Pattern[bytes], text: bytes) -> bytes | None:
    match = pattern.search(text)
    return None if match is None else match.group(1) or match.group(2) or b""


def _upload(headers: dict[bytes, bytes], disposition: bytes, content: bytes) -> Upload:
    filename = _first(_FILENAME, disposition)
    if not filename or not content:
        raise ApiError(44001)
    try:
        name = filename.decode()
    except UnicodeDecodeError as error:
        raise ApiError(40033) from error
    kind = headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
    return Upload(name.replace('\\"', '"'), kind, content)
