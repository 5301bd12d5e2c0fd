"""What a person reads of something that went wrong. Plain Python: the error codes of clients hold such sentences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened, who can fix it, where to click; empty where there is nothing to say.

    Tables beside clients and checks hold English sentences marked for the catalogues, with places for facts:
    `%(domain)s`. integrations.core.explanations.translated makes of them what is shown. `raw`: what the other side, or
    our program, said word for word. `guide`: its place on the guides' page of errors; translated, the address of that.
    """

    what: str
    who: str = ""
    where: str = ""
    raw: str = ""
    guide: str = ""

    @property
    def sentences(self) -> list[str]:
        """Those that there are, without the raw words."""
        return [text for text in (self.what, self.who, self.where) if text]
