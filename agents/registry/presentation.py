"""How a plugin presents itself: its icon and its readme, checked before they are kept.

A picture is what its first bytes say, never what the plugin says. Drawings (SVG) that
could run anything or fetch anything are refused; pages show icons by an address that
lets them do neither.
"""

import re
from typing import Final

from agents.registry.models import Plugin

ICON_BYTES: Final = 256 * 1024
README_CHARACTERS: Final = 100_000  # as much as is rendered (`langbot.lib.markdown`)
SVG: Final = "image/svg+xml"
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_DECLARATION = re.compile(r"\ufeff?\s*(<\?xml[^>]*\?>\s*)?")
_ROOT = re.compile(r"<svg[\s>]")
_COMMENTS: Final = 5  # before the drawing begins
_ACTIVE = re.compile(
    r"<!DOCTYPE|<!ENTITY|<script|<foreignObject|<iframe|<image|\bon\w+\s*="
    r"|javascript:|@import|url\(\s*[\"']?(?![\"'#\s])|<\?xml-stylesheet",
    re.IGNORECASE,
)


def picture_type(content: bytes) -> str:
    """Return the type of an icon that may be shown, "" for anything else."""
    if not 0 < len(content) <= ICON_BYTES:
        return ""
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return ""
    return SVG if _is_drawing(text) and not _ACTIVE.search(text) else ""


def _is_drawing(text: str) -> bool:
    declared = _DECLARATION.match(text)
    start = declared.end() if declared else 0
    for _comment in range(_COMMENTS):
        if not text.startswith("<!--", start):
            break
        end = text.find("-->", start)
        if end < 0:
            return False
        start = end + 3
        start += len(text[start:]) - len(text[start:].lstrip())
    return _ROOT.match(text, start) is not None


def store_presentation(
    plugin: str, workspace_id: int | None, icon: bytes, readme: bytes
) -> bool:
    """Keep what a plugin sent; False when it is another workspace's plugin.

    An icon that may not be shown is dropped; a readme is cut, and never fails.
    """
    rows = Plugin.objects.filter(name=plugin, workspace=workspace_id)
    kind = picture_type(icon)
    text = readme.decode(errors="replace").replace("\x00", "")[:README_CHARACTERS]
    values = {"icon": icon if kind else None, "icon_type": kind, "readme": text}
    return bool(rows.update(**values))
