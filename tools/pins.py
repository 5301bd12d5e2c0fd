"""Compare pinned requirements with their .in files, without an index: `python -m tools.pins`."""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.utils import canonicalize_name
from pip_requirements_parser import RequirementsFile

ROOT = Path(__file__).resolve().parent.parent
# Each set of requirements contains the sets before it. The Makefile compiles in this order.
SETS = ("requirements", "requirements/charts", "requirements/snapshots", "requirements/demo", "requirements/dev")


def list_differences(root: Path = ROOT) -> list[str]:
    """List the differences between the .in and .txt files."""
    problems: list[str] = []
    earlier: dict[str, set[str]] = {}
    for name in SETS:
        pins = _read_pins(root, name, problems)
        wanted = RequirementsFile.from_file(str(root / f"{name}.in"), include_nested=True).requirements
        for requirement in (one.req for one in wanted if not one.is_constraint):
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


def _read_pins(root: Path, name: str, problems: list[str]) -> dict[str, set[str]]:
    """Return each package's versions (several with markers). Append problems: lines that are no pins with hashes."""
    file = RequirementsFile.from_file(str(root / f"{name}.txt"))
    for line in (*file.options, *file.invalid_lines):
        problems.append(f"{name}.txt: this line does not belong there: {line.line}")
    pins: dict[str, set[str]] = {}
    for one in file.requirements:
        if not one.is_pinned or one.link:
            problems.append(f"{name}.txt: {one.name} is not pinned to one version")
        if not one.hash_options:
            problems.append(f"{name}.txt: {one.name} has no hash")
        pins.setdefault(canonicalize_name(one.name), set()).update(part.version for part in one.specifier or ())
    return pins


if __name__ == "__main__":
    sys.exit("\n".join(list_differences()) or None)
