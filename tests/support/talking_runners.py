"""Runners that people talk to while they answer, for tests of the web chat."""

import asyncio
import base64
import struct
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import ClassVar

from runners.sdk import RunContext, results
from runners.sdk.results import Result
from tests.support.sdk_runners import LoadRunner

NAMES = ("Listening", "Dawdling", "Breaking", "Drawing", "Numbering")
PATHS = tuple(f"{__name__}.{name}" for name in NAMES)
ENOUGH = "enough"
_LONG = 60.0  # seconds


def _png(width: int, height: int) -> bytes:
    """Return a blue picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\x20\x60\xc0" * width) * height
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


FILES = {
    "blue picture.png": _png(400, 200),
    "page.html": b"<script>document.title = 'run'</script>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
}


class Dawdling(LoadRunner):
    """Says `slow`, and nothing more until somebody stops it."""

    name = "dawdling"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        yield results.delta("slow ")
        await asyncio.sleep(ctx.seconds_left or _LONG)


class Listening(LoadRunner):
    """Says `heard <text>` of what people add, until one of them says `enough`."""

    name = "listening"
    capabilities: ClassVar[Iterable[str]] = ("streaming", "steering")

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        yield results.reasoning("I listen.")
        yield results.delta("listening ")
        said = ""
        while said != ENOUGH:
            await asyncio.sleep(0.1)
            for item in await ctx.api.steering_pull():
                said = item.input.text or ""
                yield results.delta(f"heard {said} ")


class Breaking(LoadRunner):
    """Begins to answer, and cannot go on."""

    name = "breaking"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        yield results.delta("I begin ")
        raise ValueError("it broke")


class Drawing(LoadRunner):
    """Says `drawn`, and hands over a picture, a page and a note elsewhere."""

    name = "drawing"

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        for name, content in FILES.items():
            encoded = base64.b64encode(content).decode()
            yield results.artifact("file", name=name, content_base64=encoded)
        yield results.artifact("file", name="elsewhere.bin", size=2_500_000)
        yield results.completed("drawn")


class Numbering(LoadRunner):
    """Counts its answers in this process: `<word> is answer <number>`, in two parts."""

    name = "numbering"
    answers = 0

    async def run(self, ctx: RunContext) -> AsyncIterator[Result]:
        type(self).answers += 1
        yield results.delta(f"{ctx.text} is ")
        await asyncio.sleep(0.5)
        yield results.delta(f"answer {self.answers}")
