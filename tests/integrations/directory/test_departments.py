"""The people that a chosen department means, also in a broken tree."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.directory.departments import LEVELS_AT_MOST, DepartmentTree, find_paths
from integrations.models import Corp, Department

pytestmark = pytest.mark.django_db


def make_corp(name: str) -> Corp:
    return Corp.objects.create(name=name, corpid="ww0123456789abcdef", agentid=Corp.objects.count() + 1, secret="s")


def make(corp: Corp, tree: dict[int, int | None], **values: Any) -> dict[int, int]:
    """Make departments from the number of each one's parent. Return their keys by number."""
    rows = [
        Department(corp=corp, wecom_department_id=number, wecom_parent_id=parent, name=f"D{number}", **values)
        for number, parent in tree.items()
    ]
    return {one.wecom_department_id: one.pk for one in Department.objects.bulk_create(rows)}


def find_covered(keys: list[int], *, with_subdepartments: bool) -> set[int]:
    return DepartmentTree.of_departments(keys).find_covered(keys, with_subdepartments=with_subdepartments)


def test_a_department_means_itself_and_all_below(corp: Corp) -> None:
    keys = make(corp, {1: None, 2: 1, 3: 2, 4: 1})
    elsewhere = make(make_corp("南湖贸易"), {1: None, 2: 1})

    assert find_covered([keys[2]], with_subdepartments=True) == {keys[2], keys[3]}
    assert find_covered([keys[2]], with_subdepartments=False) == {keys[2]}
    assert find_covered([keys[4], elsewhere[1]], with_subdepartments=True) == {keys[4], *elsewhere.values()}
    assert find_covered([], with_subdepartments=True) == set()


def test_a_department_that_is_gone_means_nothing(corp: Corp) -> None:
    keys = make(corp, {1: None, 2: 1, 3: 2})
    Department.objects.filter(pk=keys[2]).update(removed_at=timezone.now())

    assert find_covered([keys[2]], with_subdepartments=True) == set()
    assert find_covered([keys[2]], with_subdepartments=False) == set()
    assert find_covered([keys[1]], with_subdepartments=True) == {keys[1]}


def test_a_cycle_and_a_missing_parent_hang_nothing(corp: Corp) -> None:
    keys = make(corp, {7: 8, 8: 7, 9: 8, 5: 99})

    assert find_covered([keys[7]], with_subdepartments=True) == {keys[7], keys[8], keys[9]}
    assert find_covered([keys[5]], with_subdepartments=True) == {keys[5]}
    paths = find_paths(Department.objects.all())
    assert paths[keys[9]] == "北山制造 › D7 › D8 › D9"
    assert paths[keys[5]] == "北山制造 › D5"


@given(parents=st.dictionaries(st.integers(1, 12), st.one_of(st.none(), st.integers(1, 14)), min_size=1))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_stands_above_is_what_means_it(corp: Corp, parents: dict[int, int | None]) -> None:
    """Compare both directions for any tree with a removed department."""
    Department.objects.all().delete()
    keys = make(corp, parents)
    Department.objects.filter(wecom_department_id=3).update(removed_at=timezone.now())

    for key in keys.values():
        means_it = {one for one in keys.values() if key in find_covered([one], with_subdepartments=True)}
        assert DepartmentTree.of_departments([key]).find_covering([key]) == means_it


@given(parents=st.dictionaries(st.integers(1, 12), st.one_of(st.none(), st.integers(1, 14)), min_size=1))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_parents_give_every_department_a_path_that_ends_with_it(corp: Corp, parents: dict[int, int | None]) -> None:
    Department.objects.all().delete()
    keys = make(corp, parents)

    paths = find_paths(Department.objects.all())

    assert set(paths) == set(keys.values())
    for number, key in keys.items():
        assert paths[key].split(" › ")[-1] == f"D{number}"
        assert find_covered([key], with_subdepartments=True) >= {key}


def test_a_path_begins_with_the_company_once(corp: Corp) -> None:
    keys = make(corp, {1: None, 2: 1, 3: 2})
    Department.objects.filter(pk=keys[1]).update(name="北山制造")
    other = make(make_corp("南湖贸易"), {6: 1})

    paths = find_paths(Department.objects.filter(pk__in=[keys[1], keys[3], other[6]]))

    assert paths == {keys[1]: "北山制造", keys[3]: "北山制造 › D2 › D3", other[6]: "南湖贸易 › D6"}


def test_what_is_gone_is_called_so(corp: Corp) -> None:
    keys = make(corp, {1: None, 2: 1}, removed_at=timezone.now())

    with translation.override("zh-hans"):
        assert find_paths(Department.objects.filter(pk=keys[2])) == {keys[2]: "北山制造 › D2（已不存在）"}


def test_paths_cost_two_queries_and_are_cut_at_their_top(corp: Corp) -> None:
    keys = make(corp, {number: number - 1 for number in range(1, 40)})

    with CaptureQueriesContext(connection) as queries:
        [path] = find_paths(Department.objects.filter(pk=keys[39])).values()

    assert len(queries) == 3  # with that of the chosen ones
    assert path.split(" › ")[-1] == "D39"
    assert len(path.split(" › ")) == LEVELS_AT_MOST + 1
