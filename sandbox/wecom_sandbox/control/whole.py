"""Control of the sandbox as a whole: state, settings, clock, logs, faults."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from wecom_sandbox.control import schemas
from wecom_sandbox.control.routes import as_object, flag_of, number_in_path, page_as_json, page_of, route
from wecom_sandbox.control.steps import between_calls, large_answer
from wecom_sandbox.limits.faults import KINDS, Fault
from wecom_sandbox.state import administration, leniency
from wecom_sandbox.state import bi as bi_state
from wecom_sandbox.state.events import DeliveryRecord
from wecom_sandbox.state.keys import AUTHORITY
from wecom_sandbox.state.world import CallRecord, World

_CALLBACKS = schemas.page("callbacks")
_CALLBACKS["properties"] |= {"waiting": schemas.INTEGER, "under_way": schemas.INTEGER}


@route("GET", "health")
async def health(request: web.Request, world: World, document: object) -> object:
    """Whether this is a sandbox, and how many companies it has."""
    return {"sandbox": True, "companies": len(world.companies)}


@route("GET", "ca")
async def get_authority(request: web.Request, world: World, document: object) -> object:
    """The certificate authority of the port with TLS: what programs are told to trust."""
    authority = request.app[AUTHORITY]
    if authority is None:
        raise KeyError("certificate authority: start with --tls-port")
    return {"certificate": authority.pem, "spki_sha256": authority.spki_sha256, "hosts": list(authority.names)}


@route("GET", "state")
async def get_state(request: web.Request, world: World, document: object) -> object:
    """Everything as a seed: what PUT state takes."""
    return await large_answer(administration.dump(world, iter))


@route("PUT", "state", body=schemas.SEED)
async def put_state(request: web.Request, world: World, document: object) -> object:
    """Replace everything by a seed. `warnings`: where the sandbox is laxer with it than WeCom would be."""
    fresh = World()
    await between_calls(administration.load_in_steps(fresh, document))
    world.reset()
    world.adopt(fresh)
    return {"companies": len(world.companies), "warnings": leniency.warnings(world)}


@route("POST", "reset", body=schemas.an_object(companies=schemas.FLAG))
async def reset(request: web.Request, world: World, document: object) -> object:
    """Forget what happened; with {"companies": true} the companies and settings as well."""
    if flag_of(as_object(document, "companies"), "companies"):
        world.reset()
    else:
        world.forget()
    return {}


@route("GET", "settings")
async def get_settings(request: web.Request, world: World, document: object) -> object:
    """All settings."""
    return world.settings.as_json()


@route("PATCH", "settings", body=schemas.SETTINGS)
async def patch_settings(request: web.Request, world: World, document: Any) -> object:
    """Change the given settings."""
    world.settings.change(as_object(document, *world.settings.as_json()))
    return world.settings.as_json()


@route("GET", "bi")
async def get_bi(request: web.Request, world: World, document: object) -> object:
    """The stand-in BI with everything in it."""
    return bi_state.as_json(world.bi)


@route("PUT", "bi", body=schemas.BI)
async def put_bi(request: web.Request, world: World, document: object) -> object:
    """Replace the stand-in BI with everything in it."""
    world.bi = bi_state.from_json(document)
    return bi_state.as_json(world.bi)


@route("GET", "clock")
async def get_clock(request: web.Request, world: World, document: object) -> object:
    """The sandbox's time in unix seconds."""
    return {"now": world.now()}


@route("POST", "clock/advance", body=schemas.an_object(["seconds"], seconds=schemas.NUMBER))
async def advance(request: web.Request, world: World, document: Any) -> object:
    """Move the clock forward."""
    seconds = as_object(document, "seconds").get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError("seconds must be a number")
    world.clock.advance(seconds)
    return {"now": world.now()}


@route("GET", "calls", query=schemas.PAGE | {"endpoint": schemas.TEXT}, answer=schemas.page("calls"))
async def get_calls(request: web.Request, world: World, document: object) -> object:
    """Oldest first, page by page. ?endpoint=message/send leaves the others out."""
    wanted = request.query.get("endpoint", "")
    page = page_of(request, world.calls, lambda record: not wanted or record.path == f"/cgi-bin/{wanted}")
    return await large_answer(page_as_json("calls", page, CallRecord.as_json))


@route("DELETE", "calls")
async def delete_calls(request: web.Request, world: World, document: object) -> object:
    """Forget the calls."""
    world.calls.clear()
    return {}


@route("GET", "missing")
async def get_missing(request: web.Request, world: World, document: object) -> object:
    """Paths that were asked for and that the sandbox does not have, the most wanted first."""
    return {"missing": world.missing.as_json()}


@route("DELETE", "missing")
async def delete_missing(request: web.Request, world: World, document: object) -> object:
    """Forget them."""
    world.missing.clear()
    return {}


@route("GET", "faults")
async def get_faults(request: web.Request, world: World, document: object) -> object:
    """The faults that are switched on, and the kinds that there are."""
    return {"faults": [fault.as_json() for fault in world.faults.active], "kinds": KINDS}


@route("POST", "faults", body=schemas.FAULT)
async def post_fault(request: web.Request, world: World, document: Any) -> object:
    """Switch a fault on."""
    fault = Fault.from_json(document)
    world.faults.add(fault)
    return fault.as_json()


@route("DELETE", "faults")
async def delete_faults(request: web.Request, world: World, document: object) -> object:
    """Switch all faults off."""
    return {"removed": world.faults.clear()}


@route("DELETE", "faults/{id}")
async def delete_fault(request: web.Request, world: World, document: object) -> object:
    """Switch one fault off."""
    if not world.faults.clear(number_in_path(request, "id")):
        raise KeyError(request.match_info["id"])
    return {"removed": 1}


@route("GET", "callbacks", query=schemas.PAGE, answer=_CALLBACKS)
async def get_callbacks(request: web.Request, world: World, document: object) -> object:
    """Every try to deliver an event, oldest first, page by page; how many events still wait, or are being delivered."""
    outbox = world.outbox
    records = page_as_json("callbacks", page_of(request, outbox.log), DeliveryRecord.as_json)
    return await large_answer({**records, "waiting": outbox.waiting, "under_way": outbox.under_way})


@route("DELETE", "callbacks")
async def delete_callbacks(request: web.Request, world: World, document: object) -> object:
    """Forget the tries."""
    world.outbox.log.clear()
    return {}
