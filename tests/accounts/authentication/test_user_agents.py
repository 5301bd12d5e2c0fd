"""Recognition of the program that opens a page, and names of a session's program and device."""

import pytest

from accounts.authentication.flow import Surface, describe_device, detect_surface
from tests.accounts.conftest import DESKTOP, IPHONE_WECOM

APPLE = "AppleWebKit/537.36 (KHTML, like Gecko)"
WEBKIT = f"Mozilla/5.0 {APPLE}"


@pytest.mark.parametrize(
    ("user_agent", "surface"),
    [
        (IPHONE_WECOM, Surface.WECOM),
        (f"{WEBKIT} Mobile Safari/537.36 wxwork/4.1.20 MicroMessenger/7.0.1 Language/zh_CN", Surface.WECOM),
        (
            f"{WEBKIT} Chrome/107.0.5304.110 Safari/537.36 wxwork/4.1.10 (MicroMessenger/6.2) WindowsWechat",
            Surface.WECOM,
        ),
        (f"{WEBKIT} WXWORK/4.1.9 (MicroMessenger/6.2) WeChat/2.0.4 Safari/605.1.15", Surface.WECOM),
        (f"{WEBKIT} wxworklocal/2.5 wxwork/2.5.0 MicroMessenger/7.0.1", Surface.PRIVATE_WECOM),
        (f"{WEBKIT} Mobile/15E148 MicroMessenger/8.0.50(0x18003234) NetType/WIFI", Surface.WECHAT),
        (f"{WEBKIT} wxwork MicroMessenger/8.0", Surface.WECHAT),
        (DESKTOP, Surface.BROWSER),
        ("", Surface.BROWSER),
    ],
)
def test_the_program_is_recognised(user_agent: str, surface: Surface) -> None:
    assert detect_surface(user_agent) is surface


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (IPHONE_WECOM, "企业微信 · iPhone"),
        (f"Mozilla/5.0 (Linux; Android 14) {APPLE} wxwork/4.1 MicroMessenger/7.0.1", "企业微信 · Android"),
        (f"Mozilla/5.0 (Windows NT 10.0) {APPLE} Chrome/107.0 wxwork/4.1.10", "企业微信 · Windows"),
        (f"Mozilla/5.0 (X11) {APPLE} wxworklocal/2.5 wxwork/2.5.0", "企业微信（私有部署） · Linux"),
        (f"Mozilla/5.0 (iPhone) {APPLE} MicroMessenger/8.0.50", "微信 · iPhone"),
        (DESKTOP, "Chrome · Linux"),
        (
            f"Mozilla/5.0 (Windows NT 10.0) {APPLE} Chrome/131.0 Safari/537.36 Edg/131.0",
            "Edge · Windows",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/17 Safari/605.1.15", "Safari · macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox · Linux"),
        ("Mozilla/5.0 (Phone; OpenHarmony 5.0) ArkWeb/4.1", "HarmonyOS"),
        ("curl/8.0", ""),
        ("", ""),
        ("<script>alert(1)</script>", ""),
    ],
)
def test_the_device_is_recognised(user_agent: str, device: str) -> None:
    assert describe_device(user_agent) == device
