"""A mail door that listens in this process, in a thread of its own."""

import asyncio
import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from notifications.inbound.mail.server import Backend, Door, Limits

LIMITS = Limits(
    size_bytes=1_000_000,
    connections=50,
    connections_per_address=20,
    timeout_seconds=30,
    networks=(ip_network("127.0.0.0/8"),),
    plain_networks=(ip_network("127.0.0.0/8"),),
    wrong_password_seconds=0,
)


class OpenDoor:
    """A mail door and its port."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def open(self) -> None:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self.door.listen("127.0.0.1", 0), self._loop).result(30)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop the door as on SIGTERM."""
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self.door.stop(self._server), self._loop).result(60)
            self._server = None
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(30)
            self._loop.close()


@contextmanager
def open_door(
    backend: Backend, limits: Limits = LIMITS, *, tls: ssl.SSLContext | None = None, is_tls_from_start: bool = False
) -> Iterator[OpenDoor]:
    opened = OpenDoor(Door(backend, limits, tls=tls, is_tls_from_start=is_tls_from_start))
    opened.open()
    try:
        yield opened
    finally:
        opened.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "door.pem", folder / "door.key"
    certificate_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
