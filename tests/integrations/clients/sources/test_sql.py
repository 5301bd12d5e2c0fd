"""Queries on real databases: which only read, which addresses are admitted, and what a failure reveals."""

import socket
import tracemalloc
from decimal import Decimal
from typing import Any

import psycopg
import pymysql
import pytest
from django.utils import translation
from sqlalchemy.exc import OperationalError

from integrations.clients.sources.addresses import (
    AllowedNetwork,
    DatabasePrivilege,
    mask_address,
    parse_database_url,
)
from integrations.clients.sources.sql import (
    SqlQuery,
    check_statement,
    explain_failure,
    find_parameters,
    find_privileges,
    list_limits,
)
from integrations.data import Problem, SourceError
from integrations.data.table import Kind
from integrations.data.table_builder import ColumnChoices
from integrations.models import datasources
from tests.integrations.clients.sources.databases import FACTS, SECRET, Database
from tests.integrations.clients.sources.place import NOW
from tests.integrations.clients.wecom.misbehaviour import BREAKS, closes, hangs, says
from tests.integrations.clients.wecom.server import listening


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


class TestEveryDatabase:
    def test_rows_come_with_their_kinds(self, database: Database) -> None:
        table = database.ask("SELECT n, city, amount AS 金额 FROM facts ORDER BY n")

        assert [(one.name, one.kind) for one in table.columns] == [
            ("n", Kind.NUMBER),
            ("city", Kind.TEXT),
            ("金额", Kind.NUMBER),
        ]
        assert [(row[0], row[1], Decimal(str(row[2]))) for row in table.rows] == FACTS
        assert (table.as_of, table.is_cut) == (NOW, False)

    def test_parameters_are_bound_whatever_they_hold(self, database: Database) -> None:
        evil = "x' OR '1'='1'; DROP TABLE facts; --"

        table = database.ask(
            "SELECT count(*) AS hits, '12:30 100% :no' AS t FROM facts WHERE city = :city OR n IN :chosen",
            city=evil,
            chosen=[1, 2],
        )

        assert table.rows == ((2, "12:30 100% :no"),)
        assert database.ask("SELECT count(*) FROM facts").rows == ((100,),)

    def test_rows_beyond_the_limit_are_cut_and_columns_stay(self, database: Database) -> None:
        table = database.ask("SELECT n, n, city FROM facts ORDER BY n", rows_at_most=7)

        assert (table.names, len(table.rows), table.is_cut) == (("n", "n (2)", "city"), 7, True)
        assert database.ask("SELECT n FROM facts", rows_at_most=100).is_cut is False
        empty = database.ask("SELECT n, city FROM facts WHERE n < 0")
        assert (empty.names, empty.rows) == (("n", "city"), ())

    @pytest.mark.parametrize(
        "statement",
        [
            *(
                "INSERT INTO facts VALUES (1, 'x', 1)",
                "DELETE FROM facts",
                "DROP TABLE facts",
                "UPDATE facts SET n = 1",
            ),
            *("SELECT 1; DELETE FROM facts", "SELECT 1;; SELECT 2", "CALL x()", "SET x = 1", "", "  ;", "-- SELECT 1"),
            *("WITH x AS (SELECT 1) DELETE FROM facts", "/* SELECT */ DELETE FROM facts", "EXPLAIN DELETE FROM facts"),
            "SELECT 1\0",
        ],
    )
    def test_what_writes_is_refused_and_writes_nothing(self, database: Database, statement: str) -> None:
        assert database.problem(statement) in (Problem.NOT_A_QUERY, Problem.QUERY_REFUSED)

        assert database.ask("SELECT count(*) FROM facts").rows == ((100,),)

    def test_an_unknown_column_and_a_parameter_without_a_value_are_named(self, database: Database) -> None:
        with pytest.raises(SourceError) as unknown:
            database.ask("SELECT nothing_of_it FROM facts")
        with pytest.raises(SourceError) as missing:
            database.ask("SELECT n FROM facts WHERE n = :missing")

        assert unknown.value.problem is Problem.QUERY_REFUSED
        assert "nothing_of_it" in str(unknown.value.facts["code"])
        assert (missing.value.problem, missing.value.facts) == (Problem.PARAMETER_MISSING, {"name": "missing"})

    def test_a_query_without_end_ends_and_one_that_sleeps_too(self, database: Database) -> None:
        tables = ", ".join(f"facts AS t{number}" for number in range(12))
        sleep = "pg_sleep" if database.url.startswith("postgresql") else "sleep"

        for endless in (f"SELECT count(*) FROM {tables}", f"SELECT {sleep}(60)"):  # noqa: S608  # ours
            assert database.problem(endless, seconds=0.5) is Problem.TOO_SLOW

    def test_a_hundred_million_rows_are_not_read_to_their_end(self, database: Database) -> None:
        table = database.ask("SELECT a.n FROM facts a, facts b, facts c, facts d", rows_at_most=2500, seconds=30)

        assert (len(table.rows), table.is_cut) == (2500, True)

    def test_a_wrong_password_a_missing_database_and_no_server_are_told_apart(self, database: Database) -> None:
        port = database.url.rpartition(":")[2].partition("/")[0]

        assert Database(database.url.replace(SECRET, "wrong")).problem("SELECT 1") is Problem.CREDENTIALS_REFUSED
        assert database.problem("SELECT n FROM hidden") is Problem.NO_RIGHT
        nothing = Database(database.url.rpartition("/")[0] + "/nothing").problem("SELECT 1")
        # MariaDB does not reveal whether the database exists.
        assert nothing in (Problem.NO_DATABASE, Problem.NO_RIGHT)
        assert Database(database.url.replace(port, "1")).problem("SELECT 1") is Problem.UNREACHABLE


