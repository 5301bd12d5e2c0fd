"""A standby of a PostgreSQL that can be promoted."""

import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from tests.postgresql_programs import find_programs
from tools import services
from tools.services import Service


def start_standby(primary: Service, *, port: int) -> Service:
    """Start a copy that follows `primary`, with the primary's own program and user."""
    where = urlsplit(primary.url)
    folder = Path(tempfile.mkdtemp(prefix="guanwecom-standby-"))
    folder.chmod(0o711)
    data = folder / "data"
    copy = [str(find_programs() / "pg_basebackup"), "-D", str(data), "-h", "127.0.0.1", "-p", str(where.port)]
    env = {**os.environ, "PGPASSWORD": str(where.password)}
    subprocess.run([*copy, "-U", "postgres", "-X", "stream", "-R", "-c", "fast"], env=env, check=True)
    with (data / "postgresql.auto.conf").open("a") as settings:
        conninfo = f"host=127.0.0.1 port={where.port} user=postgres password={where.password}"
        settings.write(f"primary_conninfo = '{conninfo}'\nwal_retrieve_retry_interval = '200ms'\n")
    begin = cast("partial[subprocess.Popen[bytes]]", primary.begin)
    command = [f"port={port}" if word.startswith("port=") else word for word in begin.args[0]]
    command[command.index("-D") + 1] = str(data)
    if "user" in begin.keywords:
        for path in (data, *data.rglob("*")):
            os.chown(path, begin.keywords["user"], begin.keywords["group"])
    url = primary.url.replace(f":{where.port}/", f":{port}/")
    begin = partial(services.open_server, command, folder / "log", **begin.keywords)
    return services.start_service("PostgreSQL", url, folder, begin, lambda: services.postgresql_answers(url))
