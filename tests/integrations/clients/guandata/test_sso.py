"""The token, opened with the public key by two programs that are not ours, and the address that it stands in."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.clients import guandata_sso
from integrations.clients.guandata_sso import Claims, entrance, sealed
from tests.integrations.clients.guandata.opening import blocks_of, opened, opened_by_openssl
from tests.programs import needs

KEYS = {bits: guandata_sso.load(guandata_sso.generate(bits)) for bits in (1024, 1032, 2048)}
BITS = pytest.mark.parametrize("bits", KEYS)


def claims(external_user_id: str = "lilei", **more: object) -> Claims:
    return Claims(external_user_id, 1_780_000_000, 60, **more)  # type: ignore[arg-type]  # a test's own words


@needs("openssl")
@BITS
def test_openssl_opens_the_token_with_the_public_key(bits: int) -> None:
    key = KEYS[bits]

    found = opened_by_openssl(sealed(claims(domain_id="guanbi"), key), guandata_sso.public_pem(key), bits // 8)

    assert found == {
        "domainId": "guanbi",
        "externalUserId": "lilei",
        "timestamp": 1_780_000_000,
        "expiredTimeSeconds": 60,
    }


@needs("openssl")
@BITS
def test_claims_longer_than_a_block_are_cut_into_blocks_of_key_bytes_less_eleven(bits: int) -> None:
    key, person = KEYS[bits], "x" * 600
    token = sealed(claims(person), key)

    length = len(claims(person).as_json())
    assert len(blocks_of(token, bits // 8)) == -(-length // (bits // 8 - 11))
    assert opened(token, guandata_sso.public_pem(key))["externalUserId"] == person
    assert opened_by_openssl(token, guandata_sso.public_pem(key), bits // 8)["externalUserId"] == person


def test_a_block_of_the_documented_key_holds_117_bytes() -> None:
    person = "x" * (117 - len(claims("").as_json()))

    assert len(blocks_of(sealed(claims(person), KEYS[1024]), 128)) == 1
    assert len(blocks_of(sealed(claims(f"{person}x"), KEYS[1024]), 128)) == 2


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_every_id_arrives_as_it_is(person: str) -> None:
    found = opened(sealed(claims(person), KEYS[1024]), guandata_sso.public_pem(KEYS[1024]))

    assert found["externalUserId"] == person


def test_the_domain_is_left_out_where_there_is_none() -> None:
    found = opened(sealed(claims(), KEYS[1024]), guandata_sso.public_pem(KEYS[1024]))

    assert set(found) == {"externalUserId", "timestamp", "expiredTimeSeconds"}


def test_another_key_opens_nothing() -> None:
    other: RSAPrivateKey = guandata_sso.load(guandata_sso.generate())

    with pytest.raises((AssertionError, ValueError)):
        opened(sealed(claims(), KEYS[1024]), guandata_sso.public_pem(other))


@pytest.mark.parametrize(("person", "seconds"), [("", 60), ("lilei", 0), ("lilei", -1), ("lilei", 301)])
def test_no_token_for_nobody_and_none_that_lives_too_long(person: str, seconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 300"):
        sealed(Claims(person, 1_780_000_000, seconds), KEYS[1024])


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("/", "https://bi.example.com/?provider=guanbi&ssoToken=ab12"),
        ("/page/7?x=1", "https://bi.example.com/page/7?x=1&provider=guanbi&ssoToken=ab12"),
    ],
)
def test_the_entrance_carries_provider_and_token_behind_the_page(page: str, address: str) -> None:
    assert entrance(base_url="https://bi.example.com", page=page, provider="guanbi", token="ab12") == address


def test_a_provider_is_encoded() -> None:
    assert "provider=a%26b%20%E8%A7%82&" in entrance(base_url="https://b", page="/", provider="a&b 观", token="1")
