"""Why a run does not go on. `integrations.errors` has what WeCom's calls raise; these are our own reasons."""

from __future__ import annotations


class Stop(Exception):
    """The run must end without a change. `problem`: a word of `wording`; `detail` for its technical detail."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem, detail)
        self.problem, self.detail = problem, detail


class LeaseLostError(Exception):
    """Another worker has taken the run over, or it was ended: this one must not write any more."""
