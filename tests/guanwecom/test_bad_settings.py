"""Settings with values that cannot work: the start names the variable in one line and shows no secret."""

import re
import runpy
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from guanwecom import environment
from notifications.delivery.rows import compute_delivery_lease

LONG = "9" * 400
SWITCH = ("", "maybe", "2", "truefalse")
LIMIT = ("", "many", "-1", "1.5", "1e3", "99999999999", LONG)
NUMBER = ("0", *LIMIT)
KEY = "c2V0dGluZ3MtdGVzdHMtb25seS1rZXktMDEyMzQ1YWI="
BAD: dict[str, tuple[str, ...]] = {
    "ENVIRONMENT": (),  # tests/guanwecom/test_settings.py: this process must not read a developer's .env
    **dict.fromkeys(("HOST_COOKIES", "DATA_ALLOW_LOOPBACK", "STAFF_TOTP_REQUIRED"), SWITCH),
    **dict.fromkeys(("MAIL_DOOR_TLS_FROM_START", "MAIL_DOOR_PLAIN_SIGN_IN"), SWITCH),
    "SECRET_KEY": ("", "short"),
    "FIELD_ENCRYPTION_KEYS": ("", ",", "c2hvcnQ=", "schlüssel", f"{KEY},not-a-key"),
    "ALLOWED_HOSTS": ("https://bi.example.com", "bi.example.com/", "*", ".example.com", "a b", "bi.example.com:port"),
    "TRUSTED_PROXIES": ("10.0.0.1/8", "proxy.example.com", "0.0.0.0/0", "::/0"),
    "DATABASE_DIRECT_URL": ("nonsense", "postgresql://user:pa55@db.example/"),
    "DATABASE_URL": (
        *("", "nonsense", "mysql://root@127.0.0.1/pa55", "postgresql://user:pa55@db.example:5432"),
        *("postgresql://user:pa55@db.example/", "postgresql://user:pa55@db.example:port/name", "sqlite:////pa55"),
        *("postgresql://user:pa55@db.example:99999/name", "postgresql://user:pa55/word@db.example/name"),
    ),
    "VALKEY_URL": (
        *("", "nonsense", "http://pa55@127.0.0.1", "redis://", "redis:///0", "redis://:pa55@:6379/0"),
        *("redis://:pa55@valkey.example:port/0", "redis://:pa55@valkey.example/first", "unix://", "unix://host/socket"),
        *("unix:///run/valkey.sock?db=first", "rediss://:pa55@valkey.example/0?ssl_cert_reqs=none"),
        "redis://:pa55/word@valkey.example:6379/0",
        *(f"redis+sentinel://{rest}" for rest in ("", ":pa55@/main", ":pa55@a.example", ":pa55@a.example,/main/0")),
        *("redis+sentinel://:pa55@a.example/main/first", "redis+sentinel://:pa55@a.example:port/main"),
        *("redis+sentinel://:pa55@a.example/main?ssl_cert_reqs=none", "redis+sentinel://:pa55/word@a.example/main"),
    ),
    "VALKEY_SENTINEL_PASSWORD": (),
    "VALKEY_CA_BUNDLE": ("/nonexistent/ca.pem", "/", __file__),
    "TIME_ZONE": ("", "Asia/Beijing", "../../etc/passwd", "Asia", LONG),
    "STATIC_ROOT": ("static", "./static"),
    "CSP_REPORT_URI": ("csp.example.com", "https://csp.example.com/a;script-src", "https://a b", "https://a,b"),
    "AUDIT_SYSLOG": ("syslog.example.com", "tls://syslog.example.com:6514", "tcp://", "udp://host", "tcp://host:0"),
    "LOG_LEVEL": ("", "LOUD", "info"),
    "SENTRY_DSN": ("key@sentry.example.com/1",),
    "WECOM_TOTAL_TIMEOUT_SECONDS": (*NUMBER, "4", "30"),
    "METRICS_TOKEN": ("short",),
    "EMAIL_URL": (
        "mail.example.com",
        "http://pa55@mail.example.com",
        "smtp://",
        "smtp://user:pa55@mail.example.com:port",
    ),
    "EMAIL_FROM": ("", "guanwecom", "guanwecom@", "数据"),
    "OPERATOR_ROBOT_URL": ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send", "qyapi?key=0a1b2c3d"),
    "OPERATOR_EMAILS": ("operator", "a@example.com;b@example.com", "a@example.com,b"),
    "MAIL_DOOR_LISTEN": ("", "2525", "localhost", "localhost:smtp", "127.0.0.1:0", "127.0.0.1:70000", "a b:25"),
    "MAIL_DOOR_DOMAINS": ("", ",", "@wecom.local", "wecom", "a b.local"),
    "MAIL_DOOR_NETWORKS": ("10.0.0.1/8", "bi.example.com", "0.0.0.0/0", "::/0"),
    # The listening process reads these: tests/notifications/inbound/mail/test_command.py
    **dict.fromkeys(("MAIL_DOOR_CERTIFICATE", "MAIL_DOOR_KEY", "HEARTBEAT_FILE"), ()),
    **dict.fromkeys(
        (
            *("SNAPSHOT_CARD_SELECTOR", "SNAPSHOT_READY_SELECTOR"),
            *("SNAPSHOT_BUSY_SELECTOR", "SNAPSHOT_ERROR_SELECTOR"),
        ),
        (),  # a picture that fails because of one says so
    ),
    "SNAPSHOT_HOSTS": ("https://cdn.example.com", "a b"),
    "EGRESS_NAME": ("", "two words", "x" * 65),
    "INSTALLATION_NAME": ("two words", "x" * 65),
    "DIRECTORY_GUARD_PERCENT": (*LIMIT, "101"),
    "DATA_SQL_DRIVERS": (),  # a system check: tests/integrations/core/test_checks.py
    **dict.fromkeys(
        (
            *("LIMIT_ADDRESS_PER_MINUTE", "LIMIT_COMPANY_PER_MINUTE", "LIMIT_ADDRESS_PER_HOUR"),
            *("LIMIT_COMPANY_PER_HOUR", "LIMIT_COMPANY_PARALLEL", "LIMIT_MEMBER_PER_MINUTE", "LIMIT_MAIL_PER_MINUTE"),
        ),
        LIMIT,
    ),
    "LOCKOUT_TRIES": (*NUMBER, "50"),
    **dict.fromkeys(
        (
            *("LOCKOUT_MINUTES", "AUDIT_RETENTION_DAYS", "SIGN_INS_PER_ADDRESS", "CARD_DATA_RETENTION_DAYS"),
            *("API_CALLS_PER_TOKEN", "LOG_RETENTION_DAYS", "SEND_PARALLEL_PER_TASK", "CONFIRMATION_MINUTES"),
            *("STAFF_SESSION_HOURS", "STAFF_SESSION_IDLE_MINUTES"),
        ),
        NUMBER,
    ),
}
SHOWS_NOTHING = ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "DATABASE_URL", "VALKEY_URL", "METRICS_TOKEN", "EMAIL_URL")


