"""Diagrams of the guides as tables."""

from __future__ import annotations

import pytest

from tools.guides.additions import NotUnderstoodError, as_table

SEQUENCE = """sequenceDiagram
    actor P as Person
    participant S as Site
    P->>S: a | b
    loop until it is done
        S-->>P: again
    end
    Note over S: thinks
"""
WAYS = """flowchart TD
    A[start] --> B{ready?}
    B -- yes --> C[end]
    B -- "no, once" --> A --> D[other]
"""


def test_messages_are_rows_in_their_order() -> None:
    assert as_table(SEQUENCE, "en").splitlines()[2:] == [
        r"| Person → Site | a \| b |",
        "| | *again and again, until it is done* |",
        "| · Site → Person | again |",
        "| Site | thinks |",
    ]


def test_each_step_says_where_it_leads() -> None:
    assert as_table(WAYS, "zh-hans").splitlines() == [
        "| 步骤 | 下一步 |",
        "|---|---|",
        "| start | ready?<br/>other |",
        "| ready? | yes: end<br/>no, once: start |",
    ]


@pytest.mark.parametrize("source", ["sequenceDiagram\n  alt x", "flowchart TD\n  subgraph x y"])
def test_what_no_table_says_fails_the_build(source: str) -> None:
    with pytest.raises(NotUnderstoodError):
        as_table(source, "en")
