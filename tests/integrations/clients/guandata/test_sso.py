"""Sign-on to the BI: keys, pages, and the token, which two independent programs open."""

import json
import subprocess
import textwrap
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.bi import find_page_address
from integrations.clients import guandata_sso
from integrations.clients.guandata_sso import (
    KeyFlaw,
    KeyRefusedError,
    build_sign_in_url,
    encrypt_claims,
    is_page_template,
)
from integrations.models import BiConnection
from tests.integrations.clients.guandata.opening import blocks_of, opened, opened_by_openssl
from tests.programs import needs

PEM = guandata_sso.generate_private_key()
LINE = "".join(PEM.splitlines()[1:-1])
KEY = guandata_sso.load_private_key(PEM)


def private(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def test_a_generated_key_is_pkcs8_with_as_many_bits_as_guandata_asks_for() -> None:
    assert PEM.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert KEY.key_size == 1024
    assert KEY.public_key().public_numbers().e == 65537
    assert guandata_sso.generate_private_key() != PEM


@pytest.mark.parametrize(
    "text",
    [PEM, f"\n  {PEM}\n", PEM.replace("\n", "\r\n"), LINE, f" {LINE}\n", "\n".join(textwrap.wrap(LINE, 76)),
     private(KEY, serialization.PrivateFormat.TraditionalOpenSSL)],
)  # fmt: skip
def test_a_key_is_read_as_pem_or_as_its_base64_alone(text: str) -> None:
    assert guandata_sso.format_private_key(guandata_sso.load_private_key(text)) == PEM


ENCRYPTED = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
).decode()


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", KeyFlaw.UNREADABLE),
        ("not a key", KeyFlaw.UNREADABLE),
        (LINE[:-8], KeyFlaw.UNREADABLE),
        (PEM.replace(LINE[70:100], ""), KeyFlaw.UNREADABLE),
        (guandata_sso.format_public_key(KEY), KeyFlaw.PUBLIC),
        (guandata_sso.format_public_line(KEY), KeyFlaw.PUBLIC),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", KeyFlaw.PUBLIC),
        (ENCRYPTED, KeyFlaw.ENCRYPTED),
        ("".join(ENCRYPTED.splitlines()[1:-1]), KeyFlaw.ENCRYPTED),
        (private(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.PKCS8), KeyFlaw.NOT_RSA),
        ("A" * 20_000, KeyFlaw.LONG),
    ],
)
def test_what_is_no_private_key_is_refused_by_its_flaw(text: str, flaw: KeyFlaw) -> None:
    with pytest.raises(KeyRefusedError) as refusal:
        guandata_sso.load_private_key(text)

    assert refusal.value.flaw is flaw
    assert str(refusal.value) == flaw.value


@needs("openssl")
@pytest.mark.parametrize(("bits", "flaw"), [(768, KeyFlaw.SHORT), (2048, KeyFlaw.LONG)])
def test_a_key_shorter_than_documented_or_too_long_is_refused(
    bits: int, flaw: KeyFlaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guandata_sso, "BITS_AT_MOST", 1536)  # a key of 4096 bits takes seconds to make
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout

    with pytest.raises(KeyRefusedError) as refusal:
        guandata_sso.load_private_key(text)

    assert refusal.value.flaw is flaw


FORMS = BiConnection()


