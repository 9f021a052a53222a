"""The first page's charts: drawn on the server, so that they need no script.

Each is an SVG with the same numbers in a table beside it.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from runners.admin.overview_numbers import Numbers, Part, Window

WIDTH, HEIGHT = 720, 160  # units of the drawing; the page scales it
_GAP = 0.25  # of a part's width


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `tone` is its colour's name, `title` what it says."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its table: `heads` and `rows` hold what it shows."""

    name: str
    title: str
    summary: str
    top: str
    bars: list[Bar]
    ticks: list[str]
    heads: list[str]
    rows: list[list[str]]
    legend: list[tuple[str, str]]
    width: int = WIDTH
    height: int = HEIGHT


def runs_chart(numbers: Numbers) -> Chart:
    """Return how many runs began in each part, and how they ended."""
    most = max((part.total for part in numbers.parts), default=0)
    names = {"good": _("completed"), "bad": _("failed"), "calm": _("other")}
    bad = sum(part.bad for part in numbers.parts)
    summary = ngettext(
        "%(total)d run, %(bad)d of them failed.",
        "%(total)d runs, %(bad)d of them failed.",
        numbers.total,
    )
    return Chart(
        name="runs",
        title=_("Runs"),
        summary=summary % {"total": numbers.total, "bad": bad},
        top=str(most),
        bars=[
            bar
            for number, part in enumerate(numbers.parts)
            for bar in _stack(numbers, number, part, most)
        ],
        ticks=ticks_of(numbers),
        heads=[_("From"), *names.values()],
        rows=[
            [
                part_name(part, numbers.window),
                str(part.good),
                str(part.bad),
                str(part.other),
            ]
            for part in numbers.parts
        ],
        legend=list(names.items()),
    )


def times_chart(numbers: Numbers) -> Chart:
    """Return how long runs took from the message to the end."""
    most = max((part.slow or 0.0 for part in numbers.parts), default=0.0)
    names = {"busy": _("half are faster"), "soft": _("95 of 100 are faster")}
    known = [part.typical for part in numbers.parts if part.typical is not None]
    return Chart(
        name="times",
        title=_("Seconds to the answer"),
        summary=_("At most %s in a typical part.") % seconds(max(known))
        if known
        else _("No run has ended."),
        top=seconds(most),
        bars=[
            bar
            for number, part in enumerate(numbers.parts)
            for bar in _pair(numbers, number, part, most)
        ],
        ticks=ticks_of(numbers),
        heads=[_("From"), *names.values()],
        rows=[
            [part_name(part, numbers.window), seconds(part.typical), seconds(part.slow)]
            for part in numbers.parts
        ],
        legend=list(names.items()),
    )


def seconds(value: float | None) -> str:
    """Return a duration with as many digits as people read."""
    if value is None:
        return "—"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"  # noqa: PLR2004  digits


def _stack(numbers: Numbers, number: int, part: Part, most: int) -> list[Bar]:
    bars, foot = [], float(HEIGHT)
    place = number, numbers.window.parts
    for tone, count in (("good", part.good), ("bad", part.bad), ("calm", part.other)):
        if not count:
            continue
        height = HEIGHT * count / most
        title = f"{part_name(part, numbers.window)}: {count}"
        bars.append(bar_at(place, foot, height, tone, title))
        foot -= height
    return bars


def _pair(numbers: Numbers, number: int, part: Part, most: float) -> list[Bar]:
    bars = []
    place = number, numbers.window.parts
    for tone, value in (("soft", part.slow), ("busy", part.typical)):
        if value:
            height = max(HEIGHT * value / most, 1.5)
            title = f"{part_name(part, numbers.window)}: {seconds(value)}"
            bars.append(bar_at(place, HEIGHT, height, tone, title))
    return bars


def bar_at(
    place: tuple[int, int], foot: float, height: float, tone: str, title: str
) -> Bar:
    """Return the bar of (number, parts) that stands on `foot`."""
    number, parts = place
    step = WIDTH / parts
    return Bar(
        x=round(step * (number + _GAP / 2), 2),
        y=round(foot - height, 2),
        width=round(step * (1 - _GAP), 2),
        height=round(height, 2),
        tone=tone,
        title=title,
    )


def ticks_of(numbers: Numbers) -> list[str]:
    """Return the names below a chart, about four."""
    every = max(numbers.window.parts // 4, 1)
    return [
        part_name(part, numbers.window)
        for number, part in enumerate(numbers.parts)
        if number % every == 0
    ]


def part_name(part: Part, window: Window) -> str:
    """Return when a part begins, with its day in a long window."""
    begins = localtime(part.begins)
    if window.length > timedelta(days=1):
        return f"{date_format(begins, 'SHORT_DATE_FORMAT')} {begins:%H:%M}"
    return f"{begins:%H:%M}"
