"""Commands of operators while the database is away."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.nightly import nightly

PASSWORD = "invented-password-of-a-database"

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@nightly
def test_every_command_says_in_one_line_that_it_is_away(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    env = {**process_environ, "DATABASE_URL": f"postgresql://guanwecom:{PASSWORD}@127.0.0.1:1/guanwecom"}
    commands = (["upgrade", "--check"], ["changepassword", "root"], ["support_bundle", str(tmp_path / "support.zip")])
    programs = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command],
            env=env,
            cwd=project_root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]

    said = [program.communicate() for program in programs]

    assert [program.returncode for program in programs] == [1, 1, 0], said
    for _output, error in said[:-1]:
        assert re.fullmatch("The database does not answer: .*Connection refused.*\n", error)
    with zipfile.ZipFile(tmp_path / "support.zip") as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert parts.keys() == {"about.json", "settings.json"}
    assert "Connection refused" in json.loads(parts["about.json"])["database"]
    assert PASSWORD not in "".join([*parts.values(), *(text for both in said for text in both)])
