"""A bad value in the environment: the start stops and names the variable, in a process of its own."""

import os
import runpy
import socket
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import global_settings
from django.db import connection

from guanwecom import environment
from guanwecom.environment import database
from guanwecom.version import VERSION
from tests.programs import run_program

READ = "from django.conf import settings; print({})"
GOOD = {
    "ENVIRONMENT": "test",
    "SECRET_KEY": "x" * 40,
    "FIELD_ENCRYPTION_KEYS": "c2V0dGluZ3MtdGVzdHMtb25seS1rZXktMDEyMzQ1YWI=",
    "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/unused",
    "VALKEY_URL": "redis://127.0.0.1:1/0",
    "DJANGO_SETTINGS_MODULE": "guanwecom.settings",
}


def start(root: Path, expression: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Start a Python process whose environment has only the settings; None leaves a variable out."""
    variables = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    env = {"PATH": os.environ["PATH"], **variables}
    return run_program([sys.executable, "-c", READ.format(expression)], env=env, cwd=root)


def value(root: Path, expression: str, **changes: str | None) -> str:
    done = start(root, expression, **changes)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("ENVIRONMENT", "staging"), ("SECRET_KEY", None)),
        ("DATABASE_URL", "postgresql://user:pa55/word@db.example/name"),
        ("VALKEY_URL", "redis://:pa55/word@valkey.example:6379/0"),
    ],
)
def test_a_bad_value_ends_a_process_that_reads_the_settings(project_root: Path, name: str, bad: str | None) -> None:
    done = start(project_root, "settings.DEBUG", **{name: bad})

    assert done.returncode != 0
    assert f"ImproperlyConfigured: {name}: " in done.stderr.splitlines()[-1]
    assert "pa55" not in done.stderr


def test_defaults(project_root: Path) -> None:
    names = "ENVIRONMENT", "DEBUG", "LANGUAGE_CODE", "TIME_ZONE", "TRUSTED_PROXIES", "EXTRA_ALLOWED_HOSTS"

    shown = value(project_root, ", ".join(f"settings.{name}" for name in names), ENVIRONMENT=None)

    assert shown == "production False zh-hans Asia/Shanghai [] []"


def test_a_secret_may_come_from_a_file(project_root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("y" * 40 + "\n")

    assert value(project_root, "settings.SECRET_KEY", SECRET_KEY=None, SECRET_KEY_FILE=str(secret)) == "y" * 40


def test_lists_are_separated_by_commas_and_hosts_written_as_browsers_write_them() -> None:
    hosts = " a.example , Maps.Example:8443,FD00::1,[fd00::2]:8443,"
    assert environment.list_of(environment.host)(hosts) == [
        "a.example",
        "maps.example:8443",
        "[fd00::1]",
        "[fd00::2]:8443",
    ]
    networks = environment.list_of(environment.network)("10.0.0.0/8, fd00::/8,192.0.2.7")
    assert [str(network) for network in networks] == ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:p%40ss@db.example:5433/name", ["db.example", 5433, "name", "u", "p@ss", None]),
        ("postgresql://u:@/name?host=/run/postgresql", ["", "", "name", "u", "", "/run/postgresql"]),
    ],
)
def test_postgresql(url: str, found: list[object]) -> None:
    given = database(url)

    names = ("HOST", "PORT", "NAME", "USER", "PASSWORD")
    assert [*(given[name] for name in names), given["OPTIONS"].get("host")] == found


def test_a_connection_to_postgresql_whose_server_is_gone_ends_within_a_minute() -> None:
    """Let the address set other options, or none for a pooler that refuses them."""
    options = database("postgresql://u:p@db.example/name?connect_timeout=3")["OPTIONS"]

    assert options == {
        "connect_timeout": 3,
        "keepalives": 1,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "options": "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
        " -c tcp_user_timeout=30000 -c idle_in_transaction_session_timeout=60000",
    }
    assert "options" not in database("postgresql://u:p@pooler.example/name?options=")["OPTIONS"]


@pytest.mark.django_db
def test_this_connection_has_these_limits() -> None:
    connection.ensure_connection()

    with socket.socket(fileno=os.dup(connection.connection.fileno())) as own:
        limits = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert [own.getsockopt(socket.IPPROTO_TCP, limit) for limit in limits] == [15, 5, 3, 30_000]
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "user_timeout")
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"current_setting('tcp_{name}')" for name in names))
        assert cursor.fetchone() == ("15", "5", "3", "30000")
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://:pw@127.0.0.1:6379/2", "redis://:pw@127.0.0.1:6379/2"),
        ("rediss://valkey.example:6380/0", "rediss://valkey.example:6380/0"),
        ("unix:///run/valkey.sock?db=3", "redis+socket:///run/valkey.sock?virtual_host=3"),
        ("unix:///run/valkey.sock", "redis+socket:///run/valkey.sock?virtual_host=0"),
        (
            "rediss+sentinel://app:p%2Fw@a.example,b.example:26380/main.primary/2",
            "sentinel://app:p%2Fw@a.example:26379/2;sentinel://app:p%2Fw@b.example:26380/2",
        ),
        ("redis+sentinel://a.example/main", "sentinel://a.example:26379/0"),
    ],
)
def test_celery_gets_its_own_spelling_of_valkey_s_address(url: str, broker: str) -> None:
    assert environment.build_valkey_settings(url, "", "").broker_url == broker


def test_sentinels_are_asked_for_the_primary_and_verified_as_it_is() -> None:
    url = "rediss+sentinel://app:p%2Fw@a.example,b.example:26380/main.primary/2"
    verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, "ssl_ca_certs": "/ca.pem"}
    connecting = {"socket_timeout": 5, "socket_connect_timeout": 3, "ssl": True, **verified}
    asked = {**connecting, "password": "another"}

    found = environment.build_valkey_settings(url, "/ca.pem", "another")

    assert found.redis_options == {
        **{"sentinels": [("a.example", 26379), ("b.example", 26380)], "service_name": "main.primary", "db": 2},
        **{"username": "app", "password": "p/w", "sentinel_kwargs": asked},
        **connecting,
    }
    assert found.tls_options == verified
    broker = found.broker_options
    assert (broker["master_name"], broker["sentinel_kwargs"]) == ("main.primary", asked)


@pytest.mark.parametrize(
    ("query", "wanted"), [("", "read-write"), ("?target_session_attrs=prefer-standby", "prefer-standby")]
)
def test_of_several_databases_the_one_that_takes_writes_is_used(query: str, wanted: str) -> None:
    found = database(f"postgresql://u:p@a.example:5432,b.example:5433/name{query}")

    assert (found["HOST"], found["PORT"]) == ("a.example,b.example", "5432,5433")
    assert found["OPTIONS"]["target_session_attrs"] == wanted


@pytest.mark.parametrize(("is_on", "prefix"), [("true", "__Host-"), ("false", "")])
def test_cookies_that_no_sibling_domain_can_plant(
    project_root: Path, monkeypatch: pytest.MonkeyPatch, is_on: str, prefix: str
) -> None:
    """Meet the browsers' conditions for the prefix: Secure, the path / and no domain."""
    monkeypatch.setenv("HOST_COOKIES", is_on)

    read = {**vars(global_settings), **runpy.run_path(str(project_root / "guanwecom" / "settings.py"))}

    for kind, name in (("SESSION", "sessionid"), ("CSRF", "csrftoken")):
        parts = [read[f"{kind}_COOKIE_{part}"] for part in ("NAME", "SECURE", "PATH", "DOMAIN")]
        assert parts == [f"{prefix}{name}", bool(prefix), "/", None]


def test_a_key_can_be_made_before_any_setting_stands(project_root: Path) -> None:
    done = run_program([sys.executable, "manage.py", "generate_key"], env={}, cwd=project_root)

    assert Fernet(done.stdout.strip()), done.stderr


def test_the_version_is_that_of_the_project(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == VERSION
