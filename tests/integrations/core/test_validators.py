"""Pasted input: tidied, or refused with a sentence."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.core.exceptions import ValidationError

from integrations.core import validators
from tests.authority import Authority

ZERO_WIDTH = "\u200b"
BOM = "\ufeff"


def code_of(refusal: pytest.ExceptionInfo[ValidationError]) -> str | None:
    code: str | None = refusal.value.code
    return code


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://bi.example.com/", "https://bi.example.com/"),
        ("https://bi.example.com", "https://bi.example.com/"),
        ("  HTTPS://BI.Example.COM  ", "https://bi.example.com/"),
        (f"https://bi.{ZERO_WIDTH}example.com{BOM}", "https://bi.example.com/"),
        ("http://bi.example.com:80/", "http://bi.example.com/"),
        ("https://bi.example.com:443/", "https://bi.example.com/"),
        ("https://bi.example.com:80/", "https://bi.example.com:80/"),
        ("https://bi.example.com:8443", "https://bi.example.com:8443/"),
        ("https://bi.example.com./", "https://bi.example.com/"),
        ("https://xn--4ruo45f.example.com/", "https://xn--4ruo45f.example.com/"),
        ("http://localhost:3001/", "http://localhost:3001/"),
        ("https://1.bi.example.com", "https://1.bi.example.com/"),
    ],
)
def test_a_site_address_has_one_canonical_form(typed: str, kept: str) -> None:
    assert validators.normalise_site_address(typed) == kept


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "scheme"),
        ("bi.example.com", "scheme"),
        ("bi.example.com:8443", "scheme"),
        ("//bi.example.com", "scheme"),
        ("ftp://bi.example.com", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("https:bi.example.com", "scheme"),
        ("https://", "host"),
        ("https://:8443/", "host"),
        ("https://bi.example.com/bi", "path"),
        ("https://bi.example.com//", "path"),
        ("https://bi.example.com?x=1", "path"),
        ("https://bi.example.com/#top", "path"),
        ("https://bi.example.com:", "path"),
        ("https://bi.example.com:0/", "port"),
        ("https://bi.example.com:65536/", "port"),
        ("https://bi.example.com:https/", "port"),
        ("https://user@bi.example.com/", "user"),
        ("https://user:password@bi.example.com/", "user"),
        ("https://203.0.113.9/", "ip"),
        ("https://127.1/", "ip"),
        ("https://2130706433/", "ip"),
        ("https://0x7f.0.0.0x1/", "ip"),
        ("https://[2001:db8::1]/", "ip"),
        ("https://[2001:db8::1/", "address"),
        ("https://my_bi.example.com/", "underscore"),
        ("https://报表.example.com/", "not_ascii"),
        ("https://报表.example.com/bi", "path"),
        ("https://bi。example。com/", "not_ascii"),
        ("https://ｂｉ.example.com/", "not_ascii"),
        ("https://bi/", "short"),
        ("https://-bi.example.com/", "host"),
        ("https://bi..example.com/", "host"),
        ("https://bi.example.com\\evil", "host"),
        ("https://b*.example.com/", "host"),
        (f"https://{'a' * 64}.example.com/", "host"),
        ("https://" + ".".join(["a" * 60] * 5) + ".example.com/", "host"),
    ],
)
def test_what_cannot_be_a_site_address_is_refused(typed: str, code: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        validators.normalise_site_address(typed)

    assert code_of(refusal) == code
    assert refusal.value.messages[0].endswith((".", "。", "/"))
    # For a Chinese domain the form that WeCom takes is named.
    assert "报表" not in typed or "xn--4ruo45f.example.com" in refusal.value.messages[0]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://qyapi.weixin.qq.com", "https://qyapi.weixin.qq.com"),
        (" https://QYAPI.weixin.qq.com/ ", "https://qyapi.weixin.qq.com"),
        ("https://gate.example.com/wecom/", "https://gate.example.com/wecom"),
        ("http://127.0.0.1:3002", "http://127.0.0.1:3002"),
        ("https://[::1]:3002", "https://[::1]:3002"),
        ("https://企业.example.com:8443/网关%20a/", "https://xn--vhquv.example.com:8443/%E7%BD%91%E5%85%B3%20a"),
    ],
)
def test_the_address_of_an_api(typed: str, kept: str) -> None:
    assert validators.normalise_base_url(typed) == kept


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("http://qyapi.example.com", "plain"),
        ("https://qyapi.example.com/?x=1", "query"),
        ("https://qyapi.example.com/#x", "query"),
        ("https://user:password@qyapi.example.com", "user"),
        ("qyapi.example.com", "scheme"),
        ("https://qyapi.example.com:x", "port"),
        ("https://企业..example.com", "host"),
    ],
)
def test_what_cannot_be_the_address_of_an_api(typed: str, code: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        validators.normalise_base_url(typed)

    assert code_of(refusal) == code


def test_a_proxy() -> None:
    for proxy in ("http://proxy.example.com:3128", "https://proxy.example.com", "http://user:pass@proxy:3128"):
        assert validators.normalise_proxy_url(proxy + "/ ") == proxy


@pytest.mark.parametrize(
    "proxy", ["proxy:3128", "socks5://proxy:1080", "http://", "http://u:s3cret@proxy:x", "http://proxy/path"]
)
def test_what_is_no_proxy_is_refused_without_being_repeated(proxy: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        validators.normalise_proxy_url(proxy)

    assert code_of(refusal) == "proxy"
    assert "s3cret" not in refusal.value.messages[0]


def certificate() -> str:
    with TemporaryDirectory() as folder:
        return Authority("example-root", Path(folder)).file.read_text()


def test_certificates_are_accepted_and_nothing_else() -> None:
    public = certificate()

    validators.validate_certificates(public + public)

    for pem, code in (
        (f"{public}-----BEGIN PRIVATE KEY-----", "private_key"),
        ("certificate", "certificates"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificates"),
    ):
        with pytest.raises(ValidationError) as refusal:
            validators.validate_certificates(pem)
        assert code_of(refusal) == code


@pytest.mark.parametrize(
    ("typed", "ids"),
    [
        ("", []),
        (" , ", []),
        ("2", [2]),
        ("2, 5", [2, 5]),
        ("2，5、7;9；11 13\n15", [2, 5, 7, 9, 11, 13, 15]),
        ("1\t2\r3", [1, 2, 3]),  # copied from a spreadsheet
        (f"{ZERO_WIDTH}2,2,1", [2, 1]),
        ("4294967295", [4294967295]),
    ],
)
def test_department_ids(typed: str, ids: list[int]) -> None:
    assert validators.parse_department_ids(typed) == ids


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "sales", "4294967296", "²", "1,x"])
def test_what_is_no_department_id_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        validators.parse_department_ids(typed)

    assert code_of(refusal) == "department"


def test_ids_lose_every_space_and_names_only_those_around_them() -> None:
    text = f"{BOM} ab {ZERO_WIDTH}c\td\ud800\u00a0"

    assert validators.remove_spaces(text) == "abcd"
    assert validators.remove_invisible(text) == "ab cd"