@pytest.mark.parametrize(
    ("asked", "query", "desktop", "phone"),
    [
        ("", "", "/", "/"),
        ("", "a=1", "/?a=1", "/?a=1"),
        ("page/p1", "", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
        ("page/p1/", "", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
        ("page/p1", "from=menu", "/page/p1?from=menu", "/m/page/p1?pageRenderType=phoneView&from=menu"),
        ("m/page/p1", "", "/page/p1", "/m/page/p1?pageRenderType=phoneView"),
        ("m/page/p1", "pageRenderType=other", "/page/p1?pageRenderType=other", "/m/page/p1?pageRenderType=other"),
        ("page/a b", "", "/page/a%20b", "/m/page/a%20b?pageRenderType=phoneView"),
        ("card/c1", "ps=embed", "/card/c1?ps=embed", "/card/c1?ps=embed"),
        ("app/7/报表", "q=%E6%8A%A5", "/app/7/%E6%8A%A5%E8%A1%A8?q=%E6%8A%A5", "/app/7/%E6%8A%A5%E8%A1%A8?q=%E6%8A%A5"),
        ("what?x#y", "", "/what%3Fx%23y", "/what%3Fx%23y"),
        ("survey-engine", "", "/?path_url=survey-engine", "/?path_url=survey-engine"),
        (
            "survey-engine/m/survey/4b",
            "a=1&b=%20",
            "/?path_url=survey-engine%2Fm%2Fsurvey%2F4b%3Fa%3D1%26b%3D%2520",
            "/?path_url=survey-engine%2Fm%2Fsurvey%2F4b%3Fa%3D1%26b%3D%2520",
        ),
        ("survey-engines", "", "/survey-engines", "/survey-engines"),
    ],
)
def test_a_page_has_a_form_for_each_device(asked: str, query: str, desktop: str, phone: str) -> None:
    assert find_page_address(FORMS, asked, query, on_phone=False) == desktop
    assert find_page_address(FORMS, asked, query, on_phone=True) == phone


def test_other_forms_can_be_set() -> None:
    forms = BiConnection(
        desktop_page="/p/{id}/view",
        phone_page="/mobile/{id}",
        desktop_home="/home",
        phone_home="/m/home?v=2",
        routed_paths="",
    )

    assert find_page_address(forms, "p/7/view", "a=1", on_phone=True) == "/mobile/7?a=1"
    assert find_page_address(forms, "mobile/7", "", on_phone=False) == "/p/7/view"
    assert find_page_address(forms, "", "", on_phone=True) == "/m/home?v=2"
    assert find_page_address(forms, "", "a=1", on_phone=True) == "/m/home?v=2&a=1"
    assert find_page_address(forms, "survey-engine", "", on_phone=False) == "/survey-engine"
    assert find_page_address(BiConnection(phone_page=""), "page/7", "", on_phone=True) == "/page/7"


STRANGERS = [
    "ssoToken=evil", "provider=evil", "ssotoken=evil", "SSOTOKEN=evil", "%73soToken=evil", "sso%54oken=evil",
    "%2573soToken=evil", "ssoToken", "ssoToken=", "+ssoToken=evil", "%20ssoToken=evil", "a=1;ssoToken=evil",
    "a=1%26ssoToken=evil", "a=%26provider%3Devil", "a?ssoToken=evil", "x%23ssoToken=evil",
    "ssoToken[]=evil", "ssoToken%5B%5D=evil", "ssoToken[0]=evil", "ssoToken[a][b]=evil", "[ssoToken]=evil",
    "a[ssoToken]=evil", "ssoToken.0=evil", "user.ssoToken=evil", "ssoToken%00=evil", "ssoToken%00[]=evil",
    "sso_token=evil", "sso-token=evil", "SSO%20Token=evil", "sso%E2%80%8BToken=evil", "%u0073soToken=evil",
    "sso%C5%BFtoken=evil;%C5%BFsoToken=evil", "ssoTo%E2%84%AAen=evil", "%EF%BD%93soToken=evil", "%C1%B3soToken=evil",
    "provider[]=evil", "Provider%5b0%5d=evil", "amp;ssoToken=evil", "path_url=page/p1?ssoToken=evil",
]  # fmt: skip


@pytest.mark.parametrize("asked", ["", "page/p1", "card/c1", "survey-engine/m/1"])
def test_a_stranger_s_token_is_left_out(asked: str) -> None:
    for stranger in STRANGERS:
        for on_phone in (False, True):
            page = find_page_address(FORMS, asked, f"a=1&{stranger}&b=2", on_phone=on_phone)

            assert page == find_page_address(FORMS, asked, "a=1&b=2", on_phone=on_phone), stranger


@pytest.mark.parametrize(
    "query", ["q=ssoToken", "ssoTokens=1", "providers[]=1", "data-provider=x", "q=%B1%A8", "a[]=1"]
)
def test_what_only_resembles_it_stays(query: str) -> None:
    assert find_page_address(FORMS, "page/p1", query, on_phone=False) == f"/page/p1?{query}"


@pytest.mark.parametrize("stranger", ["ssoToken=evil", "ssoToken[]=evil", "%73soToken=evil"])
def test_a_stranger_s_token_in_a_saved_form_is_left_out(stranger: str) -> None:
    forms = BiConnection(desktop_page="/page/{id}?a=1&" + stranger, desktop_home=f"/?{stranger}&a=1")

    assert find_page_address(forms, "", "b=2", on_phone=False) == "/?a=1&b=2"
    assert find_page_address(forms, "page/7", "b=2", on_phone=False) == "/page/7?a=1&b=2"
    assert find_page_address(forms, "survey-engine", "", on_phone=False) == "/?a=1&path_url=survey-engine"


def test_a_token_inside_the_path_of_a_form_stays_part_of_its_path() -> None:
    page = find_page_address(FORMS, "survey-engine/x?ssoToken=evil", "", on_phone=False)

    assert page == "/?path_url=survey-engine%2Fx%253FssoToken%3Devil"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/page/{id}", True),
        ("/m/page/{id}?pageRenderType=phoneView", True),
        ("/{id}", True),
        ("/x/{id}/view", True),
        ("", False),
        ("page/{id}", False),
        ("/page/", False),
        ("/page/x{id}", False),
        ("/page/{id}/{id}", False),
        ("/page/{name}", False),
        ("/page?id={id}", False),
        ("//evil.example/{id}", False),
        ("https://evil.example/{id}", False),
        ("/page/{id}#x", False),
        ("/page/{id}?ssoToken=evil", False),
        ("/page/{id}?a=1&provider=evil", False),
        ("/page/{id}?ssoToken[]=evil", False),
        ("/page/{id};ssoToken=evil", False),
    ],
)
def test_a_template_has_the_id_as_a_whole_part_of_its_path(text: str, is_one: bool) -> None:
    assert is_page_template(text) is is_one


