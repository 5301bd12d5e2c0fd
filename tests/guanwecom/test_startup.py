"""Real processes that refuse to start on impossible settings, in one line without a traceback."""

import signal
from pathlib import Path

import pytest

from tests.e2e.stack import BIN, PROGRAM, running, wait_for_log
from tests.e2e.waiting import eventually
from tests.programs import run_program
from tools.services import free_port

pytestmark = pytest.mark.processes

PROGRAMS = {
    "web": ["gunicorn", "guanwecom.wsgi", "--workers", "1", "--no-control-socket", "--bind"],
    "worker": ["python", "-m", "guanwecom", "worker", "--pool", "threads", "--concurrency", "1"],
    "beat": ["celery", "-A", "guanwecom", "beat"],
    "command": ["python", "manage.py", "migrate"],  # Django runs no checks for this command
}
WRONG = [
    (
        {"ALLOWED_HOSTS": "https://bi.example.com"},
        "ALLOWED_HOSTS: expected host names such as bi.example.com, without scheme or path, "
        "not 'https://bi.example.com'",
    ),
    (
        {"MAIL_DOOR_KEY": "/etc/guanwecom/mail.key"},
        "(integrations.E009) MAIL_DOOR_KEY is set without a certificate. "
        "Name the file of the certificate in MAIL_DOOR_CERTIFICATE, or leave both empty.",
    ),
]


@pytest.mark.parametrize(
    ("program", "changes", "reason"),
    [("beat", *WRONG[0]), *((program, *WRONG[1]) for program in ("web", "worker", "command"))],
)
def test_no_process_starts_with_settings_that_do_not_hold(
    process_environ: dict[str, str],
    project_root: Path,
    tmp_path: Path,
    program: str,
    changes: dict[str, str],
    reason: str,
) -> None:
    name, *arguments = PROGRAMS[program]
    if program == "web":
        arguments += [f"127.0.0.1:{free_port()}", "--worker-tmp-dir", str(tmp_path)]
    if program == "beat":
        arguments += ["--pidfile", str(tmp_path / "beat.pid")]

    done = run_program([BIN / name, *arguments], env={**process_environ, **changes}, cwd=project_root)

    lines = (done.stdout + done.stderr).splitlines()
    said_anyway = ("[INFO]", "[ERROR]", "gunicorn.error", "is starting.")  # gunicorn and beat write these
    of_ours = [line for line in lines if not any(words in line for words in said_anyway)]
    assert of_ours == [f"guanwecom does not start: {reason}"]
    assert done.returncode == 4


def test_a_worker_starts_itself_anew_when_it_is_asked_to(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    command = [*PROGRAM, "worker", "--pool", "threads", "--concurrency", "1", "--loglevel", "INFO"]
    with running("worker", command, env=process_environ, folder=tmp_path, cwd=project_root) as worker:
        wait_for_log("ready.", worker)
        worker.process.send_signal(signal.SIGHUP)
        eventually(lambda: worker.log.read_text().count("ready.") == 2, [worker])
        worker.stop()

    assert worker.process.returncode == 0


def test_beat_without_its_database_ends_in_one_line(
    process_environ: dict[str, str], project_root: Path, tmp_path: Path
) -> None:
    """Print one line, because a service manager restarts it again and again."""
    command = [str(BIN / "celery"), "--quiet", *PROGRAMS["beat"][1:], "--pidfile", str(tmp_path / "beat.pid")]
    env = {**process_environ, "DATABASE_URL": f"postgresql://beat:pa55@127.0.0.1:{free_port()}/gone"}
    done = run_program(command, env=env, cwd=project_root)

    [line] = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert "beat does not start: the database is unreachable (OperationalError)" in line
    assert done.returncode == 1


# Loaded modules are frozen, because they stay: each garbage collection would take a tenth of a second for them.
FROZEN = "print(gc.get_freeze_count() > 50 * len(gc.get_objects())); "


def test_web_leaves_what_is_loaded_out_of_the_garbage_collector(
    process_environ: dict[str, str], project_root: Path
) -> None:
    program = f"import gc; import guanwecom.wsgi; {FROZEN}"
    done = run_program([BIN / "python", "-c", program], env=process_environ, cwd=project_root)

    assert done.stdout.splitlines() == ["True"], done.stderr


def test_so_does_a_worker_which_loads_no_pages_and_can_still_make_their_links(
    process_environ: dict[str, str], project_root: Path
) -> None:
    """Save the third of a process's memory that pages and these packages take."""
    program = (
        f"import gc, sys; from guanwecom.celery import app; app.loader.import_default_modules(); {FROZEN}"
        "heavy = ('guanwecom.urls', 'notifications.admin', 'sqlalchemy.engine', 'openpyxl', 'ninja', 'bs4'); "
        "print([name for name in heavy if name in sys.modules]); "
        "from django.urls import reverse; print(reverse('admin:notifications_run_change', args=[7]))"
    )

    done = run_program([BIN / "python", "-c", program], env=process_environ, cwd=project_root)

    assert done.stdout.splitlines() == ["True", "[]", "/admin/notifications/run/7/change/"], done.stderr
