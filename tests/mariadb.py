"""A MariaDB from the system's package, for tests of data sources."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pymysql

from tools.services import Service, ServiceError, drop_rights, free_port, open_server, start_service


def start_mariadb() -> Service | None:
    """Start an empty MariaDB on 127.0.0.1, tuned for temporary data; its user `root` has no password. If we are root it
    runs as `nobody`. Return None if it is not installed. Raise ServiceError."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    server, installer = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    if not server or not installer:
        return None
    folder = Path(tempfile.mkdtemp(prefix="guanwecom-mariadb-"))
    data = folder / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        folder.chmod(0o711)
        shutil.chown(data, "nobody", pwd.getpwnam("nobody").pw_gid)
    install = [installer, "--no-defaults", f"--datadir={data}", "--skip-test-db"]
    install += ["--auth-root-authentication-method=normal"]
    done = subprocess.run(install, capture_output=True, text=True, cwd="/", check=False, **drop_rights())
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise ServiceError(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
    port = free_port()
    command = [server, "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1"]
    command += [f"--socket={data}/socket", f"--pid-file={data}/pid", "--innodb-flush-log-at-trx-commit=0"]
    command += ["--innodb-buffer-pool-size=16M", "--skip-log-bin"]
    begin = partial(open_server, command, folder / "log", **drop_rights())
    url = f"mysql://root@127.0.0.1:{port}/mysql"
    return start_service("MariaDB", url, folder, begin, lambda: _mariadb_answers(port), signal.SIGTERM)


def _mariadb_answers(port: int) -> bool:
    with contextlib.suppress(pymysql.MySQLError):
        pymysql.connect(host="127.0.0.1", port=port, user="root", connect_timeout=2).close()
        return True
    return False
