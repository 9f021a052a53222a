"""The tag behind the admin's first page."""

from typing import Any

from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def langbot_overview(context: dict[str, Any]) -> Any:
    """Return the first page as the person may see it."""
    # Tag libraries load while admin modules are still being imported.
    from runners.admin.overview import overview_of

    return overview_of(context["request"])