# A value of so many letters, and one that is nested.
LETTERS = {
    "postgresql": ("repeat('x', {})", "jsonb_build_array(repeat('x', {}))", "array[repeat('x', {})]"),
    "mariadb": ("repeat('x', {})",),
}


@pytest.mark.parametrize(("kind", "letters"), [(kind, one) for kind, some in LETTERS.items() for one in some])
def test_of_large_values_no_more_is_fetched_than_is_kept(
    kind: str, letters: str, request: pytest.FixtureRequest
) -> None:
    database: Database = request.getfixturevalue(kind)
    statement = f"SELECT {letters.format(500_000)} FROM facts AS a, facts AS b"  # noqa: S608  # ours
    tracemalloc.start()
    try:
        problem = database.problem(statement, rows_at_most=10_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert problem is Problem.TOO_BIG
    assert peak < 100 * 2**20


def test_numbers_of_very_many_digits_count_as_they_are_written(postgresql: Database) -> None:
    statement = "SELECT (10 ^ 50000::numeric)::numeric AS n FROM facts AS a, facts AS b"

    assert postgresql.problem(statement, rows_at_most=10_000) is Problem.TOO_BIG


ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT {} FROM t"


def test_an_infinite_recursion_ends_or_is_cut(postgresql: Database) -> None:
    """Leave out MariaDB, which itself stops after 1,000 rounds."""
    assert postgresql.problem(ENDLESS.format("count(*)"), seconds=0.5) is Problem.TOO_SLOW
    assert postgresql.ask(ENDLESS.format("n"), rows_at_most=5000).is_cut is True


class TestServers:
    def test_a_locked_table_is_busy(self, postgresql: Database) -> None:
        with psycopg.connect(postgresql.url) as connection:
            connection.execute("LOCK TABLE facts IN ROW EXCLUSIVE MODE")
            assert postgresql.ask("SELECT count(*) FROM facts").rows == ((100,),)
        # The reader may not lock the whole table, so a waiting function replaces the lock.
        with psycopg.connect(postgresql.url) as connection:
            connection.execute("SELECT pg_advisory_lock(7)")
            assert postgresql.problem("SELECT pg_advisory_lock(7)", seconds=4) is Problem.BUSY

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT set_config('transaction_read_only', 'off', false)",
            "SELECT nextval('x')",
            "SELECT n FROM facts FOR UPDATE",
            "WITH d AS (DELETE FROM facts RETURNING n) SELECT * FROM d",
            "SELECT * INTO stolen FROM facts",
        ],
    )
    def test_nothing_ends_the_read_only_transaction(self, postgresql: Database, statement: str) -> None:
        assert postgresql.problem(statement) in (Problem.NOT_A_QUERY, Problem.QUERY_REFUSED, Problem.NO_RIGHT)

        assert postgresql.ask("SELECT count(*) FROM facts").rows == ((100,),)

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT 1 /*! INTO OUTFILE '/tmp/x' */",
            "SELECT 1 /*M! INTO OUTFILE '/tmp/x' */",
            "SELECT 1 INTO OUTFILE '/tmp/x'",
            "TABLE facts INTO/**/DUMPFILE '/tmp/x'",
            # MySQL takes this for no comment: it wants a space after the dashes.
            "SELECT 1--1 INTO OUTFILE '/tmp/x'",
            "SELECT 1--\u00a01 INTO OUTFILE '/tmp/x'",
            # One text to MySQL, which escapes by a backslash; two texts if its settings say so.
            'SELECT "a\\"" INTO OUTFILE "/tmp/x"',
            r"SELECT '\' INTO OUTFILE '/tmp/x' -- '",
        ],
    )
    def test_no_file_is_written(self, mariadb: Database, statement: str) -> None:
        assert mariadb.problem(statement) is Problem.NOT_A_QUERY

    @pytest.mark.parametrize("value", ["'infinity'::date", "'10000-01-01'::date", "'0044-03-15 BC'::timestamp"])
    def test_a_date_that_python_does_not_have_is_said_so(self, postgresql: Database, value: str) -> None:
        with pytest.raises(SourceError) as found:
            postgresql.ask(f"SELECT {value} AS until")

        assert (found.value.problem, found.value.facts) == (Problem.NO_TABLE, {"what": "beyond"})
        assert found.value.is_temporary is False
        with translation.override("en"):
            assert "infinity" in datasources.explain_problem(found.value.problem, found.value.facts)

    def test_parameters_stand_in_arrays_and_beside_escaped_texts(self, postgresql: Database) -> None:
        statement = (
            r"SELECT n, E'it\'s :x' AS said FROM facts WHERE n = ANY(array[:a, :b]) AND n < :most::int ORDER BY n"
        )

        assert postgresql.ask(statement, a=3, b=5, most=5).rows == ((3, "it's :x"),)

    def test_texts_of_mysql_are_escaped_by_backslashes(self, mariadb: Database) -> None:
        assert mariadb.ask(r"""SELECT 'it\'s; :x', "a\";:y", :b""", b=7).rows == (("it's; :x", 'a";:y', 7),)


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "flaw"),
        [
            ("nonsense", "no-address"),
            ("postgresql://h:port/db", "no-address"),
            ("oracle://h/db", "no-driver"),
            ("sqlite:////etc/passwd", "no-driver"),
            ("postgresql+asyncpg://h/db", "no-driver"),
            ("postgresql:///db", "no-host"),
            ("postgresql://%2Fvar%2Frun/db", "no-host"),
            ("postgresql://a,b/db", "no-host"),
            ("postgresql://h", "no-database"),
            ("postgresql://h/db?host=/var/run", "option"),
            ("postgresql://h/db?options=-cstatement_timeout%3D0", "option"),
            ("postgresql://h/db?sslkey=/etc/key", "option"),
            ("postgresql://h/db?service=x", "option"),
            ("mysql://h/db?unix_socket=/x", "option"),
            ("mysql://h/db?local_infile=1", "option"),
            ("mysql://h/db?read_default_file=/etc/my.cnf", "option"),
            ("mysql://h/db?init_command=DROP", "option"),
            ("mysql://h/db?client_flag=65536", "option"),
        ],
    )
    def test_what_could_lead_elsewhere_is_refused(self, url: str, flaw: str) -> None:
        with pytest.raises(SourceError) as found:
            parse_database_url(url)

        assert found.value.facts["what"] == flaw
        with pytest.raises(SourceError):  # a file is refused with any allowed drivers
            parse_database_url("sqlite+pysqlite:////data/facts.db", ["sqlite+pysqlite"])

    def test_usual_ones_get_their_driver(self) -> None:
        for url, driver in (
            ("postgres://u:p@h/db?sslmode=require", "postgresql+psycopg"),
            ("mariadb://u:p@h:3307/db?charset=utf8mb4", "mysql+pymysql"),
        ):
            assert parse_database_url(url).drivername == driver
        oracle = parse_database_url("oracle+oracledb://u:p@h/db?service_name=x", ["oracle+oracledb"])
        assert oracle.drivername == "oracle+oracledb"

    def test_a_page_shows_neither_password_nor_options(self) -> None:
        assert mask_address(f"postgresql://u:{SECRET}@h/db?sslmode=require&x={SECRET}") == "postgresql://u:***@h/db"
        assert mask_address("nonsense") == ""

    def test_a_driver_that_is_not_installed_is_named(self) -> None:
        database = Database("oracle+oracledb://u:p@localhost/db", ["oracle+oracledb"])

        assert database.problem("SELECT 1") is Problem.DRIVER_MISSING


