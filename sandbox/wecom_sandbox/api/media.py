"""Files: upload, download, and the check that a message names an existing one."""

from __future__ import annotations

import re
from urllib.parse import quote

from wecom_sandbox.api.call import APP, CONTACTS, Call, Json, endpoint
from wecom_sandbox.errors import ApiError
from wecom_sandbox.http.bodies import Upload, read_media
from wecom_sandbox.http.envelope import Reply
from wecom_sandbox.messages.content import MediaCheck
from wecom_sandbox.messages.inbox import make_id
from wecom_sandbox.state.files import Media
from wecom_sandbox.state.world import World

MEDIA_KINDS = ("image", "voice", "video", "file")
_LEAST_BYTES = 6
_MB = 1024 * 1024
# kind: most bytes, and the error for a larger file
_SIZES = {"image": (10 * _MB, 40009), "voice": (2 * _MB, 45001), "video": (10 * _MB, 40011), "file": (20 * _MB, 45001)}
_AMR_BEGINNING = b"#!AMR\n"
# Bytes of a frame of 20 ms by its mode, header byte included.
_AMR_FRAMES = {0: 13, 1: 14, 2: 16, 3: 18, 4: 20, 5: 21, 6: 27, 7: 32, 8: 6, 15: 1}
_VOICE_SECONDS = 60
_RANGE = re.compile(r"bytes=(\d{1,12})-(\d{0,12})")


@endpoint("POST", "media/upload", APP, CONTACTS)
def media_upload(call: Call) -> Json:
    kind = call.query.get("type", "")
    if kind not in MEDIA_KINDS:
        raise ApiError(40005)
    media = store_file(call.world, call.company.corpid, kind, read_media(call.request.content_type, call.request.body))
    return {"errmsg": "", "type": kind, "media_id": media.media_id, "created_at": str(int(call.now))}


@endpoint("GET", "media/get", APP, CONTACTS)
def media_get(call: Call) -> Reply:
    """Return the file; an error comes as JSON."""
    media_id = call.query.get("media_id", "")
    if not media_id:
        raise ApiError(41006)
    media = call.world.media.get(media_id)
    if media is None or media.corpid != call.company.corpid or call.now >= media.expires_at:
        raise ApiError(40007)
    name = media.filename.replace('"', "'")
    headers = {
        "Content-Disposition": f'attachment; filename="{name.encode("ascii", "replace").decode()}"; '
        f"filename*=utf-8''{quote(media.filename, safe='')}"
    }
    match = _RANGE.fullmatch(call.request.range)
    if match is None:
        return Reply(media.body, content_type=media.content_type, headers=headers)
    start, total = int(match.group(1)), len(media.body)
    end = min(int(match.group(2) or total - 1), total - 1)
    if start > end:
        return Reply(b"", status=416, content_type=media.content_type)
    headers["Content-Range"] = f"bytes {start}-{end}/{total}"
    return Reply(media.body[start : end + 1], status=206, content_type=media.content_type, headers=headers)


def make_media_check(call: Call) -> MediaCheck:
    """Return the function that checks a message's media_id: of this company, not expired, of the needed kind."""
    return make_company_media_check(call.world, call.company.corpid)


def make_company_media_check(world: World, corpid: str) -> MediaCheck:
    def check(media_id: str, kind: str) -> str:
        media = world.media.get(media_id)
        if media is None or media.corpid != corpid or world.now() >= media.expires_at or media.kind != kind:
            raise ApiError(40007)
        return media.filename

    return check


def store_file(world: World, corpid: str, kind: str, upload: Upload) -> Media:
    """Check the upload and keep it for three days. Raise ApiError for a size or format that WeCom refuses."""
    most, too_large = _SIZES[kind]
    if len(upload.body) < _LEAST_BYTES:
        raise ApiError(40006)
    if len(upload.body) > most:
        raise ApiError(too_large)
    content_type = upload.content_type
    if kind == "image":
        _check_picture(upload.body)
        content_type = _detect_picture_type(upload.body)
    elif kind == "voice":
        _check_voice(upload.body)
        content_type = "audio/amr"
    elif kind == "video" and upload.body[4:8] != b"ftyp":
        raise ApiError(40004)
    expires_at = world.now() + world.settings.media_seconds
    media = Media(make_id("sim-media"), corpid, kind, upload.filename, content_type, upload.body, expires_at)
    world.media.add(media)
    return media


def _detect_picture_type(body: bytes) -> str:
    return "image/png" if body.startswith(b"\x89PNG\r\n\x1a\n") else "image/jpeg"


def _check_picture(body: bytes) -> None:
    if not body.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        raise ApiError(40123)


def _check_voice(body: bytes) -> None:
    """Raise ApiError unless it is AMR (narrow band) of at most a minute."""
    if not body.startswith(_AMR_BEGINNING):
        raise ApiError(301017)
    position, frames = len(_AMR_BEGINNING), 0
    while position < len(body):
        position += _AMR_FRAMES.get(body[position] >> 3 & 15, len(body))
        frames += 1
    if frames > _VOICE_SECONDS * 50:
        raise ApiError(45007)
