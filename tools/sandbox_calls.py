"""`python -m tools.sandbox_calls`: writes into the guide which calls the sandbox has, and which other clients know.

The clients' lists stand in tests/fixtures/endpoints: paths alone, taken from public code.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from wecom_sandbox.api import load_endpoints
from wecom_sandbox.api.call import APP, CONTACTS, ENDPOINTS, OPEN_ENDPOINTS

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "tests" / "fixtures" / "endpoints"
# Title of a client: its list.
CLIENTS = {"wechatpy": "wechatpy", "WxJava": "wxjava", "go-workwx": "go-workwx", "EasyWeChat": "easywechat"}
GUIDES = {"en": ROOT / "docs/en/sandbox-calls.md", "zh-cn": ROOT / "docs/zh-cn/sandbox-calls.md"}
_WORDS = {
    "en": {"area": "Area", "call": "Call", "method": "Method", "who": "Whose token", "missing": "Not there"}
    | {APP: "app", CONTACTS: "sync assistant", "open": "none", "join": ", "},
    "zh-cn": {"area": "领域", "call": "接口", "method": "方法", "who": "谁的 access_token", "missing": "没有"}
    | {APP: "应用", CONTACTS: "通讯录同步助手", "open": "不需要", "join": "、"},
}
_MARKS = ("<!-- {name}: python -m tools.sandbox_calls -->", "<!-- end of {name} -->")


def paths_of(client: str) -> list[str]:
    lines = (LISTS / f"{client}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def tables(language: str) -> dict[str, str]:
    """By the name of their place in the guide: counts by area, calls that are there, calls that are not."""
    load_endpoints()
    there = {**ENDPOINTS, **OPEN_ENDPOINTS}
    known = {title: set(paths_of(name)) for title, name in CLIENTS.items()}
    return {
        "areas": _areas(language, set(there), known),
        "there": _there(language, known),
        "missing": _missing(language, set(there), known),
    }


def _areas(language: str, there: set[str], known: dict[str, set[str]]) -> str:
    """Of each client's calls of an area, how many are there."""
    areas = sorted({_area(path) for paths in known.values() for path in paths} | {_area(path) for path in there})
    rows = []
    for area in areas:
        counts = [_share({path for path in paths if _area(path) == area}, there) for paths in known.values()]
        rows.append([f"`{area}`", *counts])
    rows.append(["**∑**", *(_share(paths, there) for paths in known.values())])
    return _table([_WORDS[language]["area"], *known], rows)


def _share(paths: set[str], there: set[str]) -> str:
    return f"{len(paths & there)} / {len(paths)}" if paths else ""


def _there(language: str, known: dict[str, set[str]]) -> str:
    words = _WORDS[language]
    rights = {path: [words[right] for right in sorted(one.rights)] for path, one in ENDPOINTS.items()}
    rights |= {path: [words["open"]] for path in OPEN_ENDPOINTS}
    methods = {path: one.methods for path, one in ENDPOINTS.items()}
    methods |= {path: one.methods for path, one in OPEN_ENDPOINTS.items()}
    rows = [
        [f"`{path}`", words["join"].join(methods[path]), words["join"].join(rights[path]), *_marks(path, known)]
        for path in sorted(rights)
    ]
    return _table([words["call"], words["method"], words["who"], *known], rows)


def _missing(language: str, there: set[str], known: dict[str, set[str]]) -> str:
    """One row for each area: its calls that some client knows and the sandbox does not have."""
    words = _WORDS[language]
    areas: dict[str, list[str]] = defaultdict(list)
    for path in sorted(set().union(*known.values()) - there):
        areas[_area(path)].append(f"`{path}`")
    rows = [[f"`{area}`", words["join"].join(paths)] for area, paths in sorted(areas.items())]
    return _table([words["area"], words["missing"]], rows)


def _area(path: str) -> str:
    return path.partition("/")[0] if "/" in path else "/"


def _marks(path: str, known: dict[str, set[str]]) -> list[str]:
    return ["✓" if path in paths else "" for paths in known.values()]


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(heads)
    return "".join(f"| {' | '.join(row)} |\n" for row in [titles, ["---"] * len(titles), *rows])


def filled(text: str, language: str) -> str:
    """The guide with its tables as they are now. Raises ValueError where a place is missing."""
    for name, table in tables(language).items():
        start, end = (mark.format(name=name) for mark in _MARKS)
        pattern = re.compile(f"{re.escape(start)}\n.*?{re.escape(end)}", re.S)
        if not pattern.search(text):
            raise ValueError(f"the guide has no place for {name}")
        text = pattern.sub(f"{start}\n\n{table}\n{end}", text)
    return text


def main() -> int:
    for language, path in GUIDES.items():
        path.write_text(filled(path.read_text(encoding="utf-8"), language), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
