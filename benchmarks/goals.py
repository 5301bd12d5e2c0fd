"""Goals of the benchmarks. Each is printed on a line, and stored for the table of `python -m benchmarks`."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Environment variable with the path of the file to which programs add their goals, as JSON lines.
FILE_VARIABLE = "GUANWECOM_BENCH_GOALS"
_SIGNS = {"≤": operator.le, "<": operator.lt, "≥": operator.ge, "=": operator.eq}


@dataclass(frozen=True)
class Goal:
    """A goal and its result. `work`: what was measured, unique. `measured`, `wanted`: with their units."""

    work: str
    measured: str
    wanted: str
    is_met: bool

    @classmethod
    def of(cls, work: str, measured: float, sign: str, wanted: float, unit: str = "", *, digits: int = 0) -> Goal:
        """Make a goal about a number, which is compared before it is rounded to `digits`."""
        unit = f" {unit}" if unit else ""
        is_met = bool(_SIGNS[sign](measured, wanted))
        return cls(work, f"{measured:,.{digits}f}{unit}", f"{sign} {wanted:,.10g}{unit}", is_met)

    @classmethod
    def of_failure(cls, program: str, status: int) -> Goal:
        """Make a missed goal for a program that failed."""
        return cls(f"{program}: exit status", str(status), "= 0", is_met=False)

    @property
    def word(self) -> str:
        return "met" if self.is_met else "MISSED"

    def __str__(self) -> str:
        return f"{self.work}: {self.measured}, wanted {self.wanted}: {self.word}"


# Figures of a measurement, and its goals.
Measurement = tuple[dict[str, Any], list[Goal]]


def make_goals_json(goals: Sequence[Goal]) -> dict[str, Any]:
    """Return the goals in the form that results store."""
    return {
        "goal": "; ".join(f"{goal.work} {goal.wanted}" for goal in goals),
        "is_met": all(goal.is_met for goal in goals),
    }


def report_goals(goals: Sequence[Goal]) -> bool:
    """Print each goal on a line and add it to the file that FILE_VARIABLE names. Return whether all are met."""
    print(*goals, sep="\n", flush=True)
    if path := os.environ.get(FILE_VARIABLE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(goal), ensure_ascii=False) + "\n" for goal in goals)
    return all(goal.is_met for goal in goals)


def read_reported_goals(path: str | Path) -> list[Goal]:
    """Return the goals that programs added to the file, if it exists."""
    lines = Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []
    return [Goal(**json.loads(line)) for line in lines]
