"""Reads single values as people and programs write them: texts, numbers, days and moments. Pure."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from decimal import Decimal

from integrations.data.table import Month, Value

# --- Texts ------------------------------------------------------------------------------------------------------------

UNKNOWN_TEXTS = frozenset({"", "-", "—", "–", "--", "n/a", "nan", "null", "none", "无", "∞", "-∞", "+∞", "inf", "-inf"})  # noqa: RUF001  # dashes as sources write them
# Full-width characters and the signs that stand for ASCII ones.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0xFFE5: "¥", 0x2212: "-"}
_WIDE = re.compile(f"[{''.join(map(chr, _NARROW))}]")
_UNKNOWN_CHARACTERS = max(map(len, UNKNOWN_TEXTS))


def narrow_text(text: str) -> str:
    """Return a text without spaces around, with full-width letters, digits and signs as ASCII ones."""
    return (text if text.isascii() or not _WIDE.search(text) else text.translate(_NARROW)).strip()


def fold_text(text: str) -> str:
    """Return the form in which texts are compared: narrow, without case, each run of spaces as one."""
    return " ".join(narrow_text(text).casefold().split())


def is_unknown(value: Value) -> bool:
    """Return whether a value, or a text that stands for one ("-", "N/A", "无"), is unknown."""
    if isinstance(value, str):
        text = value.strip()
        return len(text) <= _UNKNOWN_CHARACTERS and narrow_text(text).lower() in UNKNOWN_TEXTS
    return value is None or (isinstance(value, float | Decimal) and not _is_finite(value))


def _is_finite(value: float | Decimal) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)  # not 1e400 as a float


def clean_text(text: str) -> str:
    """Return a text without what no database and no XML takes: half characters and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "") if not text.isascii() else text.replace("\0", "")


# --- Numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(
    r"(?P<arrow>[↑↓→])?\s*(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<currency>[¥$€£])?\s*(?P<late_sign>[+-])?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)?(?P<fraction>\.\d+)?(?P<exponent>[eE][+-]?\d{1,3})?"
    r"\s*(?P<multiple>万亿|万|亿)?\s*(?P<unit>[^\d\s().,+-][^\d()]{0,7})?\s*(?P<close>\))?"
)
_CURRENCIES = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_MULTIPLES = {"万": 10**4, "亿": 10**8, "万亿": 10**12}
# Behind the digits of a text these are units of a number. Other words make it a text: "3楼", "12月".
UNITS = frozenset(
    ["%", "元", "块", "美元", "欧元", "英镑", "件", "个", "人", "次", "人次", "单", "台", "箱", "套", "户", "家"]
    + ["吨", "kg", "公斤", "克", "km", "公里", "米", "升", "天", "小时", "分钟", "秒"]
)
NUMBER_CHARACTERS = 100
SAFE_DIGITS = 15


@dataclass(frozen=True, slots=True)
class NumberText:
    """A text read as a number.

    `is_code`: it looks like a code rather than a number ("007", more than 15 digits, "12E3"). `decimals`: None where
    they are not those of the value ("1.2万").
    """

    value: int | Decimal
    unit: str = ""
    decimals: int | None = 0
    is_code: bool = False


def read_number(text: str) -> NumberText | None:
    """Read a number as people and programs write it: "1,204", "(3.0%)", "↓3.0%", "￥1,204", "1.2万", "1.2e3".

    None where it is none, an unknown one included.
    """
    text = narrow_text(text)
    match = _NUMBER.fullmatch(text) if len(text) <= NUMBER_CHARACTERS else None
    if match is None or not (match["whole"] or match["fraction"]) or bool(match["open"]) != bool(match["close"]):
        return None
    whole, fraction, exponent = match["whole"] or "0", match["fraction"] or "", match["exponent"] or ""
    is_negative = "-" in (match["sign"], match["late_sign"]) or match["open"] or match["arrow"] == "↓"
    number = Decimal(f"{'-' if is_negative else ''}{whole.replace(',', '')}{fraction}{exponent}")
    if match["multiple"]:
        number *= _MULTIPLES[match["multiple"]]
    is_whole = not fraction and not exponent and number == number.to_integral_value()
    is_code = (len(whole) > 1 and whole[0] == "0") or len(whole.replace(",", "")) > SAFE_DIGITS
    return NumberText(
        int(number) if is_whole else number,
        (match["unit"] or _CURRENCIES.get(match["currency"] or "", "")).strip(),
        None if match["multiple"] or exponent else max(0, len(fraction) - 1),
        is_code or (bool(exponent) and not fraction),
    )


# --- Days and moments -------------------------------------------------------------------------------------------------

_DAY = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{4})(\d\d)(\d\d)|(\d{4})年(\d{1,2})月(\d{1,2})日")
_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})|(\d{4})年(\d{1,2})月")
_TIME = re.compile(
    r"(.+?)(?:[T ]|(?<=日))\s*(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,6})\d*)?)?\s*(Z|UTC|[+-]\d\d:?\d\d)?"
)
_USUAL_YEARS = range(1900, 2101)


def read_day(text: str) -> date | None:
    """Read a day or a month in any of the usual ways: 2026-11-23, 2026/1/3, 20261123, 2026年11月23日, 2026年11月.

    A month is a `Month`. None where it is neither.
    """
    text = narrow_text(text)
    if not text[:4].isdecimal():
        return None
    try:
        if match := _DAY.fullmatch(text):
            year, month, day = (int(part) for part in match.groups() if part and part.isdecimal())
            return date(year, month, day) if match[1] or year in _USUAL_YEARS else None
        if match := _MONTH.fullmatch(text):
            year, month = (int(part) for part in match.groups() if part)
            return Month(year, month, 1) if year in _USUAL_YEARS else None
    except ValueError:
        pass
    return None


def read_moment(text: str, zone: tzinfo) -> datetime | None:
    """Read a moment: a day with a time behind it. It comes back in `zone`, which is also that of one without a zone."""
    text = narrow_text(text)
    if text[4:5] == text[7:8] == "-" and text[10:11] in ("T", " ") and text[13:14] == ":":
        with suppress(ValueError):  # the usual way, which is read fast
            return in_zone(datetime.fromisoformat(text), zone)
    match = _TIME.fullmatch(text) if text[:4].isdecimal() else None
    day = read_day(match[1]) if match else None
    if match is None or day is None or isinstance(day, Month):
        return None
    hour, minute, second = int(match[2]), int(match[3]), int(match[4] or 0)
    try:
        clock = time(hour, minute, second, int((match[5] or "").ljust(6, "0")))
        offset = match[6] and match[6].replace("UTC", "Z")
        own_zone = datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo if offset else None
    except ValueError:
        return None
    return in_zone(datetime.combine(day, clock, own_zone), zone)


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """Return the moment by the clocks of `zone`, which is also that of one without a zone.

    A moment beyond the calendar (9999-12-31 as "for ever") keeps what its own clock says.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.replace(tzinfo=zone)


def day_of(value: Value, zone: tzinfo) -> date | None:
    """Return the day of a date, of a moment by the clocks of `zone`, or of a text that is one; else None."""
    if isinstance(value, datetime):
        return in_zone(value, zone).date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        moment = read_moment(value, zone)
        return read_day(value) if moment is None else moment.date()
    return None