trickery = st.text(max_size=40) | st.text(alphabet="/\\%2fFcC5.:@?#&=;\r\n\t {}-", max_size=30)


@settings(max_examples=50, deadline=None)
@given(asked=trickery, query=trickery.map(lambda text: quote(text, safe="/?&=;%")), on_phone=st.booleans())
def test_whatever_is_asked_for_the_landing_is_the_bi_with_our_token_alone(
    asked: str, query: str, on_phone: bool
) -> None:
    page = find_page_address(FORMS, asked, query, on_phone=on_phone)
    address = build_sign_in_url(base_url="https://bi.example.com", page=page, provider="guanbi", token="ab12")

    assert page.startswith("/")
    arrived = urlsplit(urljoin("https://site.example/", address))
    assert (arrived.scheme, arrived.netloc) == ("https", "bi.example.com")
    assert urlsplit(unquote(address).replace("\\", "/")).netloc == "bi.example.com"
    pairs = [(name, value) for name, value in parse_qsl(arrived.query) if name.lower() in {"ssotoken", "provider"}]
    assert pairs == [("provider", "guanbi"), ("ssoToken", "ab12")]


KEYS = {bits: guandata_sso.load_private_key(guandata_sso.generate_private_key(bits)) for bits in (1024, 1032, 2048)}
BITS = pytest.mark.parametrize("bits", KEYS)


def encrypt(bits: int, person: str = "lilei", seconds: int = 60, **more: str) -> str:
    return encrypt_claims(
        KEYS[bits], external_user_id=person, issued_at=1_780_000_000, lifetime_seconds=seconds, **more
    )


@needs("openssl")
@BITS
@pytest.mark.parametrize("person", ["lilei", "x" * 600])
def test_openssl_opens_the_token_with_the_public_key_block_by_block(bits: int, person: str) -> None:
    key, token = KEYS[bits], encrypt(bits, person, domain_id="guanbi")

    found = opened_by_openssl(token, guandata_sso.format_public_key(key), bits // 8)

    assert found == {
        "domainId": "guanbi",
        "externalUserId": person,
        "timestamp": 1_780_000_000,
        "expiredTimeSeconds": 60,
    }
    assert len(blocks_of(token, bits // 8)) == -(-len(json.dumps(found, separators=(",", ":"))) // (bits // 8 - 11))
    assert opened(token, guandata_sso.format_public_key(key)) == found


def test_the_domain_is_left_out_where_there_is_none() -> None:
    found = opened(encrypt(1024), guandata_sso.format_public_key(KEYS[1024]))

    assert set(found) == {"externalUserId", "timestamp", "expiredTimeSeconds"}


@pytest.mark.parametrize(("person", "seconds"), [("", 60), ("lilei", 0), ("lilei", -1), ("lilei", 301)])
def test_no_token_for_nobody_and_none_that_lives_too_long(person: str, seconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 300"):
        encrypt(1024, person, seconds)


@pytest.mark.parametrize(
    ("page", "provider", "address"),
    [
        ("/", "guanbi", "https://bi.example.com/?provider=guanbi&ssoToken=ab12"),
        ("/page/7?x=1", "guanbi", "https://bi.example.com/page/7?x=1&provider=guanbi&ssoToken=ab12"),
        ("/", "a&b 观", "https://bi.example.com/?provider=a%26b%20%E8%A7%82&ssoToken=ab12"),
    ],
)
def test_the_entrance_carries_provider_and_token_behind_the_page(page: str, provider: str, address: str) -> None:
    assert build_sign_in_url(base_url="https://bi.example.com", page=page, provider=provider, token="ab12") == address
