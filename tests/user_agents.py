"""User agents as WeCom's programs and browsers of 2024 to 2026 send them."""

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8)"

# WeCom's own windows.
WECOM_IOS = (
    f"{_IPHONE}  Mobile/15E148 wxwork/4.1.30 MicroMessenger/7.0.1 Language/zh ColorScheme/Light wwmver/3.26.13.714"
)
WECOM_ANDROID = (
    f"{_ANDROID} {_WEBKIT} Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 wxwork/4.1.30 MicroMessenger/7.0.1 "
    "Language/zh_CN ColorScheme/Light"
)
WECOM_WINDOWS = (
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/107.0.5304.110 Safari/537.36 Language/zh "
    "wxwork/4.1.10 (MicroMessenger/6.2) WindowsWechat MailPlugin_Electron WeMail embeddisk"
)
WECOM_MAC = (
    f"{_MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) MacWechat/4.1.9 wxwork/4.1.9 (MicroMessenger/6.2) WeChat/2.0.4 "
    "Safari/605.1.15"
)
# The private deployment: another product with its own servers.
WECOM_PRIVATE = (
    f"{_ANDROID} {_WEBKIT} Mobile Safari/537.36 wxworklocal/2.5.0 wxwork/2.5.0 MicroMessenger/7.0.1 Language/zh"
)
# Plain WeChat: a member sees the company's messages there, but no application can sign anybody in.
WECHAT_IOS = f"{_IPHONE} Mobile/15E148 MicroMessenger/8.0.50(0x18003234) NetType/WIFI Language/zh_CN"

CHROME = f"Mozilla/5.0 (X11; Linux x86_64) {_WEBKIT} Chrome/131.0.0.0 Safari/537.36"
EDGE = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0"
SAFARI_IOS = f"{_IPHONE} Version/18.0 Mobile/15E148 Safari/604.1"
