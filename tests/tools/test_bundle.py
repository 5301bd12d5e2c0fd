"""Contents of the bundle for machines without internet. tests/deploy/test_offline_install.py installs one."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.programs import run_program
from tools import bundle

METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\n{licence}\n"


def wheel(folder: Path, name: str, licence: str, *texts: str) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.2-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}-1.2.dist-info/METADATA", METADATA.format(name=name, licence=licence))
        archive.writestr(f"{name}/LICENSE.py", "no licence")
        for text in texts:
            archive.writestr(f"{name}-1.2.dist-info/{text}", f"text of {text}")


@pytest.mark.parametrize(
    ("licence", "shown"),
    [
        ("License-Expression: BSD-3-Clause\nLicense: other", "BSD-3-Clause"),
        ("Classifier: License :: OSI Approved :: MIT License\nClassifier: Topic :: Internet", "MIT License"),
        ("License: Apache 2.0", "Apache 2.0"),
        ("License: The MIT License\n        and its whole text", "The MIT License"),
        ("Summary: nothing", "unknown"),
    ],
)
def test_the_index_names_the_licence_of_each_wheel(tmp_path: Path, licence: str, shown: str) -> None:
    wheel(tmp_path / "wheels", "pack", licence)

    bundle.write_licences(tmp_path)

    index = (tmp_path / "licences/INDEX.md").read_text().splitlines()
    assert index[-1] == f"| pack | 1.2 | {shown} | none in the wheel |"


def test_texts_of_licences_lie_beside_the_index(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "first", "License: MIT", "licenses/LICENSE.txt", "licenses/NOTICE", "RECORD")
    wheel(tmp_path / "wheels", "second", "License: BSD", "COPYING")

    bundle.write_licences(tmp_path)

    texts = {str(one.relative_to(tmp_path / "licences")) for one in (tmp_path / "licences").rglob("*") if one.is_file()}
    assert texts == {"INDEX.md", "first/LICENSE.txt", "first/NOTICE", "second/COPYING"}
    assert (tmp_path / "licences/second/COPYING").read_text() == "text of COPYING"


def test_an_archive_belongs_to_root_and_its_checksums_name_a_changed_file(tmp_path: Path) -> None:
    folder = tmp_path / "guanwecom-1.0"
    folder.mkdir()
    (folder / "manage.py").write_text("code")

    bundle.write_checksums(folder)
    bundle.pack(folder, tmp_path / "out.tar.gz")

    check = ["sha256sum", "--quiet", "--check", "SHA256SUMS"]
    with tarfile.open(tmp_path / "out.tar.gz") as packed:
        assert {(member.name.partition("/")[2], member.uid, member.uname) for member in packed} == {
            *(("", 0, "root"), ("manage.py", 0, "root"), ("SHA256SUMS", 0, "root"))
        }
    assert not (tmp_path / "out.tar.part").exists()
    assert run_program(check, cwd=folder, env={"LC_ALL": "C"}).returncode == 0
    (folder / "manage.py").write_text("another")
    assert run_program(check, cwd=folder, env={"LC_ALL": "C"}).stdout == "manage.py: FAILED\n"
