"""Limits of WeCom's directory, in the console and in seeds."""

from __future__ import annotations

import pytest
from wecom_sandbox.state import administration
from wecom_sandbox.state.directory import Department, Directory
from wecom_sandbox.state.world import Company, World

from tests.sandbox_process import company


@pytest.fixture
def place() -> Company:
    return administration.put_company(World(), company())


def put(place: Company, number: int, name: str = "研发部", parentid: int = 1, **values: int) -> None:
    administration.put_departments(World(), place, [{"id": number, "name": name, "parentid": parentid, **values}])


@pytest.mark.parametrize(
    ("number", "name", "parentid", "complaint"),
    [
        (0, "x", 1, "is not between 2 and"),
        (2**31, "x", 1, "is not between 2 and"),
        (9, "", 1, "must have 1 to 32 characters"),
        (9, "部" * 33, 1, "must have 1 to 32 characters"),
        *((9, f"研发{character}部", 1, "must hold no") for character in '\\:*?"<>|\n\x00'),
        (9, "销售部", 1, "has another 销售部 below it"),
        (9, "x", 99, "hang on unknown parents"),
        (2, "销售部", 3, "cannot stand below itself"),
        (2, "销售部", 2, "cannot stand below itself"),
    ],
)
def test_refused_departments(place: Company, number: int, name: str, parentid: int, complaint: str) -> None:
    before = administration.company_as_json(place)

    with pytest.raises(ValueError, match=complaint):
        put(place, number, name, parentid)
    assert administration.company_as_json(place) == before


def test_names_at_their_limits_and_names_that_are_free_again(place: Company) -> None:
    put(place, 9, "部" * 32)
    put(place, 10, "a b/c（d）")
    put(place, 11, "销售部", 4)
    put(place, 4, "资金部")
    put(place, 12, "财务部")
    administration.remove_department(World(), place, 12)
    put(place, 13, "财务部")
    put(place, 1, "北山集团", 4)

    assert (place.directory.departments[1].name, place.directory.departments[1].parentid) == ("北山集团", 0)
    with pytest.raises(ValueError, match="order of department 9"):
        put(place, 9, order=2**32)


@pytest.mark.parametrize(
    ("number", "complaint"), [(1, "the root department stays"), (2, "has members"), (9, "has departments below it")]
)
def test_departments_that_stay(place: Company, number: int, complaint: str) -> None:
    put(place, 9)
    put(place, 10, parentid=9)

    with pytest.raises(ValueError, match=complaint):
        administration.remove_department(World(), place, number)


def test_there_are_fifteen_levels_and_thirty_thousand_departments(place: Company) -> None:
    """Count the root as the first level."""
    for level in range(2, 16):
        put(place, 100 + level, parentid=1 if level == 2 else 99 + level)

    with pytest.raises(ValueError, match="would stand below level 15"):
        put(place, 200, parentid=115)
    put(place, 4, "财务部", 114)
    with pytest.raises(ValueError, match="would stand below level 15"):
        put(place, 2, "销售部", 114)

    directory = Directory()
    directory.put_department(Department(id=1, name="北山制造"))
    for number in range(2, 30_001):
        directory.put_department(Department(id=number, name=f"部门{number}"))
    with pytest.raises(ValueError, match="there are 30000 departments already"):
        directory.put_department(Department(id=30_001, name="多"))
    directory.put_department(Department(id=30_000, name="改名"))
