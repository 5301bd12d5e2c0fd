"""One file of values for all pages: no other stylesheet writes a colour or a size of type of its own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("guanwecom", "integrations", "accounts", "notifications")
SHEETS = [path for app in APPS for path in sorted((ROOT / app / "static").rglob("*.css")) if path.name != "tokens.css"]
VALUE = re.compile(r":[^;{}]*(#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\()|font-size:\s*[0-9.]")


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_stylesheet_takes_colours_and_sizes_of_type_from_the_tokens(path: Path) -> None:
    lines = path.read_text().splitlines()

    assert [line for line in lines for part in re.findall(r"\{([^}]*)", f"{{{line}") if VALUE.search(part)] == []


def test_every_colour_of_the_light_scheme_has_one_in_the_dark_schemes() -> None:
    text = (ROOT / "guanwecom" / "static" / "guanwecom" / "tokens.css").read_text()
    light, system, chosen = (
        set(re.findall(r"--([a-z-]+):", text.partition(start)[2].partition("color-scheme")[0]))
        for start in (
            ':root, html[data-theme="light"] {',
            "@media (prefers-color-scheme: dark)",
            'html[data-theme="dark"] {',
        )
    )

    assert light == system == chosen
    assert len(light) > 15
