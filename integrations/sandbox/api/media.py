"""Files: upload, download, and the check that a message names one that is there."""

from __future__ import annotations

from integrations.sandbox.api.call import Call
from integrations.sandbox.errors import ApiError
from integrations.sandbox.messages.fields import MediaCheck


def media_check(call: Call) -> MediaCheck:
    """What a message uses to check a media_id of this company: known, three days, of the kind that is needed."""

    def check(media_id: str, kind: str) -> str:
        media = call.world.media.get(media_id)
        if media is None or media.corpid != call.company.corpid or call.now >= media.expires_at or media.kind != kind:
            raise ApiError(40007)
        return media.filename

    return check
