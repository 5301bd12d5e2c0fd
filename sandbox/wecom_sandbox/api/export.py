"""The directory as encrypted files. Pages 94849 to 94854.

Whose files they are: an app's hold what it sees, the sync assistant's the whole company. Their form is WeCom's lists
(user/simplelist, user/list, department/list, tag/get); the pages show no file [m].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wecom_sandbox.api import jobs
from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, endpoint
from wecom_sandbox.api.contacts import department_row, member_row, seen_departments, sees, simple_member_row
from wecom_sandbox.api.media import keep
from wecom_sandbox.api.tag import known_tag
from wecom_sandbox.callbacks import crypto
from wecom_sandbox.http.envelope import dump
from wecom_sandbox.messages import fields
from wecom_sandbox.messages.inbox import new_id
from wecom_sandbox.state.directory import Member
from wecom_sandbox.state.files import Media

_BLOCK_LEAST, _BLOCK_MOST = 10_000, 1_000_000
_PADDING = 32
_FILE_SECONDS = 2 * 3600


@endpoint("POST", "export/simple_user", APP, CONTACTS)
def export_simple_user(call: Call) -> Json:
    return _export(call, "export_simple_user", "userlist", [simple_member_row(call, one) for one in _members(call)])


@endpoint("POST", "export/user", APP, CONTACTS)
def export_user(call: Call) -> Json:
    return _export(call, "export_user", "userlist", [member_row(call, one) for one in _members(call)])


@endpoint("POST", "export/department", APP, CONTACTS)
def export_department(call: Call) -> Json:
    rows = [department_row(one) for one in seen_departments(call)]
    return _export(call, "export_department", "department", rows)


@endpoint("POST", "export/taguser", APP, CONTACTS)
def export_taguser(call: Call) -> Json:
    """One list of the tag's people and departments, cut into blocks together."""
    tag = known_tag(call, call.document.get("tagid"))
    found = (call.company.directory.find(userid) for userid in tag.userids)
    rows: list[Json] = [
        {"userid": one.userid, "name": one.name} for one in found if one is not None and sees(call, one)
    ]
    seen = {one.id for one in seen_departments(call)}
    rows += [{"partyid": number} for number in tag.partyids if number in seen]
    return _export(call, "export_taguser", "taguser", rows)


@endpoint("GET", "export/get_result", APP, CONTACTS)
def export_get_result(call: Call) -> Json:
    """`status` 1: under way, 2: done; the addresses of the files are good for two hours."""
    job, is_done = jobs.ask(call, is_export=True)
    return {"status": 2, "data_list": job.result} if is_done else {"status": 1}


def _export(call: Call, kind: str, name: str, rows: list[Json]) -> Json:
    try:
        key = crypto.aes_key(call.text("encoding_aeskey", missing=40063))
    except ValueError as error:
        raise fields.invalid("encoding_aeskey") from error
    size = call.number("block_size", _BLOCK_MOST)
    if not _BLOCK_LEAST <= size <= _BLOCK_MOST:
        raise fields.invalid("block_size")
    files = [_file(call, _encrypt(dump({name: block}), key)) for block in _blocks(rows, size)]
    callback = call.company.contacts_callback if call.app is None else call.app.callback
    jobid = jobs.start(call, kind, total=len(files), rows=files, callback=callback if callback.url else None)
    return {"jobid": jobid}


def _blocks(rows: list[Json], size: int) -> Iterator[list[Json]]:
    for start in range(0, max(1, len(rows)), size):
        yield rows[start : start + size]


def _encrypt(plain: bytes, key: bytes) -> bytes:
    """AES-256-CBC over the whole file, padded to 32 bytes; no random start and no length, other than in callbacks."""
    padding = _PADDING - len(plain) % _PADDING
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()


def _file(call: Call, body: bytes) -> Json:
    media = Media(
        new_id("sim-export"),
        call.company.corpid,
        "export",
        "export.dat",
        "application/octet-stream",
        body,
        call.now + _FILE_SECONDS,
    )
    return {"url": keep(call, media), "size": len(body), "md5": hashlib.md5(body, usedforsecurity=False).hexdigest()}


def _members(call: Call) -> list[Member]:
    return [member for member in call.company.directory.members.values() if sees(call, member)]
