"""Where the sandbox is laxer than WeCom with what it was given: to be told, not to be found out at the real thing."""

from __future__ import annotations

from wecom_sandbox.state.world import World


def warnings(world: World) -> list[str]:
    """A sentence for each company with apps whose callers' addresses are not looked at."""
    if world.settings.trusted_ips_required:
        return []
    unlisted = {
        company.corpid: [str(app.agentid) for app in company.apps.values() if app.trusted_ips is None]
        for company in world.companies.values()
    }
    return [
        f"{corpid}: no trusted_ips for app {', '.join(agentids)}, so callers' addresses are not checked; "
        "WeCom answers 60020 to every address that is not listed (setting trusted_ips_required)"
        for corpid, agentids in unlisted.items()
        if agentids
    ]
