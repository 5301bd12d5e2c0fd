"""Reads what another system sends, whatever its form: JSON, a form, or a form with files. Pure but for Django's parser.

A payload is a tree of objects, lists, texts, numbers and yes or no. NaN and infinity are nothing, a number with more
digits than a database takes is a text, and of two members with one name the last counts. A text that is JSON itself is
opened, once: some senders put it into a field of a form.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from email.message import Message
from io import BytesIO
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict

BODY_BYTES = 4 * 1024 * 1024
# Of a form with files.
MULTIPART_BYTES = 24 * 1024 * 1024
DEPTH_AT_MOST = 50
VALUES_AT_MOST = 50_000
NAME_CHARACTERS = 200
_LARGEST_INTEGER = 2**63
_PLAIN_KINDS = frozenset({"application/x-www-form-urlencoded", "text/plain"})
# Beside UTF-8, what senders of our users write.
_ENCODINGS = {"gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "utf-16": "utf-16"}

Payload = Any


class PayloadError(Exception):
    """`code`: of a problem: malformed_request, or body_too_large for too many or too deeply nested values."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def parsed(body: bytes, content_type: str) -> Payload:
    """The payload of a body. What is no JSON, whatever it is called, is a form if it says so, else one text. Raises
    PayloadError."""
    if not body.strip():
        raise PayloadError("malformed_request")
    header = Message()
    header["Content-Type"] = content_type[:NAME_CHARACTERS].replace("\r", " ").replace("\n", " ")
    kind = header.get_content_type()
    if kind == "multipart/form-data":
        return measured(_multipart(body, content_type))
    text = _decoded(body, str(header.get_param("charset") or ""))
    is_json = kind not in _PLAIN_KINDS or text.lstrip().startswith(("{", "["))
    if is_json:
        return measured(_opened_members(_tidy(measured(_json(text)))))
    if kind == "text/plain":
        return {"text": _tidy_text(text)}
    return measured(_form(text))


def measured(payload: Payload) -> Payload:
    """The payload, if it is neither too deep nor too large. Raises PayloadError."""
    level, count = [payload], 0
    for _depth in range(DEPTH_AT_MOST):
        count += len(level)
        if count > VALUES_AT_MOST:
            break
        level = [child for value in level for child in _children(value)]
        if not level:
            return payload
    raise PayloadError("body_too_large")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json(text: str) -> Payload:
    """Raises PayloadError."""
    try:
        return json.loads(
            text,
            parse_constant=lambda _name: None,
            parse_float=_finite,
            parse_int=_small,
        )
    except RecursionError:
        raise PayloadError("body_too_large") from None
    except ValueError:
        raise PayloadError("malformed_request") from None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _small(digits: str) -> int | str:
    """A number that no column and no template holds stays as its digits."""
    number = int(digits) if len(digits) < 20 else _LARGEST_INTEGER
    return number if -_LARGEST_INTEGER < number < _LARGEST_INTEGER else digits[:NAME_CHARACTERS]


def _tidy(value: Any) -> Any:
    if isinstance(value, str):
        return _tidy_text(value)
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    if isinstance(value, dict):
        return {_tidy_text(name)[:NAME_CHARACTERS]: _tidy(one) for name, one in value.items()}
    return value


def _tidy_text(text: str) -> str:
    """Without NUL and halves of surrogate pairs, which no database takes."""
    plain = text.replace("\x00", "")
    return plain if plain.isascii() else plain.encode("utf-8", "replace").decode("utf-8")


def _opened_members(payload: Payload) -> Payload:
    """Texts right below the top that are objects or lists of JSON, as those. What is a value alone gets a name."""
    if isinstance(payload, dict):
        return {name: _opened(value) if isinstance(value, str) else value for name, value in payload.items()}
    return payload if isinstance(payload, list) else {"value": payload}


def _opened(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        found = _tidy(measured(_json(text)))
    except PayloadError:
        return text
    return found if isinstance(found, dict | list) else text


# --- Forms ------------------------------------------------------------------------------------------------------------


def _decoded(body: bytes, charset: str) -> str:
    """Raises PayloadError where it is neither UTF-8 nor what its sender says."""
    for encoding in ("utf-8-sig", _ENCODINGS.get(charset.strip().lower(), "ascii")):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise PayloadError("malformed_request")


def _form(text: str) -> dict[str, Any]:
    try:
        return _fields(QueryDict(text))
    except SuspiciousOperation:  # more fields than settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        raise PayloadError("body_too_large") from None


def _fields(values: MultiValueDict[str, str]) -> dict[str, Any]:
    """Each field by its name; one that came several times as a list."""
    found: dict[str, Any] = {}
    for name, texts in values.lists():
        opened = [_opened(_tidy_text(text)) for text in texts]
        found[_tidy_text(name)[:NAME_CHARACTERS]] = opened[0] if len(opened) == 1 else opened
    return found


def _multipart(body: bytes, content_type: str) -> dict[str, Any]:
    """Fields, and files as objects with `name`, `type`, and `content` in base64."""
    meta: Mapping[str, Any] = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    try:
        fields, files = MultiPartParser(meta, BytesIO(body), [TemporaryFileUploadHandler()], "utf-8").parse()
    except (MultiPartParserError, UnicodeDecodeError, LookupError, ValueError):
        raise PayloadError("malformed_request") from None
    except SuspiciousOperation:
        raise PayloadError("body_too_large") from None
    found = _fields(fields)
    for name, uploads in files.lists():
        listed = found.setdefault(_tidy_text(name)[:NAME_CHARACTERS], [])
        if isinstance(listed, list):
            listed.extend(_file(upload) for upload in uploads)
    return found


def _file(upload: Any) -> dict[str, str]:
    with upload:
        content = base64.b64encode(upload.read()).decode()
    return {"name": _tidy_text(upload.name or ""), "type": _tidy_text(upload.content_type or ""), "content": content}
