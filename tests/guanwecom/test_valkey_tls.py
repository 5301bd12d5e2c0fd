"""Verification of a rediss:// address by every connection to Valkey: the broker's, the cache's and our own.

The tests' Valkey has no TLS, so a TLS server with a certificate made for the test stands before it.
"""

import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from tests.authority import Authority
from tests.programs import run_program

# Tries each connection in a process with its own settings, and prints the result.
TRY_ALL = """
import json
import django
django.setup()
from django.core.cache import cache
from guanwecom.celery import app
from integrations.core.redis import valkey

def outcome(connect):
    try:
        connect()
    except Exception as error:  # whatever it is, the test compares its text
        return "refused" if "certificate verify failed" in str(error) else repr(error)
    return "connected"

def broker(connection):
    with connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        connection.default_channel.client.ping()

print(json.dumps({
    "broker, read": outcome(lambda: broker(app.connection_for_read())),
    "broker, write": outcome(lambda: broker(app.connection_for_write())),
    "cache": outcome(lambda: cache.set("a", 1)),
    "own": outcome(lambda: valkey().ping()),
}))
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority("authority", tmp_path)


@pytest.fixture
def tls_url(authority: Authority) -> Iterator[str]:
    """The address of a TLS server, certified as localhost, before the tests' Valkey."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certify("localhost"))
    behind = urlsplit(settings.VALKEY_URL)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_accept, args=(listener, context, ("127.0.0.1", behind.port)), daemon=True).start()
        yield f"rediss://:{behind.password}@localhost:{listener.getsockname()[1]}/0"


def _accept(listener: socket.socket, context: ssl.SSLContext, behind: tuple[str, int]) -> None:
    with suppress(OSError):  # the listener was closed
        while True:
            plain, _address = listener.accept()
            threading.Thread(target=_serve, args=(plain, context, behind), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, behind: tuple[str, int]) -> None:
    with suppress(OSError):  # a client that does not trust the certificate goes away
        client, server = context.wrap_socket(plain, server_side=True), socket.create_connection(behind)
        threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
        _pass_on(client, server)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError), source, target:
        while received := source.recv(65536):
            target.sendall(received)


def outcomes(root: Path, url: str, ca_bundle: Path | None) -> dict[str, str]:
    changes = {"VALKEY_URL": url, "VALKEY_CA_BUNDLE": str(ca_bundle or "")}
    env = {**os.environ, **changes, "DJANGO_SETTINGS_MODULE": "guanwecom.settings"}
    done = run_program([sys.executable, "-c", TRY_ALL], env=env, cwd=root)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


EVERY = ("broker, read", "broker, write", "cache", "own")


def test_a_certificate_of_anybody_but_the_named_authority_is_refused(
    project_root: Path, tls_url: str, authority: Authority
) -> None:
    assert outcomes(project_root, tls_url, authority.file) == dict.fromkeys(EVERY, "connected")
    assert outcomes(project_root, tls_url, None) == dict.fromkeys(EVERY, "refused")
    url = tls_url.replace("@localhost:", "@127.0.0.1:")
    assert outcomes(project_root, url, authority.file) == dict.fromkeys(EVERY, "refused")
