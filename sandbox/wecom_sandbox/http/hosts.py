"""Host names of the sandbox, and the certificates for them."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# WeCom's own hosts, which many programs contain. Only the TLS port answers under them.
WECOM_HOSTS = (
    "qyapi.weixin.qq.com",
    "open.weixin.qq.com",
    "login.work.weixin.qq.com",
    "open.work.weixin.qq.com",
)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


def is_loopback(host: str) -> bool:
    """Return whether the host is a loopback one. Others need --allow-host, since the sandbox has no passwords."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def is_unspecified(host: str) -> bool:
    """Return whether the address is 0.0.0.0 or ::, which means all addresses of the machine."""
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return False


def check_host_name(name: str) -> str:
    """Return a host name or an IP address in lower case, without scheme and port. Raise ValueError."""
    lowered = name.lower()
    with suppress(ValueError):
        return str(ip_address(lowered))
    if not _NAME.fullmatch(lowered):
        raise ValueError(f"{name} is not the name of a host (without scheme and port)")
    return lowered


def make_host_guard(allowed: Iterable[str] = ()) -> Middleware:
    """Make a middleware that answers 421 to requests under unknown names, which another site can point at this machine
    (DNS rebinding). `allowed`: names beside the loopback ones, as `check_host_name` returns them."""
    http_names = frozenset({*LOOPBACK_NAMES, *allowed})
    https_names = http_names | set(WECOM_HOSTS)

    @web.middleware
    async def answer(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if _read_host_name(request.host) not in (https_names if request.secure else http_names):
            raise web.HTTPMisdirectedRequest(
                text="The sandbox answers on loopback names only, and on those of --allow-host.\n"
            )
        return await handler(request)

    return answer


def _read_host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return name.lower().removeprefix("[").removesuffix("]")


_CA_LIFETIME = timedelta(days=3650)
# The longest lifetime of a server certificate that browsers accept.
_TLS_LIFETIME = timedelta(days=397)
# Certificates are valid from this time ago, because the clocks of containers and machines differ.
_CLOCK_SKEW = timedelta(days=1)
_CERTIFICATE, _KEY = "ca.pem", "ca-key.pem"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority (CA) for its `names` only: who trusts it trusts no certificates for other names."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    names: tuple[str, ...]

    @classmethod
    def new(cls, allowed: Iterable[str] = ()) -> Authority:
        """Make a new CA for WeCom's hosts, this machine and the `allowed` names (see `check_host_name`)."""
        names = tuple(dict.fromkeys([*WECOM_HOSTS, *LOOPBACK_NAMES, *allowed]))
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _make_x509_name("WeCom sandbox, not the real WeCom")
        builder = _begin_cert(subject, subject, key.public_key(), key.public_key(), _CA_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_make_key_usage(signs_certificates=True), critical=True)
        permitted: list[x509.GeneralName] = [_make_permitted_name(name) for name in names]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key, names)

    @classmethod
    def load_or_create(cls, folder: Path, allowed: Iterable[str] = ()) -> Authority:
        """Return the CA in `folder`; make it the first time. Its key is readable only by its owner. Raise OSError, and
        ValueError if it is broken, expired, readable by others or not for all names."""
        certificate, key = folder / _CERTIFICATE, folder / _KEY
        if not key.exists() and not certificate.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = cls.new(allowed)
            _write_new_file(key, made._key_pem(serialization.NoEncryption()), mode=0o600)
            _write_new_file(certificate, made.pem.encode(), mode=0o644)
        return _read_authority(certificate, key, allowed)

    @property
    def pem(self) -> str:
        """The certificate that programs are told to trust; it is no secret."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def spki_sha256(self) -> str:
        """The public key's fingerprint in base64, for Chromium's --ignore-certificate-errors-spki-list."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self.key.public_key().public_bytes(serialization.Encoding.DER, form)
        return base64.b64encode(hashlib.sha256(public).digest()).decode()

    def server_context(self) -> ssl.SSLContext:
        """Make a TLS context for all names, with its own key. The CA's certificate is sent along."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_make_general_name(name) for name in self.names])
        subject = _make_x509_name("wecom-sandbox")
        builder = _begin_cert(subject, self.certificate.subject, key.public_key(), self.key.public_key(), _TLS_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_make_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return _make_tls_context(certificate + self.pem.encode(), key)

    def _key_pem(self, encryption: serialization.KeySerializationEncryption) -> bytes:
        return _encode_key(self.key, encryption)


def _read_authority(certificate: Path, key: Path, allowed: Iterable[str]) -> Authority:
    if key.stat().st_mode & 0o077:
        raise ValueError(f"{key} can be read by others than its owner: chmod 600 it")
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except ValueError as error:
        raise ValueError(f"{certificate} and {key.name} cannot be read; delete both to get new ones") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        raise ValueError(f"{certificate} and {key.name} do not belong together; delete both to get new ones")
    if found.not_valid_after_utc < datetime.now(UTC):
        raise ValueError(f"{certificate} has expired; delete it and {key.name} to get new ones")
    constraints = found.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    names = tuple(dict.fromkeys([*WECOM_HOSTS, *LOOPBACK_NAMES, *allowed]))
    missing = [name for name in names if _make_permitted_name(name) not in constraints]
    if missing:
        raise ValueError(f"{certificate} is not for {', '.join(missing)}; delete it and {key.name} to get new ones")
    return Authority(found, private, names)


def _make_x509_name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _begin_cert(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    """Begin a certificate with the fields that those of CA and server share. `signer`: the public key of the CA."""
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + lifetime - _CLOCK_SKEW)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)


def _make_key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _make_general_name(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


def _make_permitted_name(name: str) -> x509.GeneralName:
    """Return the name for a constraint, where an address is written as a network."""
    with suppress(ValueError):
        return x509.IPAddress(ip_network(name))
    return x509.DNSName(name)


def _encode_key(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _make_tls_context(chain: bytes, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    """Make a TLS context. Python reads keys only from files, so the key is in an encrypted file for a moment."""
    password = secrets.token_bytes(32).hex().encode()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(chain + _encode_key(key, serialization.BestAvailableEncryption(password)))
        file.flush()
        context.load_cert_chain(file.name, password=password)
    return context


def _write_new_file(path: Path, content: bytes, *, mode: int) -> None:
    """Write a new file. Raise FileExistsError: two sandboxes that start at once do not overwrite each other's file."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
