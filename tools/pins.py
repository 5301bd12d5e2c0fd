"""Pinned requirements: `python -m tools.pins compile` makes them from the .in files, `check` compares them offline.

`sbom` writes what they name as a software bill of materials (CycloneDX), one file for each set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# Each contains the ones before it and is held to their versions.
SETS = ("requirements", "requirements-demo", "requirements-dev")
OLDEST_PYTHON = "3.11"
SBOM_FOLDER = "sbom"


def compile_pins(upgrade: bool) -> int:
    """Pin every set with uv, with the hashes of each version's files for all platforms and Pythons.

    Known pins stay unless `upgrade`. Needs a package index.
    """
    for name in SETS:
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
        command += ["--generate-hashes", "--python-version", OLDEST_PYTHON]
        command += ["--no-emit-index-url", "--no-emit-find-links"]
        command += ["--custom-compile-command", "make requirements", f"{name}.in", "-o", f"{name}.txt"]
        done = subprocess.run([*command, *(["--upgrade"] if upgrade else [])], cwd=ROOT, check=False)
        if done.returncode:
            return done.returncode
    return 0


def check(root: Path = ROOT) -> list[str]:
    """What does not fit between the .in and .txt files, one line each."""
    problems: list[str] = []
    earlier: dict[str, set[str]] = {}
    for name in SETS:
        pins = _pins(root / f"{name}.txt", problems)
        for requirement in _wanted(root / f"{name}.in"):
            versions = pins.get(canonicalize_name(requirement.name), set())
            if not versions:
                problems.append(f"{name}.txt: {requirement.name} of {name}.in is not pinned")
            problems += [
                f"{name}.txt: {requirement.name}=={version} is not what {name}.in asks for ({requirement})"
                for version in sorted(versions)
                if not requirement.specifier.contains(version, prereleases=True)
            ]
        for package, versions in earlier.items():
            if pins.get(package) != versions:
                problems.append(f"{name}.txt: {package} is pinned otherwise in an earlier file")
        earlier |= pins
    return problems


def write_sbom(folder: Path, root: Path = ROOT) -> int:
    """Write `<set>.cdx.json` into `folder` for every set. The files are the same for the same pins."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--short-PURLs"]
        command += ["--pyproject", str(ROOT / "pyproject.toml"), "-o", str(folder / f"{name}.cdx.json")]
        done = subprocess.run([*command, str(root / f"{name}.txt")], check=False)
        if done.returncode:
            return done.returncode
    return 0


def _wanted(path: Path) -> list[Requirement]:
    """The requirements that a .in file names, with those of the files that it includes."""
    wanted = []
    for line in _lines(path):
        if line.startswith("-r "):
            wanted += _wanted(path.parent / line.removeprefix("-r ").strip())
        elif not line.startswith("-c "):
            wanted.append(Requirement(line))
    return wanted


def _pins(path: Path, problems: list[str]) -> dict[str, set[str]]:
    """The versions by package (several where markers choose); `problems` gets what is not one pin with its hashes."""
    pins: dict[str, set[str]] = {}
    for line in _lines(path):
        if line.startswith("-"):
            problems.append(f"{path.name}: an option does not belong there: {line.split()[0]}")
            continue
        text, *hashes = line.split(" --hash=")
        requirement = Requirement(text)
        exact = [part.version for part in requirement.specifier if part.operator == "=="]
        if len(exact) != 1 or requirement.url:
            problems.append(f"{path.name}: {requirement.name} is not pinned to one version")
        if not hashes:
            problems.append(f"{path.name}: {requirement.name} has no hash")
        pins.setdefault(canonicalize_name(requirement.name), set()).update(exact)
    return pins


def _lines(path: Path) -> list[str]:
    """What a file says, each thing on one line, without comments."""
    text = path.read_text(encoding="utf-8").replace("\\\n   ", "")
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.pins", description=__doc__)
    parser.add_argument("verb", choices=["compile", "check", "sbom"])
    parser.add_argument("--upgrade", action="store_true", help="take newer versions than the pinned ones")
    options = parser.parse_args(arguments)
    if options.verb == "compile":
        return compile_pins(options.upgrade)
    if options.verb == "sbom":
        return write_sbom(ROOT / SBOM_FOLDER)
    problems = check()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
