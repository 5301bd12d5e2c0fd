"""TLS to databases, our own PostgreSQL and data sources: if the address asks for it, the server is verified.

The test's server answers "wrong password" after TLS, so a client that gets this answer has accepted it.
"""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from guanwecom import environment
from integrations.clients.sources.addresses import AllowedNetwork, parse_database_url
from integrations.clients.sources.sql import SqlQuery, read_query
from integrations.data import Problem, SourceError
from tests.authority import Authority
from tests.integrations.clients.sources.place import NOW

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
WRONG_PASSWORD = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0"
CAN_TLS = 0x800
# MySQL's greeting: version, a salt in two parts, and capabilities (protocol 4.1, TLS, authentication plugins).
GREETING = (
    b"\x0a8.0.0\0\1\0\0\0saltsalt\0"
    + struct.pack("<HBHHB", 0x8200 | CAN_TLS, 45, 2, 0x0008, 21)
    + bytes(10)
    + b"saltsaltsalt\0mysql_native_password\0"
)


class Server:
    """A database server. `are_encrypted` has an entry for each client that named itself: whether it used TLS."""

    def __init__(self, kind: str, certificate: Path) -> None:
        self.are_encrypted: list[bool] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._serve = self._postgresql if kind == "postgresql" else self._mysql
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _address = self.listener.accept()
                # A client that does not trust the certificate disconnects.
                with suppress(OSError), ExitStack() as exits:
                    self._serve(exits.enter_context(client), exits)

    def _postgresql(self, client: socket.socket, exits: ExitStack) -> None:
        if client.recv(8) == SSL_REQUEST:
            client.sendall(b"S")
            client = exits.enter_context(self.context.wrap_socket(client, server_side=True))
        if client.recv(4096):  # the name in the certificate is compared after the TLS handshake
            self.are_encrypted.append(isinstance(client, ssl.SSLSocket))
        client.sendall(b"E" + struct.pack("!i", len(WRONG_PASSWORD) + 4) + WRONG_PASSWORD)

    def _mysql(self, client: socket.socket, exits: ExitStack) -> None:
        client.sendall(struct.pack("<I", len(GREETING)) + GREETING)
        said = client.recv(36)
        is_encrypted = bool(struct.unpack("<I", said[4:8])[0] & CAN_TLS)
        if is_encrypted:
            client = exits.enter_context(self.context.wrap_socket(client, server_side=True))
        client.recv(4096)
        self.are_encrypted.append(is_encrypted)
        refusal = b"\xff" + struct.pack("<H", 1045) + b"#28000no"
        client.sendall(struct.pack("<I", len(refusal) | (2 + is_encrypted) << 24) + refusal)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority("authority", tmp_path)


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[str, Server]]:
    found = Server(request.param, authority.certify("localhost"))
    with closing(found.listener):
        yield request.param, found


CASES = [
    ("localhost", "?sslmode=require", True, Problem.CREDENTIALS_REFUSED, [True]),
    ("localhost", "", True, Problem.CREDENTIALS_REFUSED, [True]),
    ("localhost", "?sslmode=require", False, Problem.CERTIFICATE, []),
    ("localhost", "?sslmode=verify-ca", False, Problem.CERTIFICATE, []),
    ("127.0.0.1", "?sslmode=require", True, Problem.CERTIFICATE, []),
    ("localhost", "?sslmode=disable", False, Problem.CREDENTIALS_REFUSED, [False]),
]


@pytest.mark.parametrize(("host", "option", "is_trusted", "problem", "are_encrypted"), CASES)
def test_a_source_that_asks_for_tls_verifies_its_server(
    server: tuple[str, Server],
    authority: Authority,
    host: str,
    option: str,
    is_trusted: bool,
    problem: Problem,
    are_encrypted: list[bool],
) -> None:
    scheme, listening = server
    url = parse_database_url(f"{scheme}://reader:password@{host}:{listening.port}/sales{option}")
    bundle = str(authority.file) if is_trusted else ""
    query = SqlQuery(url, "SELECT 1", allowed_network=AllowedNetwork.THIS_MACHINE, ca_bundle=bundle)

    with pytest.raises(SourceError) as refused:
        read_query(query, rows_at_most=1, seconds=30, now=NOW)

    assert (refused.value.problem, listening.are_encrypted) == (problem, are_encrypted)


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("host", "is_trusted", "said", "are_encrypted"),
    [
        ("localhost", True, "password authentication failed", [True]),
        ("localhost", False, "certificate verify failed", []),
        ("127.0.0.1", True, "does not match host name", []),
    ],
)
def test_our_own_database_is_verified_where_its_address_asks_for_tls(
    server: tuple[str, Server], authority: Authority, host: str, is_trusted: bool, said: str, are_encrypted: list[bool]
) -> None:
    _scheme, listening = server
    named = f"&sslrootcert={authority.file}" if is_trusted else ""
    config = environment.database(f"postgresql://u:p@{host}:{listening.port}/guanwecom?sslmode=require{named}")
    options: dict[str, Any] = config["OPTIONS"]

    with pytest.raises(psycopg.OperationalError, match=said):
        psycopg.connect(host=host, port=listening.port, user="u", password="p", dbname="guanwecom", **options)

    assert listening.are_encrypted == are_encrypted
