"""Keys, tokens and passwords of real systems are not in the repository. Tests have invented ones."""

import re
import subprocess
from pathlib import Path

import pytest

KINDS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/]{40}",
    "key of a cloud": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b|\bLTAI[0-9A-Za-z]{20}\b",
    "token of a code host": r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bglpat-[\w-]{20}\b|\bpypi-AgEI\w{50}",
    "token of a service": r"\bxox[abprs]-[0-9A-Za-z-]{20,}|\bsk-[A-Za-z0-9]{32,}|\bglsa_[A-Za-z0-9]{32}",
    "signed token": r"\beyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20,}",
    "robot of WeCom": r"webhook/send\?key=[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "token of ours": r"\bgw[ci]_[A-Za-z0-9_-]{43}\b",
    "key of Fernet": r"(?<![\w/+-])(?=[\w-]*[0-9])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{43}=(?![\w=])",
    "secret of an app": r"[\"'](?=[\w-]*[0-9])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[A-Za-z0-9_-]{43}[\"']",
}
BINARY = {".png", ".xlsx", ".gz", ".zip", ".ico", ".woff2"}
# Folders where keys and secrets of these forms are invented.
INVENTED = {"key of Fernet": ("tests/",), "secret of an app": ("tests/",)}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Files of the repository by name."""
    root = Path(__file__).parents[2]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, stdout=subprocess.PIPE, check=True).stdout.decode()
    names = [name for name in listed.split("\0") if name and Path(name).suffix not in BINARY]
    return {name: (root / name).read_text(errors="replace") for name in names if (root / name).is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_no_real_secret_is_in_the_repository(kind: str, texts: dict[str, str]) -> None:
    pattern = re.compile(KINDS[kind])

    found = {name for name, text in texts.items() if pattern.search(text)}

    assert {name for name in found if not name.startswith(INVENTED.get(kind, ()))} == set()
