"""Commands that readers of the guides type."""

import re
from pathlib import Path


def section(root: Path, guide: str, heading: str) -> str:
    """Return the text below a heading of an English guide. Another test compares its commands with the Chinese ones."""
    text = (root / "docs/en" / f"{guide}.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{guide}.md has no section {heading}"
    return found[1]


def blocks(root: Path, guide: str, heading: str, *, compose: bool = False) -> list[str]:
    """Return the printed command blocks of a section: those for Docker Compose, or the others."""
    found = re.findall(r"^ *```(?:sh)?\n(.*?)^ *```", section(root, guide, heading), re.MULTILINE | re.DOTALL)
    return [block for block in found if ("docker compose" in block) == compose]


def inline_commands(root: Path) -> set[str]:
    """Return every `guanwecom …` command in any English guide or the README, also those inside sentences and tables."""
    texts = [path.read_text(encoding="utf-8") for path in [*(root / "docs/en").rglob("*.md"), root / "README.md"]]
    found = {line for text in texts for line in re.findall(r"`(guanwecom [a-z].*?)`", text)}
    found |= {line for text in texts for line in re.findall(r"^(guanwecom [a-z].*?)(?: *#.*)?$", text, re.MULTILINE)}
    return {line for line in found if not re.match("guanwecom (does not start|connects)", line)}
