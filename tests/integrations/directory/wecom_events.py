"""Events of the tests' company on their way to us: recorded from the sandbox, and sent when a test wants it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from django.test import Client

from integrations.callbacks import EVENTS
from integrations.models import CallbackEvent
from tests.http_server import serve_with_handler
from tests.integrations.directory.place import Clock, Directory
from tests.jobs import do_jobs, process_due_events
from tests.sandbox_process import AGENTID, CORPID

# The last character has bits that 32 bytes do not need, as real keys have.
TOKEN, AES_KEY = "QDG6eKtestToken01", "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR"
APP, CONTACTS = "events", "contacts-events"


@dataclass(frozen=True)
class Post:
    """A recorded delivery; `address` is APP or CONTACTS."""

    address: str
    query: str
    body: bytes


@dataclass
class Recorder:
    """The company's callback addresses, which accept and keep everything. `url` ends with a slash."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    recorder: Recorder

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.recorder.posts.append(Post(parts.path.strip("/"), parts.query, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def record_posts() -> Iterator[Recorder]:
    recorder = Recorder()
    with serve_with_handler(_Handler, recorder=recorder) as port:
        recorder.url = f"http://127.0.0.1:{port}/"
        yield recorder


@dataclass
class WeComEvents:
    """The sandbox's events of a company, and our side of them. `is_quick`: a worker processes each at once."""

    place: Directory
    recorder: Recorder
    is_quick: bool = False

    @classmethod
    def connected(cls, place: Directory, recorder: Recorder) -> WeComEvents:
        """Set up callbacks at these addresses, with keys that both sides have, and enable the corp."""
        corp = place.corp
        for prefix in ("callback", "contacts_callback"):
            setattr(corp, f"{prefix}_token", TOKEN)
            setattr(corp, f"{prefix}_aes_key", AES_KEY)
        corp.is_enabled = True
        corp.save()
        keys = {"token": TOKEN, "aes_key": AES_KEY}
        company = f"companies/{CORPID}"
        contacts, app = ({**keys, "url": f"{recorder.url}{address}/"} for address in (CONTACTS, APP))
        place.sandbox.control("PATCH", company, {"contacts_callback": contacts})
        place.sandbox.control("PATCH", f"{company}/apps/{AGENTID}", {"callback": app})
        recorder.posts.clear()
        return cls(place, recorder)

    @property
    def clock(self) -> Clock:
        return self.place.clock

    def heard(self) -> list[Post]:
        """Return all posts since the last call, once the sandbox has delivered them."""
        for _ in range(2000):
            state = self.place.sandbox.control("GET", "callbacks")
            if not state["waiting"] and not state["under_way"]:
                posts, self.recorder.posts = self.recorder.posts, []
                return posts
            time.sleep(0.005)
        raise AssertionError("the sandbox has not delivered its events")

    def send(self, *posts: Post) -> None:
        """Send posts to our addresses."""
        for post in posts:
            path = f"/wecom/{self.place.corp.pk}/{post.address}/?{post.query}"
            answer = Client().post(path, data=post.body, content_type="text/xml")
            assert (answer.status_code, answer.content) == (200, b"")
            if self.is_quick:
                do_jobs(EVENTS)

    def work_off(self) -> None:
        """Let workers do what is due, and later what is due again."""
        for _ in range(200):
            waiting = CallbackEvent.objects.waiting().order_by("next_try_at")
            if not waiting.exists():
                return
            later = waiting.filter(next_try_at__isnull=False).values_list("next_try_at", flat=True).first()
            if later is not None and not waiting.due(self.clock()).exists():
                self.clock.now = max(self.clock.now, later)
            process_due_events(self.clock)
        raise AssertionError(
            f"still waiting: {list(CallbackEvent.objects.waiting().values_list('consumer', 'problem'))}"
        )

    def hear(self) -> None:
        """Let everything that happened arrive in order, and process it."""
        self.send(*self.heard())
        self.work_off()
