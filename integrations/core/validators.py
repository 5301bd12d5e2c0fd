"""Cleaning and validation of pasted values. The errors say what to enter."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import SplitResult, quote, urlsplit

from cryptography import x509
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from integrations.models import is_local_host

DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_URL_CHARACTERS = "%/:@!$&'()*+,;=~"
_DEPARTMENT_SEPARATORS = re.compile(r"[\s,，、;；]+")
DEPARTMENT_ID_AT_MOST = 2**32 - 1


def remove_invisible(text: str) -> str:
    """Return `text` without control and format characters (zero-width space, BOM, …) and without spaces around it.

    Halves of surrogate pairs, which JSON may hold and no column takes, are removed, too.
    """
    return "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cf", "Cs"}).strip()


def remove_spaces(text: str) -> str:
    """Return `text` without any spaces and invisible characters, for ids and secrets, which have none."""
    return "".join(remove_invisible(text).split())


def normalise_site_address(text: str) -> str:
    """Return the canonical form of a site address: `scheme://host[:port]/`, in lower case.

    Raises ValidationError in plain words. WeCom accepts no IP address and no underscore in a domain, and an
    international name only in its ASCII form, which the error names.
    """
    parts, scheme = _split_address(remove_spaces(text))
    host = parts.hostname or ""
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.netloc.endswith(":"):
        raise ValidationError(
            _("Write scheme and host only, without anything after the host: %(example)s"),
            code="path",
            params={"example": f"{scheme}://{_encode_host(host)}/"},
        )
    port = _read_port(parts)
    shown_port = "" if port in {None, DEFAULT_PORTS[scheme]} else f":{port}"
    name = _encode_host(host.rstrip("."))
    if not host.isascii():
        raise ValidationError(
            _("WeCom's console takes a domain in ASCII letters only. Write “%(host)s” as %(ascii)s."),
            code="not_ascii",
            params={"host": host[:255], "ascii": name},
        )
    if _is_ip_address(name):
        raise ValidationError(
            _("WeCom accepts no IP address as a domain. Use a host name, as https://bi.example.com/."), code="ip"
        )
    if "_" in name:
        raise ValidationError(_("WeCom accepts no domain with an underscore (_)."), code="underscore")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValidationError(_("“%(host)s” is not a host name."), code="host", params={"host": host[:255]})
    if len(labels) == 1 and not is_local_host(name):
        raise ValidationError(
            _("“%(host)s” is a name inside your network only. WeCom needs a full domain, as bi.example.com."),
            code="short",
            params={"host": host},
        )
    return f"{scheme}://{name}{shown_port}/"


def normalise_base_url(text: str) -> str:
    """Return an API address without a trailing slash. Refuse plain http to other machines: calls carry the secret."""
    parts, scheme = _split_address(remove_spaces(text))
    if parts.query or parts.fragment:
        raise ValidationError(_("The address must end before “?” and “#”."), code="query")
    _read_port(parts)
    if scheme == "http" and not is_local_host(parts.hostname or ""):
        raise ValidationError(
            _("The address must begin with https://, because the Secret travels with each call."), code="plain"
        )
    # ASCII, because links are made of it, and WeCom's pages take nothing else.
    return f"{scheme}://{_encode_host(parts.netloc)}{quote(parts.path, safe=_URL_CHARACTERS)}".rstrip("/")


def normalise_proxy_url(text: str) -> str:
    """Validate `http://[user:password@]host[:port]`. No error shows the value."""
    text = remove_spaces(text)
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # raises for an invalid port
        is_proxy = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.path in {"", "/"}
    except ValueError:
        is_proxy = False
    if not is_proxy:
        raise ValidationError(_("Write the proxy as http://user:password@host:port or http://host:port."), code="proxy")
    return text.rstrip("/")


def validate_certificates(pem: str) -> None:
    """Refuse text that is not a list of PEM certificates, and any private key."""
    if "PRIVATE KEY" in pem:
        raise ValidationError(_("This contains a private key. Paste certificates only."), code="private_key")
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise ValidationError(
            _("These are not certificates in PEM form (-----BEGIN CERTIFICATE----- …)."), code="certificates"
        ) from error


def parse_department_ids(text: str) -> list[int]:
    """Parse department ids separated by commas (Western or Chinese) or spaces, each once, in order."""
    ids: list[int] = []
    for word in map(remove_invisible, _DEPARTMENT_SEPARATORS.split(text)):
        if not word:
            continue
        if not (word.isascii() and word.isdigit() and 0 < int(word) <= DEPARTMENT_ID_AT_MOST):
            raise ValidationError(
                _("“%(word)s” is not a department ID: a whole number such as 1 or 42."),
                code="department",
                params={"word": word[:64]},
            )
        ids.append(int(word))
    return list(dict.fromkeys(ids))


def _split_address(text: str) -> tuple[SplitResult, str]:
    try:
        parts = urlsplit(text)
        hostname = parts.hostname
    except ValueError as error:
        raise ValidationError(_("This is not an address."), code="address") from error
    if parts.scheme.lower() not in DEFAULT_PORTS or not text.lower().startswith(("http://", "https://")):
        raise ValidationError(_("The address must begin with http:// or https://."), code="scheme")
    if not hostname:
        raise ValidationError(_("The address has no host name."), code="host")
    if "@" in parts.netloc:
        raise ValidationError(_("The address must not contain a user name or password."), code="user")
    return parts, parts.scheme.lower()


def _read_port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError as error:
        raise ValidationError(_("The port must be a number from 1 to 65535."), code="port") from error
    if port == 0:
        raise ValidationError(_("The port must be a number from 1 to 65535."), code="port")
    return port


def _encode_host(host: str) -> str:
    """Return a host, perhaps with its port, in lower case and as punycode. Raises ValidationError."""
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError as error:
        raise ValidationError(_("“%(host)s” is not a host name."), code="host", params={"host": host}) from error


def _is_ip_address(name: str) -> bool:
    """Return whether browsers take the name for an IP address: all that end in a number (0x7f.1, 2130706433)."""
    if ":" in name:
        return True
    last = name.rsplit(".", 1)[-1]
    if re.fullmatch(r"\d+|0x[0-9a-f]*", last):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