class TestStatements:
    def test_a_semicolon_at_the_end_or_inside_a_text_is_none(self) -> None:
        assert check_statement("SELECT ';' AS a ; ") == "SELECT ';' AS a"
        assert check_statement('SELECT 1 AS ";" -- ; end') == 'SELECT 1 AS ";" -- ; end'
        assert check_statement("(SELECT 1) UNION (SELECT 2)") == "(SELECT 1) UNION (SELECT 2)"

    def test_colons_in_texts_casts_and_comments_are_no_parameters(self) -> None:
        statement = "SELECT ':a', \":b\", x::date, :c, $$:d$$ -- :e\n/* :f */ WHERE y = :c AND z = :g"

        assert find_parameters(statement) == ["c", "g"]

    @pytest.mark.parametrize(
        ("backend", "statement", "names"),
        [
            ("mysql", r"SELECT 'it\'s :a', :b", ["b"]),
            ("mariadb", r'SELECT "it\"s :a", :b', ["b"]),
            ("mysql", "SELECT 1--:a # :b", ["a"]),
            ("mysql", "SELECT 1 -- :a\n, :b --", ["b"]),
            ("postgresql", "SELECT n = ANY(array[:a, :b])", ["a", "b"]),
            ("postgresql", r"SELECT E'it\'s :x', e'\\', ':y', :z", ["z"]),
            ("postgresql", r"SELECT '\', :a, '\'", ["a"]),
            ("postgresql", "SELECT 1 -- :a\r, :b", ["b"]),
            ("postgresql", "SELECT $a1$ :a $a1$, $年$ :b $年$, x$y$z, :c, x$y$z", ["c"]),
            ("mssql", 'SELECT [a :x], `b :y`, "c :z", :n', ["n"]),
        ],
    )
    def test_what_is_quoted_is_what_the_database_takes_for_it(
        self, backend: str, statement: str, names: list[str]
    ) -> None:
        assert find_parameters(statement, backend=backend) == names

    def test_a_query_about_files_is_one_where_it_writes_none(self) -> None:
        assert check_statement("SELECT outfile FROM jobs", backend="postgresql") == "SELECT outfile FROM jobs"
        for statement in ("SELECT 'INTO OUTFILE'", "SELECT " + "1," * 20_000 + "1"):
            with pytest.raises(SourceError):
                check_statement(statement, backend="mysql")


