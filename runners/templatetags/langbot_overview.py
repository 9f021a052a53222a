"""The tag behind the admin's first page."""

from typing import Any

from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def langbot_overview(context: dict[str, Any]) -> list[Any]:
    """Return the tiles that the person may see."""
    # Tag libraries load while admin modules are still being imported.
    from runners.admin.overview import tiles_for

    return list(tiles_for(context["request"]))
