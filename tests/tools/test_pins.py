"""Differences between the pinned requirements and the short files they come from."""

from pathlib import Path

import pytest

from tools import pins

HASH = f" \\\n    --hash=sha256:{'0' * 64}"
RUNS = f"""celery==5.7.0{HASH}{HASH}
    # via -r requirements.in
django==5.2.19{HASH}
numpy==2.4 ; python_version < '3.12'{HASH}
numpy==2.5 ; python_version >= '3.12'{HASH}
"""
FILES = {
    "requirements.in": "# what runs\nDjango>=5.2,<5.3\ncelery[redis]\n",
    "requirements.txt": RUNS,
    "requirements/charts.in": "-c ../requirements.txt\n-r ../requirements.in\n",
    "requirements/charts.txt": RUNS,
    "requirements/snapshots.in": "-c charts.txt\n-r charts.in\npsutil\n",
    "requirements/snapshots.txt": f"{RUNS}psutil==7.2{HASH}\n",
    "requirements/demo.in": "-r snapshots.in\n",
    "requirements/demo.txt": f"{RUNS}psutil==7.2{HASH}\n",
    "requirements/dev.in": "-r demo.in\npytest\n",
    "requirements/dev.txt": f"{RUNS}psutil==7.2{HASH}\npytest==9.2.0{HASH}\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_pins_that_fit_raise_no_complaint(root: Path) -> None:
    """Check the project's own pins too."""
    assert pins.list_differences() == pins.list_differences(root) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("requirements/dev.in", "pytest", "pytest\nresponses", "responses of requirements/dev.in is not pinned"),
        (
            "requirements/dev.in",
            "pytest",
            "pytest<9",
            "pytest==9.2.0 is not what requirements/dev.in asks for (pytest<9)",
        ),
        ("requirements/dev.txt", "psutil==7.2", "psutil==7.3", "psutil is pinned otherwise in an earlier file"),
        ("requirements/dev.txt", f"celery==5.7.0{HASH}{HASH}", "", "celery of requirements/dev.in is not pinned"),
        ("requirements/dev.txt", "pytest==9.2.0", "pytest>=9", "pytest is not pinned to one version"),
        ("requirements/dev.txt", f"django==5.2.19{HASH}", "django==5.2.19", "django has no hash"),
        ("requirements/dev.txt", "celery", "--no-deps\ncelery", "this line does not belong there: --no-deps"),
    ],
)
def test_each_difference_is_named(root: Path, file: str, old: str, new: str, problem: str) -> None:
    path = root / file
    path.write_text(path.read_text().replace(old, new, 1))

    assert f"requirements/dev.txt: {problem}" in pins.list_differences(root)
