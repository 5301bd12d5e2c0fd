"""The state in a file: read whole or not at all, replaced whole or not at all, and nobody else's to read."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from wecom_sandbox.http import strict_json
from wecom_sandbox.state import administration
from wecom_sandbox.state.world import World


def read(world: World, path: Path) -> None:
    """Load a seed or a snapshot. Raises OSError and ValueError."""
    administration.load(world, strict_json.loads(path.read_bytes()))


def write(world: World, path: Path) -> None:
    """Put the state in the file's place, for its owner only: it holds secrets. Raises OSError; then the old one stays.

    A full disk or a lost power supply leaves the old file or the new one, never half of one.
    """
    target = path.resolve()
    content = json.dumps(administration.dump(world), ensure_ascii=False).encode()
    # Files of this function have mode 0600.
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last, too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
