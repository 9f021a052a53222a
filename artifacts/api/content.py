"""The bytes of an artifact over HTTP: whole or a range, and never run in our origin."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO

from django.core.handlers.asgi import ASGIRequest
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from artifacts.encoding import SHOWN_TYPES, UNKNOWN_TYPE
from artifacts.models import Artifact
from artifacts.store import ArtifactMissingError, open_artifact
from langbot.problems import Problem

_CHUNK_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
# Named as what they are, to be saved; HTML, SVG, XML and scripts are bytes to us.
_NAMED = frozenset(
    {
        "application/pdf",
        "application/zip",
        "application/gzip",
        "application/json",
        "text/plain",
        "text/csv",
        "text/markdown",
    }
)
_NAMED_KINDS = ("audio/", "video/", "application/vnd.openxmlformats-officedocument.")
_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def content_response(request: HttpRequest, artifact: Artifact) -> HttpResponseBase:
    """Answer with 200, 206 or 304; raises a 409, 410 or 416 problem."""
    tag = f'"{artifact.sha256}"'
    if tag in _tags(request.headers.get("If-None-Match", "")):
        return HttpResponse(status=304, headers={"ETag": tag, **_HEADERS})
    start, end = _wanted(request, artifact.size, tag)
    is_part = (start, end) != (0, artifact.size)
    response = _body(request, artifact, start, end)
    response.status_code = 206 if is_part else 200
    if is_part:
        response["Content-Range"] = f"bytes {start}-{end - 1}/{artifact.size}"
    response["Content-Length"] = str(end - start)
    response["ETag"] = tag
    for name, value in {**_HEADERS, **_kind(artifact)}.items():
        response[name] = value
    return response


def _kind(artifact: Artifact) -> dict[str, str]:
    """Return what a browser is told that the bytes are, and what to do with them."""
    kind = artifact.mime_type
    is_named = kind in SHOWN_TYPES | _NAMED or kind.startswith(_NAMED_KINDS)
    name = artifact.name or str(artifact.public_id)
    disposition = content_disposition_header(
        as_attachment=kind not in SHOWN_TYPES, filename=name
    )
    return {
        "Content-Type": kind if is_named else UNKNOWN_TYPE,
        "Content-Disposition": disposition or "attachment",
    }


def _body(
    request: HttpRequest, artifact: Artifact, start: int, end: int
) -> HttpResponse | StreamingHttpResponse:
    file = _open(artifact)
    if request.method == "HEAD":
        file.close()
        return HttpResponse()
    file.seek(start)
    if isinstance(request, ASGIRequest):
        return StreamingHttpResponse(_chunks_async(file, end - start))
    return StreamingHttpResponse(_chunks(file, end - start))


def _open(artifact: Artifact) -> BinaryIO:
    if artifact.storage != Artifact.Storage.BLOB:
        detail = _("The bytes of this file are not held here.")
        raise Problem(409, "not_held_here", detail)
    try:
        file = open_artifact(artifact)
    except ArtifactMissingError:
        raise Problem(410, "gone", _("The bytes of this file are gone.")) from None
    if os.fstat(file.fileno()).st_size != artifact.size:
        file.close()
        raise Problem(410, "gone", _("The bytes of this file are gone."))
    return file


def _chunks(file: BinaryIO, left: int) -> Iterator[bytes]:
    with file:
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk


async def _chunks_async(file: BinaryIO, left: int) -> AsyncIterator[bytes]:
    """Read on another thread: the loop of a web process serves everybody."""
    with file:
        while left > 0:
            chunk = await asyncio.to_thread(file.read, min(left, _CHUNK_BYTES))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk


def _wanted(request: HttpRequest, size: int, tag: str) -> tuple[int, int]:
    """Return the part that was asked for; everything for what we do not know.

    Several ranges at once are answered whole, as RFC 9110 allows.
    """
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if found is None or request.headers.get("If-Range", tag) != tag:
        return 0, size
    first, last = found.groups()
    if not first and not last:
        return 0, size
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return 0, size  # not a range at all
    else:
        start, end = max(0, size - int(last)), size
    if start >= end:
        detail = _("The file has %(size)d bytes.") % {"size": size}
        raise UnsatisfiableRange(detail, size)
    return start, end


class UnsatisfiableRange(Problem):
    """A 416 that says how large the file is."""

    def __init__(self, detail: str, size: int) -> None:
        super().__init__(416, "range_not_satisfiable", detail, extra={"size": size})
        self.size = size


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
