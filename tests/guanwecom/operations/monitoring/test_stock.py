"""Metrics of what waits, what is used up and what expires, in /metrics and on the overview."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import current_app
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEntry
from guanwecom.operations import monitoring
from guanwecom.operations.monitoring import LimitShare
from integrations.companies import links
from integrations.models import Job, SiteAddress
from notifications.delivery.channels import make_address_scope, make_company_scope
from notifications.delivery.limiter import Request, ask_gate
from notifications.models import Robot
from tests.audit import set_trail_time
from tests.jobs import do_jobs
from tests.notifications.factories import NOW, make_corp, make_people, make_run, make_subscription

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unread() -> None:
    monitoring.forget_secrets()


def test_work_is_counted_by_its_kind_and_tasks_by_their_queue(settings: Settings) -> None:
    (person,) = make_people(make_corp(), 1)
    make_run(make_subscription(person))
    for _ in range(2):
        current_app.send_task("nothing", queue="data")

    assert monitoring.count_waiting_work(now=NOW) == {**dict.fromkeys(monitoring.WORK, 0), "runs": 1}
    assert monitoring.count_queued_tasks() == {"urgent": 0, "celery": 0, "data": 2, "charts": 0, "snapshots": 0}
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    assert (monitoring.count_queued_tasks(), monitoring.measure_limits()) == ({}, [])


def test_the_limits_are_used_by_calls(settings: Settings) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_COMPANY_PER_HOUR = 10, 0
    settings.LIMIT_ADDRESS_PER_MINUTE, settings.LIMIT_ADDRESS_PER_HOUR = 20, 40
    corp = make_corp()
    scopes = (make_address_scope(corp), make_company_scope(corp.corpid))
    ask_gate(lambda gate: gate.acquire([Request(id=str(number), scopes=scopes) for number in range(5)]))

    assert monitoring.measure_limits() == [
        LimitShare("address_minute", None, 0.25),
        LimitShare("company_minute", corp.pk, 0.5),
        LimitShare("address_hour", None, 0.125),
    ]
    held = make_corp()
    ask_gate(lambda gate: gate.hold_scopes([make_company_scope(held.corpid)], seconds=120))
    assert LimitShare("company_minute", held.pk, 0.0) in monitoring.measure_limits()


# --- Certificates ----------------------------------------------------------------------------------------------------

ENDS = datetime(2027, 3, 1, tzinfo=UTC)


def certified(ends_at: datetime) -> tuple[bytes, bytes]:
    """Make an unsigned certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(ends_at - timedelta(days=400)).not_valid_after(ends_at)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return certificate, key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)


def test_certificates_of_files_and_rows(settings: Settings, tmp_path: Path) -> None:
    door = tmp_path / "door.pem"
    door.write_bytes(certified(ENDS)[0])
    settings.MAIL_DOOR_CERTIFICATE = str(door)
    bundle = certified(ENDS + timedelta(days=2))[0] + certified(ENDS + timedelta(days=1))[0]
    corp = make_corp(ca_bundle=bundle.decode())
    make_corp(ca_bundle="broken")

    found = {(one.kind, one.name): one.ends_at for one in monitoring.find_certificates()}

    assert found == {("mail_door", ""): ENDS, ("wecom", str(corp.pk)): ENDS + timedelta(days=1)}


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A port of this machine that answers with an expired certificate."""
    certificate, key = tmp_path / "site.pem", tmp_path / "site.key"
    for path, content in zip((certificate, key), certified(datetime(2026, 1, 1, tzinfo=UTC)), strict=True):
        path.write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_answer, args=(listener, context), daemon=True).start()
        yield listener.getsockname()[1]


def _answer(listener: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            accepted, _address = listener.accept()
            with closing(accepted), suppress(OSError), context.wrap_socket(accepted, server_side=True) as encrypted:
                encrypted.recv(1)


def test_a_site_s_certificate_is_seen_also_when_it_has_ended(tls_port: int) -> None:
    site = SiteAddress.objects.create(url=f"https://localhost:{tls_port}/")

    links.request_due_certificates(now=timezone.now())
    do_jobs()

    (found,) = monitoring.find_certificates()
    assert (found.kind, found.name, found.ends_at) == (
        "site",
        f"localhost:{tls_port}",
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    SiteAddress.objects.filter(pk=site.pk).update(url="https://localhost:1/", certificate_checked_at=None)
    links.request_due_certificates(now=timezone.now())
    do_jobs()
    assert list(monitoring.find_certificates()) == []  # nothing answers any more


def test_a_site_is_looked_at_once_an_hour() -> None:
    address = SiteAddress.objects.create(url="https://localhost:1/")
    SiteAddress.objects.create(url="http://localhost:1/")

    def is_asked_for(minutes: int) -> bool:
        now = NOW + timedelta(minutes=minutes)
        links.request_due_certificates(now=now)
        return Job.objects.get().requested_at == now

    assert [is_asked_for(minutes) for minutes in (0, 1, 59, 60, 61)] == [True, False, False, True, False]
    address.refresh_from_db()
    assert address.certificate_checked_at == NOW + timedelta(minutes=60)


def test_a_secret_is_as_old_as_its_last_change() -> None:
    corp = make_corp()
    robot = Robot.objects.create(corp=corp, name="daily", key="0a1b2c3d")
    set_trail_time(NOW - timedelta(days=400), model="notifications.robot")

    robot.name = "weekly"
    robot.save()
    monitoring.forget_secrets()
    assert {(one.kind, one.row_id): one.set_at for one in monitoring.find_secrets()}[
        "robot.key", robot.pk
    ] == NOW - timedelta(days=400)

    robot.key = "4e5f6a7b"
    robot.save()
    monitoring.forget_secrets()
    found = {(one.kind, one.row_id): one.set_at for one in monitoring.find_secrets()}
    assert found["robot.key", robot.pk] == AuditEntry.objects.latest("pk").at
    assert ("corp.contacts_secret", corp.pk) not in found
