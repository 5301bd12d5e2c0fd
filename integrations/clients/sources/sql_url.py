"""Validates database addresses. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
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
    }
)
# Options that change neither where a connection leads nor what it reads on this machine.
_OPTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"postgresql": frozenset({"sslmode", "application_name"}), "mysql": frozenset({"charset", "sslmode"})}
)


class Flaw(StrEnum):
    """Why an address is refused."""

    NO_ADDRESS = "no-address"
    NO_DRIVER = "no-driver"
    NO_HOST = "no-host"
    NO_DATABASE = "no-database"
    OPTION = "option"


class AddressRefused(Exception):
    """`detail`: the option or kind that is not admitted, never a credential."""

    def __init__(self, flaw: Flaw, detail: str = "") -> None:
        super().__init__(flaw.value)
        self.flaw = flaw
        self.detail = detail


def admitted_url(text: str, drivers: Collection[str] = ()) -> URL:
    """Return the address with the driver that speaks for it. Raises AddressRefused.

    `drivers`: those that a deployment allows beyond ours. Files are refused with all of them: an address needs a host.
    """
    try:
        url = sqlalchemy.make_url(text.strip())
        port = url.port
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise AddressRefused(Flaw.NO_ADDRESS) from None
    driver = DRIVERS.get(url.drivername, url.drivername if url.drivername in drivers else "")
    if not driver:
        raise AddressRefused(Flaw.NO_DRIVER, url.drivername[:40])
    url = url.set(drivername=driver)
    backend = url.get_backend_name()
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
