"""The control interface's OpenAPI document says what its routes are, and they answer as it says (schemathesis)."""

from __future__ import annotations

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from wecom_sandbox import server
from wecom_sandbox.control import routes
from wecom_sandbox.state.world import World

from tests.sandbox.test_control_fuzzing import SEED
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

SCHEMA = schemathesis.openapi.from_dict(routes.describe())
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
# Its body is lines, of which schemathesis can make none: test_snapshots.py.
del OPERATIONS["PUT /sandbox/api/snapshot"]
# What else makes a body right or wrong (a name that is taken, a department that is not there) no schema tells; and a
# query that is not asked for is ignored.
DEEPER = [positive_data_acceptance, negative_data_rejection]
KNOWN = {"corpid": CORPID, "agentid": AGENTID, "userid": "lilei", "id": 4}


def served_routes() -> set[tuple[str, str]]:
    """What the server really routes, under the control interface's address."""
    app = server.make_app(World(), server.Reach("127.0.0.1", 0))
    found = {(one.method, one.resource.canonical) for one in app.router.routes() if one.resource is not None}
    return {(method, path) for method, path in found if path.startswith("/sandbox/api/") and method != "HEAD"}


def test_the_document_has_every_route_and_no_other(sandbox: SandboxHandle) -> None:
    told = sandbox.control("GET", "openapi.json")

    assert told == routes.describe()
    assert {(method.upper(), path) for path, found in told["paths"].items() for method in found} == served_routes()


def test_every_call_says_what_it_does() -> None:
    operations = [one for found in routes.describe()["paths"].values() for one in found.values()]

    assert [one["operationId"] for one in operations if not one["summary"]] == []
    assert len({one["operationId"] for one in operations}) == len(operations)


def test_the_state_as_it_was_read_is_a_body_of_the_document(sandbox: SandboxHandle) -> None:
    sandbox.load(SEED)
    validator = jsonschema_rs.validator_for(routes.SEED)

    assert [str(error) for error in validator.iter_errors(sandbox.control("GET", "state"))] == []
    assert not validator.is_valid({"companies": [{"corpid": CORPID, "name": "x", "nmae": "y"}]})


@pytest.mark.parametrize("label", OPERATIONS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_is_documented(label: str, sandbox: SandboxHandle, data: st.DataObject) -> None:
    """Half of the calls are as the document has them, half are not; most are about somebody who is there."""
    sandbox.load(SEED)
    operation = OPERATIONS[label]
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    case = data.draw(st.one_of(good, bad))
    if data.draw(st.booleans()):
        case.path_parameters = {name: KNOWN[name] for name in case.path_parameters or {}}

    case.call_and_validate(base_url=sandbox.base_url, excluded_checks=DEEPER, timeout=60)
