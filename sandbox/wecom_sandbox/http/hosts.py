"""The names under which the sandbox answers."""

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

# WeCom's own, which many programs have written into them. Only the port with TLS answers to them.
WECOM_HOSTS = (
    "qyapi.weixin.qq.com",
    "open.weixin.qq.com",
    "login.work.weixin.qq.com",
    "open.work.weixin.qq.com",
)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


def is_loopback(host: str) -> bool:
    """Whether the sandbox may listen there: it has no passwords and answers for companies."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def is_everywhere(host: str) -> bool:
    """Whether it stands for all addresses of the machine."""
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return False


def checked(name: str) -> str:
    """A host name or an IP address in small letters, without scheme and port. Raises ValueError."""
    lowered = name.lower()
    with suppress(ValueError):
        return str(ip_address(lowered))
    if not _NAME.fullmatch(lowered):
        raise ValueError(f"{name} is not the name of a host (without scheme and port)")
    return lowered


def guard(allowed: Iterable[str] = ()) -> Middleware:
    """Refuse names that another site's page could have pointed here (DNS rebinding), with 421.

    `allowed`: names beside the loopback ones, as `checked` gives them.
    """
    plain = frozenset({*LOOPBACK_NAMES, *allowed})
    secure = plain | set(WECOM_HOSTS)

    @web.middleware
    async def answer(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if _name_of(request.host) not in (secure if request.secure else plain):
            raise web.HTTPMisdirectedRequest(
                text="The sandbox answers on loopback names only, and on those of --allow-host.\n"
            )
        return await handler(request)

    return answer


def _name_of(host: str) -> str:
    """The Host header without its port and brackets."""
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return name.lower().removeprefix("[").removesuffix("]")


_YEARS = timedelta(days=3650)
# The longest that browsers take from a server.
_SERVER_DAYS = timedelta(days=397)
# Clocks of containers and machines differ.
_EARLIER = timedelta(days=1)
_CERTIFICATE, _KEY = "ca.pem", "ca-key.pem"


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign for its `names` only: whoever trusts it trusts it for nothing else."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    names: tuple[str, ...]

    @classmethod
    def new(cls, allowed: Iterable[str] = ()) -> Authority:
        """A throw-away one, for WeCom's hosts, this machine and the `allowed` names (hosts.checked)."""
        names = tuple(dict.fromkeys([*WECOM_HOSTS, *LOOPBACK_NAMES, *allowed]))
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("WeCom sandbox, not the real WeCom")
        builder = _builder(subject, subject, key.public_key(), key.public_key(), _YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        permitted: list[x509.GeneralName] = [_permitted(name) for name in names]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key, names)

    @classmethod
    def kept(cls, folder: Path, allowed: Iterable[str] = ()) -> Authority:
        """The one in `folder`, made there at the first time. Its key is for its owner only.

        Raises OSError, and ValueError for one that is broken, over, readable by others or not for all names.
        """
        certificate, key = folder / _CERTIFICATE, folder / _KEY
        if not key.exists() and not certificate.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = cls.new(allowed)
            _write(key, made._key_pem(serialization.NoEncryption()), mode=0o600)
            _write(certificate, made.pem.encode(), mode=0o644)
        return _read(certificate, key, allowed)

    @property
    def pem(self) -> str:
        """The certificate, which is no secret: what programs are told to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def spki_sha256(self) -> str:
        """The public key's fingerprint in base64, as Chromium's --ignore-certificate-errors-spki-list wants it."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self.key.public_key().public_bytes(serialization.Encoding.DER, form)
        return base64.b64encode(hashlib.sha256(public).digest()).decode()

    def server_context(self) -> ssl.SSLContext:
        """TLS for all names, with a key of its own. The CA's certificate is sent along."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_general(name) for name in self.names])
        subject = _name("wecom-sandbox")
        builder = _builder(subject, self.certificate.subject, key.public_key(), self.key.public_key(), _SERVER_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return _context(certificate + self.pem.encode(), key)

    def _key_pem(self, encryption: serialization.KeySerializationEncryption) -> bytes:
        return _pem(self.key, encryption)


def _read(certificate: Path, key: Path, allowed: Iterable[str]) -> Authority:
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
        raise ValueError(f"{certificate} is over; delete it and {key.name} to get new ones")
    constraints = found.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    names = tuple(dict.fromkeys([*WECOM_HOSTS, *LOOPBACK_NAMES, *allowed]))
    missing = [name for name in names if _permitted(name) not in constraints]
    if missing:
        raise ValueError(f"{certificate} is not for {', '.join(missing)}; delete it and {key.name} to get new ones")
    return Authority(found, private, names)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    lasts: timedelta,
) -> x509.CertificateBuilder:
    """What both certificates have. `signer`: the public key of the CA."""
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _EARLIER).not_valid_after(now + lasts - _EARLIER)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
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


def _general(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


def _permitted(name: str) -> x509.GeneralName:
    """The name in a constraint, where an address is a network."""
    with suppress(ValueError):
        return x509.IPAddress(ip_network(name))
    return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _context(chain: bytes, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    """Python reads keys from files only: this one is encrypted, for its owner, and gone at once."""
    password = secrets.token_bytes(32).hex().encode()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(chain + _pem(key, serialization.BestAvailableEncryption(password)))
        file.flush()
        context.load_cert_chain(file.name, password=password)
    return context


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """A new file. Raises FileExistsError: two that start at once do not overwrite each other's."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
