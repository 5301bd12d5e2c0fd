"""Validates database addresses. Pure, except that it looks at a file's place."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from integrations.clients.late import Late

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy import URL
else:
    sqlalchemy = Late("sqlalchemy")

# Which driver speaks for which kind of database.
DRIVERS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("postgresql", "postgres", "postgresql+psycopg"), "postgresql+psycopg"),
        **dict.fromkeys(("mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"), "mysql+pymysql"),
        **dict.fromkeys(("sqlite", "sqlite+pysqlite"), "sqlite+pysqlite"),
    }
)
# Options that change neither where a connection leads nor what it reads on this machine.
_OPTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"postgresql": frozenset({"sslmode", "application_name"}), "mysql": frozenset({"charset"})}
)


class Flaw(StrEnum):
    """Why an address is refused."""

    NO_ADDRESS = "no-address"
    NO_DRIVER = "no-driver"
    NO_HOST = "no-host"
    NO_DATABASE = "no-database"
    OPTION = "option"
    FILE_PLACE = "file-place"
    OWN_FILE = "own-file"


class AddressRefused(Exception):
    """`detail`: the option or kind that is not admitted, never a credential."""

    def __init__(self, flaw: Flaw, detail: str = "") -> None:
        super().__init__(flaw.value)
        self.flaw = flaw
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a deployment allows. `folders`: of SQLite files; `own_files`: never read; `drivers`: beyond our own."""

    folders: Sequence[str] = ()
    own_files: Collection[str] = ()
    drivers: Collection[str] = field(default_factory=frozenset)


def admitted_url(text: str, allowed: Admitted) -> URL:
    """The address with the driver that speaks for it. Raises AddressRefused."""
    try:
        url = sqlalchemy.make_url(text.strip())
        port = url.port
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise AddressRefused(Flaw.NO_ADDRESS) from None
    driver = DRIVERS.get(url.drivername, url.drivername if url.drivername in allowed.drivers else "")
    if not driver:
        raise AddressRefused(Flaw.NO_DRIVER, url.drivername[:40])
    url = url.set(drivername=driver)
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url, allowed)
    if not url.host or not set(url.host).isdisjoint("/@,%") or (port is not None and port < 1):
        raise AddressRefused(Flaw.NO_HOST)  # without one, drivers go to a socket of this machine
    if not url.database:
        raise AddressRefused(Flaw.NO_DATABASE)
    unknown = sorted(set(url.query) - _OPTIONS.get(backend, frozenset(url.query)))
    if unknown:
        raise AddressRefused(Flaw.OPTION, unknown[0][:40])
    return url


def is_installed(driver: str) -> bool:
    """Whether SQLAlchemy knows this kind of database, and its driver can be imported."""
    try:
        dialect = sqlalchemy.make_url(f"{driver}://").get_dialect()
        importing = getattr(dialect, "import_dbapi", None)  # dialects for SQLAlchemy 1 have none, and are believed
        if importing is not None:
            importing()
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError):
        return False
    return True


def backend_of(text: str) -> str:
    """SQLAlchemy's name of the kind of database at this address; empty for one that is none."""
    try:
        name = sqlalchemy.make_url(text.strip()).drivername
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return ""
    return DRIVERS.get(name, name).partition("+")[0]


def place_of(text: str) -> tuple[str, str, int | None] | None:
    """Driver, host and port: where a connection leads. None for an address that is none."""
    try:
        url = sqlalchemy.make_url(text.strip())
        return DRIVERS.get(url.drivername, url.drivername), (url.host or "").lower(), url.port
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return None


def shown(text: str) -> str:
    """The address without password and options, as a page may show it; empty for one that is none."""
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return ""
    return url.set(query={}, password=None if url.password is None else "***").render_as_string(hide_password=True)


def has_password(text: str) -> bool:
    """False also for an address that is none."""
    try:
        return bool(sqlalchemy.make_url(text).password)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return False


def without_password(text: str) -> str:
    """The address without password and options; empty for one that is none."""
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return ""
    bare = sqlalchemy.URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
    return bare.render_as_string(hide_password=False)


def _sqlite(url: URL, allowed: Admitted) -> URL:
    """Only a file that is there, in an admitted folder, and none of ours, wherever links lead."""
    if url.query:
        raise AddressRefused(Flaw.OPTION, sorted(url.query)[0][:40])
    if not url.database or not os.path.isabs(url.database) or "\0" in url.database:
        raise AddressRefused(Flaw.FILE_PLACE)
    file = Path(os.path.realpath(url.database))
    folders = [Path(os.path.realpath(folder)) for folder in allowed.folders if folder]
    if not file.is_file() or not any(file.is_relative_to(folder) for folder in folders):
        raise AddressRefused(Flaw.FILE_PLACE)
    for own in allowed.own_files:
        beside = (own, f"{own}-wal", f"{own}-shm", f"{own}-journal")
        if any(os.path.exists(one) and os.path.samefile(one, file) for one in beside):
            raise AddressRefused(Flaw.OWN_FILE)
    return url.set(database=str(file))
