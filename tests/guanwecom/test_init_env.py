"""`manage.py init_env` writes an .env that starts the product, before any setting exists."""

import os
import pty
import re
import stat
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from tests.programs import run_program

SITE = ("--site", "https://bi.example.com")
LOCAL = (*SITE, "--database", "postgresql://u:p%24w@db.example/name", "--valkey", "redis://:pa55@valkey.example/0")
# Reads the settings from the given file alone, as if it were beside manage.py.
READ = (
    "import sys, pathlib; from guanwecom import environment as e; e.read_dotenv(pathlib.Path(sys.argv[1])); "
    "from guanwecom import settings as s; print(s.EXTRA_ALLOWED_HOSTS, s.VALKEY_URL)"
)


def init_env(*options: str) -> str:
    """Run the command and return its output."""
    out = StringIO()
    call_command("init_env", *options, stdout=out)
    return out.getvalue()


def started(
    root: Path, *options: str, cwd: Path, stdin: int = subprocess.DEVNULL, lang: str = "C.UTF-8"
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process whose environment has only a language."""
    command = [sys.executable, str(root / "manage.py"), "init_env", *options]
    return run_program(command, env={"LANG": lang}, cwd=cwd, stdin=stdin)


def values(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_file_starts_the_product(project_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.env"

    done = started(project_root, "--file", str(path), *LOCAL, cwd=tmp_path)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(project_root)}
    read = run_program([sys.executable, "-c", READ, str(path)], env=env, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert read.stdout == "['bi.example.com'] redis://:pa55@valkey.example/0\n", read.stderr


def test_it_is_the_example_with_fresh_keys_that_nobody_else_reads(project_root: Path, tmp_path: Path) -> None:
    example = (project_root / ".env.example").read_text(encoding="utf-8")
    first, second = tmp_path / "first.env", tmp_path / "second.env"

    outputs = [init_env("--file", str(path), *LOCAL) for path in (first, second)]

    lines = first.read_text(encoding="utf-8").splitlines()
    same = [line for line in example.splitlines() if line in lines]
    assert len(lines) == len(example.splitlines())
    comments = re.findall(r"(?:^# .*\n)+", example, re.MULTILINE)
    assert len(comments) > 40
    assert [one for one in comments if not re.search("[\u4e00-\u9fff]", one.splitlines()[-1])] == []
    assert [line for line in example.splitlines() if line.startswith("# ")] == [
        line for line in same if line.startswith("# ")
    ]
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    written, others = values(first), values(second)
    assert Fernet(written["FIELD_ENCRYPTION_KEYS"])
    keys = ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "METRICS_TOKEN")
    assert all(len(written[name]) >= 32 and written[name] != others[name] for name in keys)
    assert not any(value in "".join(outputs) for value in [*map(written.get, keys), "pa55"] if value)


def test_compose_gets_new_passwords_for_its_own_services(tmp_path: Path) -> None:
    path = tmp_path / "compose.env"

    init_env("--file", str(path), *SITE, "--compose")

    written = values(path)
    assert re.fullmatch(r"postgresql://guanwecom:[0-9a-f]{48}@postgres:5432/guanwecom", written["DATABASE_URL"])
    assert re.fullmatch(r"redis://:[0-9a-f]{48}@valkey:6379/0", written["VALKEY_URL"])


def test_it_can_be_printed(project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    printed = init_env("--file", "-", *LOCAL)

    assert len(printed.splitlines()) == len((project_root / ".env.example").read_text().splitlines())
    assert "\nDATABASE_URL=postgresql://u:p%24w@db.example/name\n" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lang", ["zh_CN.GB18030", ""])
def test_it_speaks_chinese_where_the_environment_does_or_names_no_language(project_root: Path, lang: str) -> None:
    done = started(project_root, "--file", "-", cwd=project_root, lang=lang)

    assert done.stderr == "CommandError: 缺少 --site，也没有可以询问的终端。\n"


@pytest.mark.usefixtures("in_english")
def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    there, link = tmp_path / ".env", tmp_path / "link"
    there.write_text("SECRET_KEY=mine\n")
    link.symlink_to(tmp_path / "elsewhere")

    for path in (there, link):
        with pytest.raises(CommandError, match=f"^{re.escape(str(path))} exists and is left as it is.$"):
            init_env("--file", str(path), *LOCAL)

    assert (there.read_text(), link.exists()) == ("SECRET_KEY=mine\n", False)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ((), "--site is missing, and there is no terminal to ask at."),
        (SITE, "--database is missing, and there is no terminal to ask at."),
        (("--site", "bi.example.com"), "--site: expected an address such as https://bi.example.com, without a path"),
        (("--site", "https://bi.example.com/bi"), "--site: expected an address such as https://bi.example.com"),
        (("--site", "https://"), "--site: expected an address such as https://bi.example.com"),
        (
            (*LOCAL, "--database", "postgresql://u:pa$55@db.example/name"),
            "--database: percent-encode '$' as %24 (the value is not shown)",
        ),
        ((*LOCAL, "--database", "mysql://u:pa55@db.example/name"), "--database: expected postgresql://"),
        ((*LOCAL, "--valkey", "http://:pa55@valkey.example"), "--valkey: expected redis://"),
        ((*LOCAL, "--compose"), "--compose brings its own database and Valkey: leave out --database and --valkey."),
        ((*LOCAL, "--file", "/nowhere/.env"), "/nowhere/.env cannot be written: No such file or directory."),
    ],
)
@pytest.mark.usefixtures("in_english")
def test_what_cannot_work_is_refused_and_nothing_is_written(
    tmp_path: Path, options: tuple[str, ...], refusal: str
) -> None:
    with pytest.raises(CommandError) as refused:
        init_env("--file", str(tmp_path / ".env"), *options)

    assert str(refused.value).startswith(refusal)
    assert "55" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_is_asked_until_an_answer_holds(project_root: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"bi.example.com\nhttp://bi.example.com:8080\n\n\n")

    done = started(project_root, "--file", str(tmp_path / ".env"), cwd=project_root, stdin=theirs)
    os.close(ours)
    os.close(theirs)

    assert done.returncode == 0, done.stderr
    assert "without a path, not 'bi.example.com'" in done.stderr
    written = values(tmp_path / ".env")
    assert written["ALLOWED_HOSTS"] == "bi.example.com:8080"
    assert written["DATABASE_URL"] == "postgresql://guanwecom:@/guanwecom?host=/var/run/postgresql"
    assert written["VALKEY_URL"] == "redis://127.0.0.1:6379/0"
