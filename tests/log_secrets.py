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

# Shorter values appear in logs for other reasons; so do words, which must be longer to count as a secret.
CHARACTERS_LEAST, CHARACTERS_OF_WORDS_LEAST = 12, 20
# Only the newest values are searched for. Those of much earlier tests are not used any more.
KNOWN_MOST = 400
# Lines are collected until they have so many characters, and then searched.
_CHARACTERS_AT_ONCE = 1_000_000
# Times are no secrets: logs show them anyway, and some encrypted texts contain them.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_MIXED = re.compile(r"(?=.*[A-Za-z])(?:(?=.*\d)|(?=.*[a-z])(?=.*[A-Z]))[!-~]+")
# What secrets.token_urlsafe(32) and longer calls return, with other text in the line: WeCom's tokens and codes, keys
# of our API. Not base64 in mails, which programs without a mail server print.
_RANDOM_TOKEN = re.compile(
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
        for secret in find_secrets(value):
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
                self._search_lines()

    def take(self) -> list[str]:
        """Return the lines with a secret since the last call, with the secret removed."""
        with self._lock:
            self._search_lines()
            found, self._found = self._found, []
            return found

    def find_in(self, text: str) -> list[str]:
        """Return the lines of a text that hold a secret, with the secret removed."""
        with self._lock:
            known = [spelling for secret in self._known for spelling in _list_spellings(secret) if spelling in text]
        suspects = {*known, *_RANDOM_TOKEN.findall(text)}
        lines = [line for line in text.splitlines() if any(one in line for one in suspects)] if suspects else []
        return [_mask(line, suspects) for line in lines]

    def _search_lines(self) -> None:
        if self._lines:
            self._found += self.find_in("\n".join(self._lines))
            self._lines, self._characters = [], 0


def find_secrets(value: str) -> Iterator[str]:
    """Yield the parts of a value that are secret and do not look like ordinary words."""
    if value.startswith("{"):
        with suppress(ValueError):
            for text in _list_texts(json.loads(value)):
                yield from find_secrets(text)
    elif "://" in value:
        address = urlsplit(value)
        for text in (unquote(address.password or ""), *(text for _, text in parse_qsl(address.query))):
            yield from find_secrets(text)
    elif (
        len(value) >= CHARACTERS_LEAST
        and not _TIME.match(value)
        and (_MIXED.fullmatch(value) or (len(value) >= CHARACTERS_OF_WORDS_LEAST and not re.search(r"\s", value)))
    ):
        yield value


def _list_texts(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for inner in document.values() if isinstance(document, dict) else document:
            yield from _list_texts(inner)


def _list_spellings(secret: str) -> set[str]:
    """Return the secret as it is, as in JSON and as in URLs."""
    return {secret, json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}


def _mask(line: str, suspects: set[str]) -> str:
    for one in sorted(suspects, key=len, reverse=True):
        line = line.replace(one, "***")
    return line


WATCH = LogWatch()


def check_program(name: str, log: Path) -> None:
    """Fail if the log of a program that has ended holds a secret."""
    if found := WATCH.find_in(log.read_text(errors="replace")):
        pytest.fail(f"a secret stands in the log of {name}: {found[0][:1000]}", pytrace=False)


@contextmanager
def watch_logs() -> Iterator[None]:
    """Remember each secret that this process makes or reads and check each line it logs, while the block runs."""
    with pytest.MonkeyPatch.context() as patch:

        def listen(target: str, secret: Callable[..., str | bytes | None]) -> None:
            """Remember the secret that `secret` extracts from a function's result and arguments."""
            function = resolve_name(target)

            def call_and_remember(*args: Any, **options: Any) -> Any:
                result = function(*args, **options)
                value = secret(result, *args, **options) or ""
                WATCH.remember(value.decode(errors="replace") if isinstance(value, bytes) else value)
                return result

            patch.setattr(target, call_and_remember)

        listen("cryptography.fernet.MultiFernet.encrypt", lambda _result, _cipher, plain: plain)
        listen("cryptography.fernet.MultiFernet.decrypt", lambda plain, *_args, **_options: plain)
        listen("django.contrib.auth.hashers.PBKDF2PasswordHasher.encode", lambda _hash, _hasher, plain, *_args: plain)
        listen("accounts.authentication.sessions.get_random_string", lambda key, *_args: key)
        listen("accounts.authentication.flow.store_state", lambda text, **_options: text)
        with _watch_lines(patch):
            yield


@contextmanager
def _watch_lines(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check the lines that the product writes, and those it would write with LOG_LEVEL=DEBUG."""
    formatted = ProcessorFormatter.format

    def format_and_note(self: ProcessorFormatter, record: logging.LogRecord) -> str:
        line = formatted(self, record)
        WATCH.note(line)
        return line

    patch.setattr(ProcessorFormatter, "format", format_and_note)
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
