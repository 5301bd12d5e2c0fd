"""A check that no secret is logged: tests that log one fail, and so do programs whose log holds one.

Known secrets are the values of encrypted columns, sealed tokens and sign-in codes of WeCom, passwords, session keys
and sign-in states. Text that looks like a random token is refused too. Lines are those of the product's own
formatter, from DEBUG on.
"""

import json
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from structlog.stdlib import ProcessorFormatter

# Shorter values and ordinary words appear in logs for other reasons.
CHARACTERS_LEAST, WORDS_LEAST = 12, 20
# Only the newest values are searched for. Those of much earlier tests are not used any more.
KNOWN_MOST = 400
# So many characters are collected before they are searched.
_CHARACTERS_AT_ONCE = 1_000_000
# Logs show times anyway, and some sealed texts hold times.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_MIXED = re.compile(r"(?=.*[A-Za-z])(?:(?=.*\d)|(?=.*[a-z])(?=.*[A-Z]))[!-~]+")
# What secrets.token_urlsafe(32) and longer calls return, with other text in the line: WeCom's tokens and codes, keys
# of our API. Not base64 in mails, which programs without a mail server print.
_BY_CHANCE = re.compile(
    r"(?<![\w+/-])(?<!\?b\?)(?=[\w-]*[0-9])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?!^[\w-]+$)[\w-]{43,}(?![\w+/=-])",
    re.ASCII | re.MULTILINE,
)


class LogWatch:
    """Known secrets, and lines that have not been searched yet."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lines: list[str] = []
        self._characters = 0
        self._found: list[str] = []
        # Programs of a test log and save in several threads.
        self._lock = threading.RLock()

    def remember(self, value: str) -> None:
        for secret in secrets_in(value):
            with self._lock:
                self._known[secret] = None
                self._known.move_to_end(secret)
                if len(self._known) > KNOWN_MOST:
                    self._known.popitem(last=False)

    def note(self, line: str) -> None:
        """Search a line, now or when the test ends."""
        with self._lock:
            self._lines.append(line)
            self._characters += len(line)
            if self._characters > _CHARACTERS_AT_ONCE:
                self._look()

    def take(self) -> list[str]:
        """Return the lines with a secret since the last call, with the secret removed."""
        with self._lock:
            self._look()
            found, self._found = self._found, []
            return found

    def found_in(self, text: str) -> list[str]:
        """Return the lines of a text that hold a secret, with the secret removed."""
        with self._lock:
            known = [form for secret in self._known for form in _forms(secret) if form in text]
        suspects = {*known, *(hit for hit in _BY_CHANCE.findall(text))}
        lines = [line for line in text.splitlines() if any(one in line for one in suspects)] if suspects else []
        return [_without(line, suspects) for line in lines]

    def _look(self) -> None:
        if self._lines:
            self._found += self.found_in("\n".join(self._lines))
            self._lines, self._characters = [], 0


def secrets_in(value: str) -> Iterator[str]:
    """Yield the parts of a value that are secret and do not look like ordinary words."""
    if value.startswith("{"):
        with suppress(ValueError):
            for text in _texts(json.loads(value)):
                yield from secrets_in(text)
    elif "://" in value:
        address = urlsplit(value)
        for text in (unquote(address.password or ""), *(text for _, text in parse_qsl(address.query))):
            yield from secrets_in(text)
    elif (
        len(value) >= CHARACTERS_LEAST
        and not _TIME.match(value)
        and (_MIXED.fullmatch(value) or (len(value) >= WORDS_LEAST and not re.search(r"\s", value)))
    ):
        yield value


def _texts(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for inner in document.values() if isinstance(document, dict) else document:
            yield from _texts(inner)


def _forms(secret: str) -> set[str]:
    """Return the secret as it is, as in JSON and as in URLs."""
    return {secret, json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}


def _without(line: str, suspects: set[str]) -> str:
    for one in sorted(suspects, key=len, reverse=True):
        line = line.replace(one, "***")
    return line


WATCH = LogWatch()


def check_program(name: str, log: Path) -> None:
    """Fail if the log of a program that has ended holds a secret."""
    if found := WATCH.found_in(log.read_text(errors="replace")):
        pytest.fail(f"a secret stands in the log of {name}: {found[0][:1000]}", pytrace=False)


@contextmanager
def watching() -> Iterator[None]:
    """Remember each secret that this process makes or reads and check each line it logs, while the block runs."""
    with pytest.MonkeyPatch.context() as patch:

        def listen(target: str, secret: Callable[..., str | bytes | None]) -> None:
            """Remember the secret that `secret` extracts from a function's result and arguments."""
            function = resolve_name(target)

            def heard(*args: Any, **options: Any) -> Any:
                result = function(*args, **options)
                value = secret(result, *args, **options) or ""
                WATCH.remember(value.decode(errors="replace") if isinstance(value, bytes) else value)
                return result

            patch.setattr(target, heard)

        listen("cryptography.fernet.MultiFernet.encrypt", lambda _result, _cipher, plain: plain)
        listen("cryptography.fernet.MultiFernet.decrypt", lambda plain, *_args, **_options: plain)
        listen("django.contrib.auth.hashers.PBKDF2PasswordHasher.encode", lambda _hash, _hasher, plain, *_args: plain)
        listen("accounts.authentication.sessions.get_random_string", lambda key, *_args: key)
        listen("accounts.authentication.flow.store_state", lambda text, **_options: text)
        with _all_lines(patch):
            yield


@contextmanager
def _all_lines(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check the lines that the product writes, and those it would write with LOG_LEVEL=DEBUG."""
    formatted = ProcessorFormatter.format

    def watched(self: ProcessorFormatter, record: logging.LogRecord) -> str:
        line = formatted(self, record)
        WATCH.note(line)
        return line

    patch.setattr(ProcessorFormatter, "format", watched)
    root = logging.getLogger()
    level, [console] = root.level, [one for one in root.handlers if isinstance(one.formatter, ProcessorFormatter)]
    debug = _DebugLines()
    debug.setFormatter(console.formatter)
    debug.addFilter(lambda record: record.levelno < level)
    patch.setattr(console, "level", level)
    root.setLevel(logging.DEBUG)
    root.addHandler(debug)
    try:
        yield
    finally:
        root.removeHandler(debug)
        root.setLevel(level)


class _DebugLines(logging.Handler):
    """Handler that formats lines without writing them, so that they are checked."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)
