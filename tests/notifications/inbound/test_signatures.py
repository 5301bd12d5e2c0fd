"""Signatures of the usual senders: what is accepted, and everything that is refused."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from notifications.inbound.channels import REPLAY_SECONDS, SCHEMES, Proof, make_digest, verify_proof
from notifications.models import InboundChannel

SECRET = "gwi_secret"
BODY = b'{"a": 1}'
NOW = 1_800_000_000


def make_signature(content: bytes, algorithm: str = "sha256", secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), content, getattr(hashlib, algorithm)).hexdigest()


def sign_with_time(seconds: int, content: bytes = BODY) -> str:
    return f"t={seconds},v1={make_signature(f'{seconds}.'.encode() + content)}"


GOOD: dict[str, dict[str, Any]] = {
    "bearer": {"headers": {"Authorization": f"Bearer {SECRET}"}},
    "basic": {"headers": {"Authorization": "Basic " + base64.b64encode(f"anybody:{SECRET}".encode()).decode()}},
    "header": {"headers": {"X-Channel-Token": SECRET}},
    "gitlab": {"headers": {"X-Gitlab-Token": SECRET}},
    "hmac_sha256": {"headers": {"X-Hub-Signature-256": f"sha256={make_signature(BODY)}"}},
    "hmac_sha1": {"headers": {"X-Hub-Signature": f"sha1={make_signature(BODY, 'sha1')}"}},
    "hmac": {"headers": {"X-Signature": make_signature(BODY).upper()}},
    "grafana": {"headers": {"X-Grafana-Alerting-Signature": make_signature(BODY)}},
    "grafana_timed": {
        "headers": {
            "X-Grafana-Alerting-Signature": make_signature(f"{NOW}:".encode() + BODY),
            "X-Grafana-Timestamp": str(NOW),
        }
    },
    "timed": {"headers": {"X-Signature": sign_with_time(NOW)}},
    "query": {"query": {"token": SECRET}},
}


def make_proof(headers: dict[str, str] | None = None, query: dict[str, str] | None = None, body: bytes = BODY) -> Proof:
    return Proof(headers or {}, query or {}, body)


def accepts(scheme: str, given: Proof, secret: str = SECRET, now: float = NOW) -> bool:
    channel = InboundChannel(scheme=scheme)
    if SCHEMES[scheme].needs_secret:
        channel.secret = secret
    elif secret:
        channel.digest = make_digest(secret)
    return verify_proof(channel, given, now=now) is not None


def test_every_scheme_of_a_webhook_is_tested() -> None:
    assert {*GOOD, "password"} == set(SCHEMES)


@pytest.mark.parametrize("scheme", GOOD)
def test_takes_its_proof_and_no_other(scheme: str) -> None:
    good = make_proof(**GOOD[scheme])

    assert accepts(scheme, good)
    assert not accepts(scheme, good, secret="gwi_another")
    assert not accepts(scheme, make_proof())
    # A channel without a secret accepts nothing, not even an empty secret.
    assert not accepts(scheme, good, secret="")


@pytest.mark.parametrize("scheme", [name for name in GOOD if SCHEMES[name].needs_secret])
def test_refuses_a_signature_of_another_body(scheme: str) -> None:
    assert not accepts(scheme, make_proof(**GOOD[scheme], body=b'{"a": 2}'))


@pytest.mark.parametrize("scheme", GOOD)
def test_refuses_odd_values(scheme: str) -> None:
    names = ("Authorization", "X-Channel-Token", "X-Gitlab-Token", "X-Hub-Signature-256", "X-Hub-Signature")
    more = ("X-Signature", "X-Grafana-Alerting-Signature", "X-Grafana-Timestamp")

    for odd in ("", " ", "=", "sha256=", "sha256=zz", "t=,v1=", "t=1e9,v1=00", "\ud800", "中", "Basic !!"):
        assert not accepts(scheme, make_proof(dict.fromkeys((*names, *more), odd), {"token": odd}))


@pytest.mark.parametrize("off", [-REPLAY_SECONDS, REPLAY_SECONDS])
def test_takes_a_time_within_the_replay_window(off: int) -> None:
    assert accepts("timed", make_proof({"X-Signature": sign_with_time(NOW)}), now=NOW + off)


@pytest.mark.parametrize("scheme", ["timed", "grafana_timed"])
@pytest.mark.parametrize("off", [-REPLAY_SECONDS - 1, REPLAY_SECONDS + 1])
def test_refuses_a_call_that_was_recorded(scheme: str, off: int) -> None:
    assert not accepts(scheme, make_proof(**GOOD[scheme]), now=NOW + off)


def test_takes_a_signature_in_base64_and_one_of_several() -> None:
    """Senders sign with both secrets while one replaces the other."""
    digits = base64.b64encode(bytes.fromhex(make_signature(BODY))).decode()
    several = f"t={NOW},v1={'00' * 32},v1={sign_with_time(NOW).partition('v1=')[2]}"

    assert accepts("hmac", make_proof({"X-Signature": digits}))
    assert accepts("timed", make_proof({"X-Signature": several}))
