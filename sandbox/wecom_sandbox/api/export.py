"""The directory as encrypted files. Pages 94849 to 94854.

Whose files they are: an app's hold what it sees, the sync assistant's the whole company. Their form is WeCom's lists
(user/simplelist, user/list, department/list, tag/get); the pages show no file [m].
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

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
    return _export(call, "export_simple_user", "userlist", _members(call, simple_member_row))


@endpoint("POST", "export/user", APP, CONTACTS)
def export_user(call: Call) -> Json:
    return _export(call, "export_user", "userlist", _members(call, member_row))


@endpoint("POST", "export/department", APP, CONTACTS)
def export_department(call: Call) -> Json:
    return _export(call, "export_department", "department", map(department_row, seen_departments(call)))


@endpoint("POST", "export/taguser", APP, CONTACTS)
def export_taguser(call: Call) -> Json:
    """One list of the tag's people and departments, cut into blocks together."""
    tag = known_tag(call, call.document.get("tagid"))
    return _export(call, "export_taguser", "taguser", _tagged(call, list(tag.userids), list(tag.partyids)))


@endpoint("GET", "export/get_result", APP, CONTACTS)
def export_get_result(call: Call) -> Json:
    """`status` 1: under way, 2: done; the addresses of the files are good for two hours."""
    job, is_done = jobs.ask(call, is_export=True)
    return {"status": 2, "data_list": job.result} if is_done else {"status": 1}


def _export(call: Call, kind: str, name: str, rows: Iterable[Json | None]) -> Json:
    """`rows` are made when their turn comes; None: nothing to export."""
    try:
        key = crypto.aes_key(call.text("encoding_aeskey", missing=40063))
    except ValueError as error:
        raise fields.invalid("encoding_aeskey") from error
    size = call.number("block_size", _BLOCK_MOST)
    if not _BLOCK_LEAST <= size <= _BLOCK_MOST:
        raise fields.invalid("block_size")
    callback = call.company.contacts_callback if call.app is None else call.app.callback
    files = _files(call, name, rows, key=key, size=size)
    return {"jobid": jobs.start(call, kind, total=0, rows=files, callback=callback if callback.url else None)}


def _files(call: Call, name: str, rows: Iterable[Json | None], *, key: bytes, size: int) -> Iterator[Json | None]:
    """A file for each `size` rows, at least one; None after each row, as the other steps of the job have no result."""
    block = _Block(name, key)
    for row in rows:
        if row is not None:
            if block.rows == size:
                yield _file(call, *block.ended())
                block = _Block(name, key)
            block.add(row)
        yield None
    yield _file(call, *block.ended())


class _Block:
    """The JSON of a list, encrypted as its rows come.

    AES-256-CBC over the whole file, padded to 32 bytes; no random start and no length, other than in callbacks.
    """

    def __init__(self, name: str, key: bytes) -> None:
        self.rows = 0
        self._encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        self._parts: list[bytes] = []
        self._plain_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._write(b'{"' + name.encode() + b'":[')

    def add(self, row: Json) -> None:
        self._write((b"," if self.rows else b"") + dump(row))
        self.rows += 1

    def ended(self) -> tuple[bytes, str]:
        """The whole file and its MD5."""
        self._write(b"]}")
        padding = _PADDING - self._plain_bytes % _PADDING
        self._write(bytes([padding]) * padding)
        return b"".join(self._parts), self._md5.hexdigest()

    def _write(self, plain: bytes) -> None:
        self._plain_bytes += len(plain)
        part = self._encryptor.update(plain)
        self._md5.update(part)
        self._parts.append(part)


def _file(call: Call, body: bytes, md5: str) -> Json:
    expires_at = call.world.now() + _FILE_SECONDS
    media = Media(
        new_id("sim-export"),
        call.company.corpid,
        "export",
        "export.dat",
        "application/octet-stream",
        body,
        expires_at,
    )
    return {"url": keep(call, media), "size": len(body), "md5": md5}


def _members(call: Call, as_row: Callable[[Call, Member], Json]) -> Iterator[Json | None]:
    """Who is there now, as the caller sees them when their turn comes."""
    members = list(call.company.directory.members.values())
    return (as_row(call, one) if sees(call, one) else None for one in members)


def _tagged(call: Call, userids: list[str], partyids: list[int]) -> Iterator[Json | None]:
    for userid in userids:
        one = call.company.directory.find(userid)
        yield {"userid": one.userid, "name": one.name} if one is not None and sees(call, one) else None
    seen = {one.id for one in seen_departments(call)}
    for number in partyids:
        yield {"partyid": number} if number in seen else None
