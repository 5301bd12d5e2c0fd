"""Guides in docs/en and their twins in docs/zh-cn: complete, of the same shape, and true in what they name.

The threat model and the ASVS table name existing tests, and list every requirement in both languages.
"""

import ast
import os
import re
from functools import cache
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
FOLDERS = {"accounts", "benchmarks", "docs", "guanwecom", "integrations", "notifications", "sandbox", "tests", "tools"}
TREES = ("en", "zh-cn")
# Number of requirements of levels 1 and 2 in each chapter of OWASP ASVS 5.0.0.
CHAPTERS = dict(enumerate((27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7), start=1))
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


def test_every_file_of_ours_that_the_documents_name_exists() -> None:
    """Check spans of code; the test of links follows the others."""
    missing = []
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        spans = set(re.findall(r"`([\w./-]+)`", document.read_text()))
        ours = {span for span in spans if span.split("/")[0] in FOLDERS and "/" in span}
        missing += [f"{document.name}: {span}" for span in ours if not (ROOT / span).exists()]

    assert sorted(missing) == []


@pytest.mark.parametrize("guide", ["CONTRIBUTING.md", "README.md", "README.zh-CN.md"])
def test_every_target_of_make_that_a_guide_names_exists(guide: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target
        for words in re.findall(r"`(?:make|\.ci/run: make) ([a-z -]+)", (ROOT / guide).read_text())
        for target in words.split()
    }

    assert named
    assert named - targets == set()


def find_tests(tree: str, guide: str) -> list[str]:
    return re.findall(r"`(tests/[\w/.]+::\w+)`", (ROOT / "docs" / tree / guide).read_text())


def table_of(tree: str, guide: str) -> list[list[str]]:
    """Return the rows of all tables of a guide, without their heads."""
    lines = [line for line in (ROOT / "docs" / tree / guide).read_text().splitlines() if line.startswith("| ")]
    return [
        cells for line in lines if (cells := line.strip("| ").split(" | "))[0] not in {"STRIDE", "requirement", "编号"}
    ]


@cache
def functions(path: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("guide", ["threat-model.md", "asvs.md"])
def test_every_test_that_is_named_exists(guide: str) -> None:
    tests = find_tests("en", guide)

    assert [one for one in tests if one.split("::")[1] not in functions(one.split("::")[0])] == []
    assert len(tests) > 50
    assert find_tests("zh-cn", guide) == tests


@pytest.mark.parametrize("tree", TREES)
def test_every_threat_has_a_test(tree: str) -> None:
    assert [row for row in table_of(tree, "threat-model.md") if "::test_" not in row[3]] == []


@pytest.mark.parametrize("tree", TREES)
def test_every_requirement_has_one_row_and_a_reason(tree: str) -> None:
    table = table_of(tree, "asvs.md")
    chapters = [int(row[0].split(".")[0]) for row in table]

    assert {chapter: chapters.count(chapter) for chapter in sorted(set(chapters))} == CHAPTERS
    assert len({row[0] for row in table}) == sum(CHAPTERS.values())
    assert [row for row in table if not row[2].strip()] == []


@pytest.mark.parametrize("tree", TREES)
def test_what_is_met_names_a_test_a_file_or_a_guide_that_there_is(tree: str) -> None:
    met = [row for row in table_of(tree, "asvs.md") if row[1] in {"met", "partly", "符合", "部分符合"}]
    files = re.findall(r"`([\w./-]+/[\w./-]+|Makefile)(?:::\w+)?`", "".join(row[3] for row in met if len(row) > 3))

    assert len(met) > 150
    assert [row[0] for row in met if len(row) < 4 and "](" not in row[2]] == []
    assert [name for name in files if not (ROOT / name).is_file()] == []
