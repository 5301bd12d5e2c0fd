"""Guides in docs/en and their twins in docs/zh-cn: complete, of the same shape, and in their tree's contents."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from notifications.api.problems import FORM_BYTES_AT_MOST, INBOUND_BYTES_AT_MOST

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ROOT / "docs" / "en", ROOT / "docs" / "zh-cn"
TWINS = {
    ROOT / "README.md": ROOT / "README.zh-CN.md",
    **{ENGLISH / path.relative_to(CHINESE): path for path in sorted(CHINESE.rglob("*.md"))},
}
# Each language has its own screenshots, under the same names.
PICTURES, ITS_PICTURES = "docs/en/screenshots/", "docs/zh-cn/screenshots/"
# Every page of the site and the repository.
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "*/README*.md", "*/*/README*.md") for path in ROOT.glob(pattern)
)
ENGLISH_OF = {twin: guide for guide, twin in TWINS.items()}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def anchors(path: Path) -> list[str]:
    """Return the anchors of the headings, in order, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.M)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def places(path: Path) -> list[str]:
    """Return the anchors of the headings, and those set by attributes."""
    return anchors(path) + re.findall(r"\{#([\w-]+)\}", path.read_text())


def links(path: Path, text: str) -> list[str]:
    """Return the targets of links, sorted: a guide by its English file, a heading by its position in the guide."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            name, _hash, anchor = target.partition("#")
            other = (path.parent / name).resolve() if name else path
            place = str(anchors(other).index(anchor)) if anchor else ""
            target = f"{name_of(ENGLISH_OF.get(other, other))}#{place}".replace(ITS_PICTURES, PICTURES)
        found.append(target)
    return sorted(found)


def shape(path: Path) -> dict[str, list[str]]:
    """Return what twins must share: heading levels, table rows, lists, code blocks and link targets.

    Left out are the first line, which links to the twin, and the second link in a list of guides.
    """
    text = path.read_text()
    prose = re.sub(r"^\[(English|简体中文|中文)\]\(\S+\)$", "", without_code(text), flags=re.M)
    prose = re.sub(r"( · |\s?[（(])\[(English|简体中文|中文)\]\(\S+\)[)）]?", "", prose)
    return {
        "headings": re.findall(r"^(#+) ", prose, re.M),
        "tables": re.findall(r"^\|.*?(?=\|)", re.sub(r"[^|\n]", "", prose), re.M),
        "lists": re.findall(r"^ *(-|\d+\.) ", prose, re.M),
        "code": re.findall(r"^```(\w*)$", text, re.M),
        "links": links(path, prose),
    }


@pytest.mark.parametrize("guide", ["deploy/nginx/guanwecom.conf", "docs/en/attributes.md", "docs/zh-cn/attributes.md"])
def test_the_reverse_proxy_admits_what_the_product_takes(guide: str) -> None:
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", (ROOT / guide).read_text())

    assert int(megabytes) * 1024 * 1024 > max(FORM_BYTES_AT_MOST, INBOUND_BYTES_AT_MOST)


def test_every_guide_has_a_twin_and_is_in_the_contents() -> None:
    english, chinese = (
        {str(path.relative_to(tree).with_suffix("")) for path in tree.rglob("*.md")} for tree in (ENGLISH, CHINESE)
    )

    assert english == chinese
    for tree in (ENGLISH, CHINESE):
        contents = re.findall(r"^```\{toctree\}$.*?^```$", (tree / "index.md").read_text(), re.M | re.S)
        entries = [line for part in contents for line in part.splitlines()[1:-1] if line and not line.startswith(":")]
        assert sorted(entries) == sorted(english - {"index"})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    """Include files outside the site. `make docs-links` asks other hosts."""
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", without_code(page.read_text()))):
        name, _hash, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        is_there = "://" in target or other.exists()
        if not is_there or (anchor and other.suffix == ".md" and anchor not in places(other)):
            lost.append(target)

    assert lost == []


@pytest.mark.parametrize("guide", TWINS, ids=name_of)
def test_a_guide_and_its_twin_have_one_shape_and_lead_to_each_other(guide: Path) -> None:
    twin = TWINS[guide]
    prose = re.sub(r"^\[English\]\(\S+\)$", "", twin.read_text(), flags=re.M)
    targets = [target for target in re.findall(r"\]\(([^)#\s]+\.md)", without_code(prose)) if "://" not in target]

    assert shape(twin) == shape(guide)
    assert [target for target in targets if (twin.parent / target).resolve() in TWINS] == []
    to_twin, to_guide = os.path.relpath(twin, guide.parent), os.path.relpath(guide, twin.parent)
    assert re.search(rf"^\[(中文|简体中文)\]\({re.escape(to_twin)}\)$", guide.read_text(), re.M)
    assert re.search(rf"^\[English\]\({re.escape(to_guide)}\)$", twin.read_text(), re.M)
