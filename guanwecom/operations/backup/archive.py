"""The file of a backup: a tar of the dump and, behind it, its manifest."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.utils.translation import gettext as _

from guanwecom.operations.backup import manifest
from guanwecom.operations.backup.errors import BackupError
from guanwecom.operations.backup.manifest import Manifest

DUMP, MANIFEST = "database.dump", "manifest.json"
_CHUNK = 1024 * 1024


def write(path: Path, dump: IO[bytes], describe: Callable[[str, int], Manifest]) -> Manifest:
    """Write what `dump` gives, then the manifest. The file gets its name when it is whole; only its owner may read it.

    `describe`: the manifest, by the dump's SHA-256 and size.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as file:
            described = _write(file, dump, describe)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return described


def _write(file: IO[bytes], dump: IO[bytes], describe: Callable[[str, int], Manifest]) -> Manifest:
    """The dump's size is known at its end: its header is written then, in front of it."""
    file.write(bytes(tarfile.BLOCKSIZE))
    digest, size = hashlib.sha256(), 0
    while chunk := dump.read(_CHUNK):
        digest.update(chunk)
        file.write(chunk)
        size += len(chunk)
    file.write(bytes(-size % tarfile.BLOCKSIZE))
    described = describe(digest.hexdigest(), size)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as behind:
        text = described.text().encode()
        behind.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
    file.seek(0)
    file.write(_member(DUMP, size).tobuf(tarfile.GNU_FORMAT))
    return described


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


@contextmanager
def opened(path: Path) -> Iterator[tuple[Manifest, IO[bytes]]]:
    """The manifest, and the dump from its beginning, whose checksum was compared. Raises BackupError."""
    try:
        with tarfile.open(path, "r:") as file:
            members = {member.name: file.extractfile(member) for member in file.getmembers()}
            text, dump = members.get(MANIFEST), members.get(DUMP)
            if text is None or dump is None:
                raise BackupError(_("%(path)s is no backup of guanwecom.") % {"path": path})
            described = manifest.read(text.read().decode(errors="replace"))
            _compare(dump, described, path)
            yield described, dump
    except (OSError, tarfile.TarError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _("it is no backup of guanwecom")
        words = {"path": path, "reason": reason}
        raise BackupError(_("%(path)s cannot be read: %(reason)s.") % words) from error


def _compare(dump: IO[bytes], described: Manifest, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    while chunk := dump.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    if (digest.hexdigest(), size) != (described.sha256, described.bytes):
        text = _("%(path)s is damaged: its checksum is not the one in its manifest. Use another backup.")
        raise BackupError(text % {"path": path})
    dump.seek(0)
