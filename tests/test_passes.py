"""Which pass of `make test` runs which test: decided for the very tests that stand here."""

from __future__ import annotations

import pytest

from tests.passes import passes_of

PASSES = ["sqlite", "postgresql"]


def test_one_without_a_database_runs_once(request: pytest.FixtureRequest) -> None:
    assert passes_of(request.node, PASSES) == ["sqlite"]


@pytest.mark.django_db
def test_one_with_a_database_runs_on_each(request: pytest.FixtureRequest) -> None:
    assert passes_of(request.node, PASSES) == PASSES


def test_one_that_gets_its_database_by_a_fixture_runs_on_each(
    request: pytest.FixtureRequest, process_environ: dict[str, str]
) -> None:
    assert passes_of(request.node, PASSES) == PASSES


@pytest.mark.processes
@pytest.mark.django_db
def test_one_that_starts_processes_runs_on_the_database_of_production(request: pytest.FixtureRequest) -> None:
    assert passes_of(request.node, PASSES) == ["postgresql"]


@pytest.mark.e2e
def test_a_browser_without_a_database_runs_once(request: pytest.FixtureRequest) -> None:
    assert passes_of(request.node, PASSES) == ["sqlite"]


@pytest.mark.processes
@pytest.mark.each_database
@pytest.mark.django_db
def test_one_that_says_so_runs_on_each(request: pytest.FixtureRequest) -> None:
    assert passes_of(request.node, PASSES) == PASSES


@pytest.mark.postgresql
def test_one_for_postgresql_runs_there(request: pytest.FixtureRequest) -> None:
    assert passes_of(request.node, PASSES) == ["postgresql"]


@pytest.mark.django_db
@pytest.mark.processes
def test_where_there_is_one_pass_it_runs_everything(request: pytest.FixtureRequest) -> None:
    assert passes_of(request.node, ["sqlite"]) == ["sqlite"]