@pytest.mark.parametrize(
    ("is_mariadb", "seconds", "first", "wait"),
    [
        (True, 30, "SET SESSION max_statement_time = 30.000", 15),
        (False, 30, "SET SESSION max_execution_time = 30000", 15),
        (True, 0, "SET SESSION max_statement_time = 0.001", 1),
        (False, 0, "SET SESSION max_execution_time = 1", 1),  # 0 would be no limit
    ],
)
def test_each_of_the_two_mysqls_gets_its_own_time_limit(
    is_mariadb: bool, seconds: float, first: str, wait: int
) -> None:
    assert list_limits("mysql", is_mariadb=is_mariadb, seconds=seconds) == (
        first,
        f"SET SESSION lock_wait_timeout = {wait}",
        f"SET SESSION innodb_lock_wait_timeout = {wait}",
        "START TRANSACTION READ ONLY",
    )


def test_a_mysql_that_falls_silent_is_too_slow() -> None:
    lost = pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query (timed out)")

    found = explain_failure(OperationalError("SELECT 1", None, lost), "pymysql", seconds=2.4)

    assert (found.problem, found.facts) == (Problem.TOO_SLOW, {"seconds": 2})


def test_nothing_of_a_query_is_in_its_representation() -> None:
    url = parse_database_url(f"postgresql://u:{SECRET}@sim-host/db")
    query = SqlQuery(url, "SELECT 1", {"x": "sim-value"}, choices=ColumnChoices())

    assert SECRET not in repr(query)
    assert "sim-" not in repr(query)


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
        with datasources.set_network_access(lambda: True):
            seen = {datasources.explain_problem(one.problem, one.facts) for one in failures}

    [sentence] = told
    assert sentence.startswith("The data source gave no answer.")
    assert any(one.startswith("The data source could not be reached") for one in seen)
    assert len(seen) > 1


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_what_an_account_may_do_beyond_reading_tables_is_known(kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(kind)

    found = {
        account: find_privileges(database.of_account(account).query(), seconds=10)
        for account in ("reader", "filer", "chief")
    }

    assert found["reader"] == frozenset()
    assert found["filer"] == {DatabasePrivilege.FILES}
    assert DatabasePrivilege.SUPERUSER in found["chief"]


def test_other_databases_are_not_asked_about_their_accounts() -> None:
    assert find_privileges(Database("oracle+oracledb://u:p@h/db", ORACLE).query(), seconds=10) == frozenset()
