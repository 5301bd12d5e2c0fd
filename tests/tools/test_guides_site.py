"""The guides as a site: both languages build without a warning, and load nothing from another host."""

import re
import sys
from pathlib import Path

import pytest

from accounts.explanations import GUIDES
from integrations.clients.wecom.errcodes import ENTRIES, EXPLANATIONS_OF_CALLS, find_guide_anchor
from integrations.companies.diagnosis.checks import CHECKS
from tests.programs import run_program

TREES = ("en", "zh-cn")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it. Any warning fails, such as a broken link."""
    folder = tmp_path_factory.mktemp("site")
    done = run_program([sys.executable, "-m", "tools.guides", "html", folder])
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)
    return folder


@pytest.mark.parametrize(
    ("refused", "pattern"),
    [
        ("from another host", r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*\""),
        ("against our policy", r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=\"|\son[a-z]+=\""),
    ],
)
def test_a_page_loads_nothing_from_another_host_and_keeps_to_our_policy(site: Path, refused: str, pattern: str) -> None:
    assert {page.name: found for page in site.rglob("*.html") if (found := re.findall(pattern, page.read_text()))} == {}


def test_no_style_loads_from_another_host(site: Path) -> None:
    assert [css for css in site.rglob("*.css") if re.search(r"url\(['\"]?(?:https?:)?//", css.read_text())] == []


def test_every_page_leads_to_its_twin(site: Path) -> None:
    for tree, other in (TREES, TREES[::-1]):
        for page in (site / tree).glob("*.html"):
            twin = page.name if (site / other / page.name).exists() else "index.html"

            assert f'<a href="../{other}/{twin}">' in page.read_text()


def test_every_error_has_its_place(site: Path) -> None:
    places = {check.guide for check in CHECKS.values()} | {f"sign-in-{cause}" for cause in GUIDES}
    places |= {find_guide_anchor(code) for code in ENTRIES}
    places |= {find_guide_anchor(code, operation=operation) for operation, code in EXPLANATIONS_OF_CALLS}

    for tree in TREES:
        assert places - {*re.findall(r'id="([^"]+)"', (site / tree / "errors.html").read_text())} == set()


def test_errors_are_told_in_the_language_of_the_tree(site: Path) -> None:
    english, chinese = ((site / tree / "errors.html").read_text() for tree in TREES)

    assert "<td><p>WeCom is busy.</p></td>" in english
    assert "<td><p>WeCom is busy.</p></td>" not in chinese
    assert "<td><p>企业微信系统繁忙。</p></td>" in chinese


def test_chinese_is_found(site: Path) -> None:
    """Index pairs of neighbouring characters, and split queries into them."""
    index = (site / "zh-cn" / "searchindex.js").read_text()

    assert '"\\u63a8\\u9001"' in index
    assert "splitQuery" in (site / "zh-cn" / "_static" / "language_data.js").read_text()
