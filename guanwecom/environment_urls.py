"""Reads addresses of the servers that are told of errors and standstills."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import parse_qs, urlsplit


def robot_webhook(text: str) -> tuple[str, str] | None:
    """Base address and key of a group robot's webhook; None for none. Raises ValueError, which does not show it."""
    if not text:
        return None
    parts = urlsplit(text)
    key = parse_qs(parts.query).get("key", [""])[0]
    if parts.scheme not in {"http", "https"} or not parts.hostname or not key:
        raise ValueError("expected a group robot's webhook address, https://…?key=… (the value is not shown)")
    return f"{parts.scheme}://{parts.netloc}", key


def sentry_dsn(text: str) -> str:
    """http:// or https:// with a host; empty for none. Raises ValueError, which does not show it, and where Sentry's
    package is not installed."""
    if text and find_spec("sentry_sdk") is None:
        raise ValueError("needs the packages of requirements-telemetry.txt")
    parts = urlsplit(text)
    if text and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("expected an address that begins with https:// (the value is not shown)")
    return text
