"""The distribution wecom-sandbox: the contents of its wheel, and its READMEs' commands up to the first message."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import requests
import yaml

from tests.programs import needs
from tests.sandbox_process import ROOT

DISTRIBUTION = ROOT / "sandbox"
PACKAGE = DISTRIBUTION / "wecom_sandbox"
READMES = {"README.md": "Hello from my app", "README.zh-CN.md": "来自应用的问候"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the committed files, without compiled catalogues."""
    folder = tmp_path_factory.mktemp("distribution")
    unwanted = shutil.ignore_patterns("*.mo", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(DISTRIBUTION, folder / "source", ignore=unwanted)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "source"], check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_everything_that_runs_and_says_what_it_is(wheel: Path) -> None:
    wanted = {
        str(path.relative_to(DISTRIBUTION))
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".po", ".mo", ".pyc")
    }
    wanted |= {str(path.relative_to(DISTRIBUTION).with_suffix(".mo")) for path in PACKAGE.rglob("*.po")}

    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        catalogue = archive.read("wecom_sandbox/locale/zh_Hans/LC_MESSAGES/messages.mo")

        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        licence = archive.read(name.replace("METADATA", "licenses/LICENSE")).decode()

    assert found == wanted
    assert "工作台".encode() in catalogue
    assert metadata["Name"] == "wecom-sandbox"
    assert metadata.get_all("Requires-Dist") == ["aiohttp", "cryptography", "defusedxml", "jinja2"]
    assert (metadata["License-Expression"], licence) == ("MIT", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    assert str(metadata.get_payload()).startswith("# wecom-sandbox\n")


def commands(readme: str) -> tuple[list[str], str]:
    """Return the commands of a README: the installation and the start, and the message."""
    text = (DISTRIBUTION / readme).read_text(encoding="utf-8")
    first, message = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return first.splitlines(), message


@needs("curl")
@pytest.mark.parametrize(("readme", "text"), READMES.items())
def test_the_first_message_as_the_readme_says(readme: str, text: str, tmp_path: Path) -> None:
    (_install, start), message = commands(readme)
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        ["sh", "-c", f"exec {start} --port 0"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1].rstrip("/")
        typed = message.replace("http://127.0.0.1:3002", url)
        sent = subprocess.run(["sh", "-c", typed], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        assert '"errcode":0' in sent.stdout
        shown = requests.get(f"{url}/sandbox/api/companies/wwsandbox/members/lilei/messages", timeout=60).json()
        assert "李雷" in requests.get(f"{url}/phone", timeout=60).text
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert [one["text"]["content"] for one in shown["messages"]] == [text]


@pytest.mark.parametrize("document", [*READMES, "../docs/en/sandbox.md", "../docs/zh-cn/sandbox.md"])
def test_the_guide_begins_as_the_readme_and_its_lines_of_services_are_yaml(document: str) -> None:
    text = (DISTRIBUTION / document).read_text(encoding="utf-8")
    github, gitlab = (yaml.safe_load(line)["services"] for line in re.findall(r"`(services: .*?)`", text))

    assert text.split("```sh\n", 1)[1].split("```", 1)[0].splitlines() == commands("README.md")[0]
    assert github == {"wecom": {"image": "REGISTRY/wecom-sandbox", "ports": ["3002:3002"]}}
    assert gitlab == [{"name": "REGISTRY/wecom-sandbox", "alias": "wecom"}]
