"""Rules for names and sentences: `python -m tools.names` names every violation.

- A docstring begins with a verb or a noun: REFUSED_BEGINNING does not match it.
- A function is a verb with an object. At most PARTICIPLE_FUNCTIONS functions outside tests are named by a participle
  alone (`shown`); properties and methods of querysets are not counted.
- A class name has one meaning: at most SHARED_CLASS_NAMES names of an app are those of two or more classes.
- No module is called messages, helpers, utils or common, and no app imports tools.
- A commit's subject has at most SUBJECT_LENGTH characters.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

from tools.sizes import FOLDERS, ROOT, Module, read_modules

APPS = ("guanwecom", "integrations", "accounts", "notifications")
REFUSED_BEGINNING = re.compile(
    r"(Of|As|By|With|Those|Its|Whose|Where|In|For|To|From|Without|Only|Not|And|Or|But|If|When|What|Which|Who|Whom|Whoever"
    r"|Whatever|Whether|Why|How|Every|All|Some|Somebody|Nobody|Nothing|No|None|Also|Until|Till|After|Before|At|On|Over|So"
    r"|Such|It|They|This|That|These|Another|Both|Any|Anything|Everything|Everybody|Than|Then|There|Here|Because|Since"
    r"|While|Though)\b"
)
PARTICIPLE = re.compile(
    r"_*([a-z]+(ed|en)|bound|built|cut|drawn|found|gone|held|kept|known|left|lost|made|meant|met|paid|put|said|seen|sent"
    r"|shown|sold|told)"
)
NO_PARTICIPLE = re.compile(r"_*(children|feed|golden|hidden|listen|need|open|screen|seed|token)")
PARTICIPLE_FUNCTIONS = 7
SHARED_CLASS_NAMES = 8
VAGUE_MODULE_NAMES = frozenset({"messages", "helpers", "utils", "common"})
SUBJECT_LENGTH = 72
# This commit and earlier ones have longer subjects.
LAST_UNCHECKED_COMMIT = "9f152e8f59c6221501d9f30b75dee9e356bf34dd"


def main() -> int:
    modules = read_modules((*FOLDERS, "tests"))
    # Empty in a copy of the code without git history.
    log = ["git", "log", "--format=%s", f"{LAST_UNCHECKED_COMMIT}..HEAD"]
    subjects = subprocess.run(log, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    problems = [
        *check_docstrings(modules),
        *check_participles(modules),
        *check_class_names(modules),
        *check_modules(modules),
        *check_subjects(subjects),
    ]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def check_docstrings(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if found := REFUSED_BEGINNING.match(ast.get_docstring(node) or ""):
                yield f"{module.path}:{getattr(node, 'lineno', 1)}: a docstring begins with {found[0]!r}"


def check_participles(modules: list[Module]) -> Iterator[str]:
    product = [module for module in modules if module.path.parts[0] != "tests"]
    found = [f"{module.at(node)}: {node.name}" for module in product for node in find_participles(module.tree)]
    if len(found) > PARTICIPLE_FUNCTIONS:
        yield f"{len(found)} functions are named by a participle alone, at most {PARTICIPLE_FUNCTIONS}:"
        yield from found


def find_participles(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and any("QuerySet" in ast.unparse(base) for base in node.bases):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not is_property and PARTICIPLE.fullmatch(node.name) and not NO_PARTICIPLE.fullmatch(node.name):
                yield node
        yield from find_participles(node)


def check_class_names(modules: list[Module]) -> Iterator[str]:
    """Find names that several top-level classes of an app share, such as a second `Line`."""
    for app in APPS:
        names: dict[str, list[str]] = {}
        for module in modules:
            if module.path.parts[0] == app:
                for node in module.tree.body:
                    if isinstance(node, ast.ClassDef):
                        names.setdefault(node.name, []).append(module.at(node))
        twice = {name: places for name, places in names.items() if len(places) > 1}
        if len(twice) > SHARED_CLASS_NAMES:
            yield f"{app}: {len(twice)} class names have two meanings, at most {SHARED_CLASS_NAMES}:"
            yield from (f"  {name}: {', '.join(places)}" for name, places in sorted(twice.items()))


def check_modules(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if module.path.stem in VAGUE_MODULE_NAMES:
            yield f"{module.path}: a name that says nothing"
        if module.path.parts[0] in APPS:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    imported = node.names[0].name if isinstance(node, ast.Import) else str(node.module)
                    if imported.partition(".")[0] == "tools":
                        yield f"{module.at(node)}: an app imports tools"


def check_subjects(subjects: list[str]) -> Iterator[str]:
    for subject in subjects:
        if len(subject) > SUBJECT_LENGTH:
            yield f"a commit's subject has {len(subject)} characters, at most {SUBJECT_LENGTH}: {subject}"


if __name__ == "__main__":
    sys.exit(main())
