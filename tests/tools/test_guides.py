"""Each guide that people who run the product read stands in both languages, whole: its Chinese twin is `x.zh-CN.md`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notifications.api.middleware import FORM_BYTES_AT_MOST, INBOUND_BYTES_AT_MOST

ROOT = Path(__file__).parents[2]
# For people who change the code: in English only.
FOR_MAINTAINERS = {"architecture.md", "journeys.md"}
TWINS = ["README.md", *sorted(f"docs/{path.name.replace('.zh-CN', '')}" for path in ROOT.glob("docs/*.zh-CN.md"))]


def twin_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.zh-CN.md")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def anchors(path: Path) -> list[str]:
    """The anchors of its headings, in their order, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.M)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def links(path: Path, text: str) -> list[str]:
    """Where it leads, sorted; a guide by its English name, a heading by its place in the guide."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _hash, anchor = target.partition("#")
        if "://" not in target and (name.endswith(".md") or not name):
            other = (path.parent / name) if name else path
            place = str(anchors(other).index(anchor)) if anchor else ""
            target = f"{name.replace('.zh-CN', '')}#{place}"
        found.append(target)
    return sorted(found)


def shape(path: Path) -> dict[str, list[str]]:
    """What both twins must have alike: levels of headings, rows of tables, lists, blocks of code and where links lead.

    Without the first line that leads from one twin to the other, and the second link of a list of guides.
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


@pytest.mark.parametrize("guide", ["README.md", "README.zh-CN.md", "docs/attributes.md", "docs/attributes.zh-CN.md"])
def test_the_reverse_proxy_admits_what_the_product_takes(guide: str) -> None:
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", (ROOT / guide).read_text())

    assert int(megabytes) * 1024 * 1024 > max(FORM_BYTES_AT_MOST, INBOUND_BYTES_AT_MOST)


def test_every_guide_has_a_twin() -> None:
    guides = {path.name for path in ROOT.glob("docs/*.md") if ".zh-CN" not in path.name}

    assert {name for name in guides if not twin_of(ROOT / "docs" / name).exists()} == FOR_MAINTAINERS


@pytest.mark.parametrize("guide", TWINS)
def test_a_guide_and_its_twin_have_one_shape(guide: str) -> None:
    assert shape(twin_of(ROOT / guide)) == shape(ROOT / guide)


@pytest.mark.parametrize("guide", TWINS)
def test_a_twin_leads_to_twins(guide: str) -> None:
    """And each of both says where the other is."""
    twin = twin_of(ROOT / guide)
    prose = re.sub(r"(\[English\]|English\])\(\S+\)", "", without_code(twin.read_text()))
    english = [
        target
        for target in re.findall(r"\]\(([^)#\s]+\.md)", prose)
        if "://" not in target and twin_of(twin.parent / target).exists()
    ]

    assert english == []
    assert f"]({twin.name})" in (ROOT / guide).read_text()
    assert f"[English]({Path(guide).name})" in twin.read_text()
