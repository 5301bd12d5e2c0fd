"""Limits of a database source: its addresses, what a failure reveals of the network, and its account's rights."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.utils import translation

from integrations.clients.sources import DatabasePrivilege, Problem, SourceError
from integrations.clients.sources.addresses import AllowedNetwork
from integrations.clients.sources.sql import find_privileges
from integrations.models import datasources
from tests.integrations.clients.sources.databases import SECRET, Database
from tests.integrations.clients.wecom.misbehaviour import BREAKS, closes, hangs, says
from tests.integrations.clients.wecom.server import listening

ORACLE = ("oracle+oracledb",)
FORBIDDEN = {
    "127.0.0.1": (AllowedNetwork.THIS_MACHINE, Problem.LOOPBACK_FORBIDDEN),
    "localhost": (AllowedNetwork.THIS_MACHINE, Problem.LOOPBACK_FORBIDDEN),
    "[::1]": (AllowedNetwork.THIS_MACHINE, Problem.LOOPBACK_FORBIDDEN),
    "10.0.0.1": (AllowedNetwork.PRIVATE, Problem.ADDRESS_FORBIDDEN),
    "169.254.169.254": (AllowedNetwork.NOWHERE, Problem.ADDRESS_NEVER),
    "[::ffff:169.254.169.254]": (AllowedNetwork.NOWHERE, Problem.ADDRESS_NEVER),
    "0.0.0.0": (AllowedNetwork.NOWHERE, Problem.ADDRESS_NEVER),  # noqa: S104  # nothing is bound to it
}


@pytest.mark.parametrize("kind", ["postgresql", "mysql", "oracle+oracledb"])
@pytest.mark.parametrize("host", FORBIDDEN)
def test_no_address_beyond_the_reach_of_a_source_is_connected_to(
    kind: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resolve an address to this machine, the only one that tests can look up."""
    needed, problem = FORBIDDEN[host]
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 1))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_given, **_named: found)
    url = f"{kind}://u:p@{host}/db"

    for reach in (one for one in (AllowedNetwork.PRIVATE, AllowedNetwork.THIS_MACHINE) if one < needed):
        assert Database(url, ORACLE, reach).problem("SELECT 1") is problem
    # Nobody knows where a driver of others connects to.
    unchecked = Problem.DRIVER_UNCHECKED if kind.startswith("oracle") else problem
    assert Database(url, ORACLE, AllowedNetwork.PUBLIC).problem("SELECT 1") is unchecked


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_database_is_asked_at_the_address_that_was_checked(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defeat DNS rebinding: at every look-up but the first the name leads elsewhere."""
    database: Database = request.getfixturevalue(kind)
    port = int(database.url.rpartition(":")[2].partition("/")[0])
    looked_up: list[str] = []
    usual = socket.getaddrinfo

    def answers(host: Any, *given: Any, **named: Any) -> list[Any]:
        if host != "rebind.example.com":
            return usual(host, *given, **named)
        looked_up.append(host)
        address = "127.0.0.1" if len(looked_up) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)

    table = Database(database.url.replace("127.0.0.1", "rebind.example.com")).ask("SELECT count(*) FROM facts")

    assert (table.rows, looked_up) == (((100,),), ["rebind.example.com"])


# --- What a failure reveals of the network ----------------------------------------------------------------------------


def failure_at(kind: str, place: str) -> SourceError:
    with pytest.raises(SourceError) as found:
        Database(f"{kind}://reader:{SECRET}@{place}/sales").ask("SELECT 1", seconds=1)
    return found.value


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_open_and_closed_ports_are_told_apart_to_superusers_alone(kind: str) -> None:
    failures = [failure_at(kind, "127.0.0.1:1")]
    for answer in (hangs, BREAKS["no HTTP"], says(bytes(4000)), closes):
        with listening(answer) as url:
            failures.append(failure_at(kind, url.removeprefix("http://")))

    with translation.override("en"):
        told = {datasources.explain_problem(one.problem, one.facts) for one in failures}
        with datasources.read_by(lambda: True):
            seen = {datasources.explain_problem(one.problem, one.facts) for one in failures}

    [sentence] = told
    assert sentence.startswith("The data source gave no answer.")
    assert any(one.startswith("The data source could not be reached") for one in seen)
    assert len(seen) > 1


# --- Accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_what_an_account_may_do_beyond_reading_tables_is_known(kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(kind)

    found = {
        account: find_privileges(database.of_account(account).question(), seconds=10)
        for account in ("reader", "filer", "chief")
    }

    assert found["reader"] == frozenset()
    assert found["filer"] == {DatabasePrivilege.FILES}
    assert DatabasePrivilege.SUPERUSER in found["chief"]


def test_other_databases_are_not_asked_about_their_accounts() -> None:
    assert find_privileges(Database("oracle+oracledb://u:p@h/db", ORACLE).question(), seconds=10) == frozenset()
