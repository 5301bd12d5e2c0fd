"""Trees that are none, and what is a difference: pure functions, for any values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from integrations.directory import departments
from integrations.directory.diff import DepartmentState, MemberState, department_differences, difference
from integrations.directory.fetch import PLAIN_FIELDS, Person, SeenDepartment, clean
from integrations.models import Member, SyncChange

HERE, Kind = Member.Presence.HERE, SyncChange.Kind
numbers = st.integers(1, 12)
parents = st.dictionaries(numbers, st.none() | numbers)
texts = st.none() | st.text(max_size=5)


def state(**values: object) -> MemberState:
    plain = tuple(values.pop(name, None) for name in PLAIN_FIELDS)
    known = {"pk": 1, "userid": "lilei", "folded": "lilei", "presence": HERE, "is_waiting": False, "status": None}
    return MemberState(**{**known, "departments": {}, "values": plain, **values})  # type: ignore[arg-type]  # a test's


@given(parents=parents, roots=st.lists(numbers))
def test_any_tree_ends(parents: dict[int, int | None], roots: list[int]) -> None:
    below = departments.subtree(parents, roots)

    assert set(roots) & set(parents) <= below <= set(parents)
    assert all(number in below for number, parent in parents.items() if parent in below)


@given(parents=parents)
def test_every_department_hangs_on_a_top_or_in_a_cycle(parents: dict[int, int | None]) -> None:
    cycles = departments.in_cycles(parents)

    assert departments.subtree(parents, departments.tops(parents)) | cycles == set(parents)
    for number in cycles:
        assert parents[number] in cycles or parents[number] in parents


@given(name=texts, alias=texts, mobile=texts, status=st.none() | st.sampled_from(["active", "disabled"]))
def test_what_is_unknown_is_no_difference(
    name: str | None, alias: str | None, mobile: str | None, status: str | None
) -> None:
    known = state(name=name, alias=alias, mobile=mobile, status=status, departments={2: True})

    assert difference(known, Person("lilei", {2: None}), HERE) is None
    assert difference(known, Person("lilei", {2: True}, name, alias, None, mobile, status=status), HERE) is None


def test_the_weightiest_change_names_the_difference() -> None:
    known = state(name="李雷", status="active", departments={2: None})
    seen = Person("lilei", {3: True}, name="李磊", status="disabled")

    found = difference(known, seen, HERE)

    assert found is not None
    assert found.kind == Kind.DISABLED
    assert found.record == {"name": ["李雷", "李磊"], "status": ["active", "disabled"], "departments": [[2], [3]]}


def test_a_new_leader_is_a_difference() -> None:
    found = difference(state(departments={2: False, 3: None}), Person("lilei", {2: True, 3: None}), HERE)

    assert found is not None
    assert found.record == {"leads": [[], [2]]}
    assert found.departments == {2: True, 3: None}


@given(text=st.text(), longest=st.integers(0, 20))
def test_a_cleaned_text_can_be_stored_and_stays_so(text: str, longest: int) -> None:
    cleaned = clean(text, longest)

    assert len(cleaned) <= longest
    assert "\x00" not in cleaned
    cleaned.encode()
    assert clean(cleaned, longest).strip() == cleaned.strip()


def test_emoji_of_several_characters_stay_whole() -> None:
    assert clean("家 👨\u200d👩\u200d👧\ufeff\n", 128) == "家 👨\u200d👩\u200d👧"


def test_departments_that_come_go_and_return() -> None:
    states = [
        DepartmentState(1, 1, None, "公司", 0, is_removed=False),
        DepartmentState(2, 2, 1, "销售部", 5, is_removed=True),
        DepartmentState(3, 3, 1, "财务部", 0, is_removed=False),
        DepartmentState(4, 4, 1, None, 0, is_removed=True),
    ]
    seen = {
        1: SeenDepartment(1, None),
        2: SeenDepartment(2, 5, "销售", 5),
        5: SeenDepartment(5, 1, "法务部"),
    }

    found = department_differences(states, seen)

    assert [one.number for one in found.created] == [5]
    assert found.changed == {2: {"removed_at": None, "name": "销售", "wecom_parent_id": 5}}
    assert found.removed == [3]
    assert found.count == 3
