"""`/runs`: what became of an execution."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router

from notifications.api import tokens
from notifications.api.authentication import token_for
from notifications.api.problems import ProblemError, problems
from notifications.api.schemas import Id, RunState
from notifications.api.tokens import Action

router = Router(tags=["runs"])


@router.get("/{int:run_id}", response={200: RunState, **problems()}, url_name="get_run", summary="State and counts")
def get_run(request: HttpRequest, run_id: Id) -> RunState:
    """Of whatever trigger, as long as its subscription is reached by the token."""
    token = token_for(request, Action.READ)
    run = tokens.runs_of(token).filter(pk=run_id).first()
    if run is None:
        raise ProblemError("not_found")
    return RunState.of(run)