@pytest.fixture
def settings_file(project_root: Path) -> Path:
    return project_root / "guanwecom" / "settings.py"


def test_every_setting_stands_in_this_table_and_in_the_example(project_root: Path) -> None:
    example = (project_root / ".env.example").read_text(encoding="utf-8")

    assert environment.read_names == set(BAD)
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == set(BAD)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_refused_in_one_line_that_names_its_variable(
    settings_file: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bad in BAD[name]:
        monkeypatch.setenv(name, bad)

        with pytest.raises(ImproperlyConfigured) as refused:
            runpy.run_path(str(settings_file))

        text = str(refused.value)
        assert text.startswith(f"{name}: "), bad
        assert "\n" not in text, bad
        assert len(text) < 200, bad
        assert "pa55" not in text, bad
        if name in SHOWS_NOTHING and len(bad) > 8:
            assert bad not in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "{file} cannot be read: No such file or directory"),
        (b"\xff" * 40, "{file} cannot be read: it is not text in UTF-8"),
        (b"", "expected at least 32 characters (the value is not shown)"),
    ],
)
def test_a_bad_file_is_refused_by_the_variable_that_names_it(
    settings_file: Path, tmp_path: Path, content: bytes | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SECRET_KEY_FILE", str(file))
    monkeypatch.setattr(environment.env.ENVIRON, "cache", False)

    with pytest.raises(ImproperlyConfigured) as refused:
        runpy.run_path(str(settings_file))

    assert str(refused.value) == f"SECRET_KEY_FILE: {reason.format(file=file)}"


def test_a_secret_that_begins_with_a_dollar_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "$" + "x" * 40
    monkeypatch.setenv("SECRET_KEY", secret)

    assert environment.read(environment.secret_text, "SECRET_KEY") == secret


@pytest.mark.parametrize(("call", "lease"), [(5, 60), (20, 60), (29, 87)])
def test_a_lease_is_three_calls_long_and_at_least_a_minute(call: int, lease: int, settings: Settings) -> None:
    settings.WECOM_TOTAL_TIMEOUT_SECONDS = call

    assert compute_delivery_lease() == timedelta(seconds=lease)


class TestDotenv:
    """Values from .env, of which nothing stays in the process."""

    @pytest.fixture(autouse=True)
    def _forgets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "_dotenv_lines", {})
        monkeypatch.setattr(environment, "read_names", {"LOG_LEVEL", "SECRET_KEY"})
        monkeypatch.setattr(environment.env.ENVIRON, "env", {})

    @staticmethod
    def refused(path: Path) -> str:
        try:
            environment.read_dotenv(path)
            environment.refuse_unknown()
        except ImproperlyConfigured as refusal:
            return str(refusal)
        return "nothing"

    @pytest.mark.parametrize(
        ("line", "refusal"),
        [
            ("LOGLEVEL=DEBUG", "LOGLEVEL: no such variable (.env, line 2); did you mean LOG_LEVEL?"),
            ("XYZ=1", "XYZ: no such variable (.env, line 2); .env.example lists all variables"),
            ("XYZ_FILE=/x", "XYZ_FILE: no such variable (.env, line 2); .env.example lists all variables"),
            ("SECRET KEY=pa55", ".env: line 2 is not NAME=value (it is not shown)"),
            ("pa55", ".env: line 2 is not NAME=value (it is not shown)"),
        ],
    )
    def test_a_slip_of_the_pen_is_refused(self, tmp_path: Path, line: str, refusal: str) -> None:
        path = tmp_path / ".env"
        path.write_text(f"# ours\n{line}\n")

        assert self.refused(path) == refusal

    def test_a_file_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".env").mkdir()

        assert self.refused(tmp_path / ".env") == f".env: {tmp_path}/.env cannot be read: Is a directory"

    def test_comments_files_of_secrets_and_no_file_at_all_are_fine(self, tmp_path: Path) -> None:
        path = tmp_path / ".env"
        path.write_text("# ours\n\nexport LOG_LEVEL=DEBUG\n  # more\nSECRET_KEY_FILE=/run/secret\n")

        environment.read_dotenv(path)
        environment.read_dotenv(tmp_path / "nothing")
        environment.refuse_unknown()

        assert environment.env.ENVIRON.env == {"LOG_LEVEL": "DEBUG", "SECRET_KEY_FILE": "/run/secret"}
