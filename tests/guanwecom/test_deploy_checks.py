"""Django's own deployment checks of production's settings."""

import sys
from pathlib import Path

from tests.programs import run_program
from tests.services import ENVIRON


def test_a_production_is_clean(project_root: Path, tmp_path: Path) -> None:
    """Use https everywhere. The database server need not exist."""
    environ = {
        **{name: value for name, value in ENVIRON.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"},
        "ENVIRONMENT": "production",
        "SECRET_KEY": "kT8v-2Qm5xR1zL9wE4yU7iO3pA6sD0fG_hJkBnVcXzQ.invented",
        "HOST_COOKIES": "true",
        "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/nothing",
        "VALKEY_URL": "redis://127.0.0.1:1/0",
        "STATIC_ROOT": str(tmp_path),
    }

    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = run_program(command, cwd=project_root, env=environ)

    said = "System check identified no issues (2 silenced)."
    assert ((done.stdout + done.stderr).strip(), done.returncode) == (said, 0)
