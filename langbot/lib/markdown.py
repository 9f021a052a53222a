"""What models write, as HTML that is safe to show.

The parser knows no HTML and no pictures: a picture's address could carry what was
said to a stranger as soon as it is shown. What it makes is cleaned once more.
"""

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

# Texts beyond these are shown as they are. The parser looks for the end of a link from
# every bracket on, so its time grows with both: at most 0.1 s for these.
_MOST_CHARACTERS = 100_000
_MOST_WORK = 400_000  # brackets times characters
# Longer ones are made anew each time: 128 of the longest would hold 60 MB and more.
_KEPT_CHARACTERS = 16_000
_TAGS = {
    *("a", "blockquote", "br", "code", "del", "em", "hr", "p", "pre", "s", "strong"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "ul"),
    *("table", "tbody", "td", "th", "thead", "tr"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "code": {"class"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto", "tel"}


def markdown_html(text: str) -> SafeString:
    """Return Markdown (CommonMark with tables and strikethrough) as clean HTML."""
    if len(text) > _MOST_CHARACTERS or len(text) * text.count("[") > _MOST_WORK:
        return mark_safe(f"<pre>{escape(text)}</pre>")  # noqa: S308  escaped here
    return _kept(text) if len(text) <= _KEPT_CHARACTERS else _rendered(text)


@lru_cache(maxsize=128)  # a conversation is shown many times
def _kept(text: str) -> SafeString:
    return _rendered(text)


def _rendered(text: str) -> SafeString:
    import nh3  # 1.5 MB, for pages only

    clean = nh3.clean(
        _parser().render(text),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )
    return mark_safe(clean)  # noqa: S308  nh3 has just cleaned it


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # 60 modules, which no worker needs

    parser = MarkdownIt("js-default", {"html": False, "breaks": True})
    return parser.disable("image")


__all__ = ["markdown_html"]
