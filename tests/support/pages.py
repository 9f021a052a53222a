"""The address of every page of the admin, with rows for those that show one.

Called by `RunningHost.inside`: the rows are those of the running host.
"""

from django.contrib import admin
from django.urls import reverse

from tests.langbot.permissions.routes import all_routes

_POSTED = {"regenerate"}  # what takes POST only is no page
_OF_A_ROW = {"pk", "object_id"}
_CHANGE_PAGES = 2  # rows differ: with and without a bot, ended and live


def admin_pages() -> list[str]:
    """Make a row of every model; return the path of each kind of page."""
    from tests.langbot.admin_site_rows import populate

    populate()
    _add_a_turn()
    models = list(admin.site._registry)
    found = {reverse("admin:app_list", args=[one._meta.app_label]) for one in models}
    for model in models:
        found.update(_pages_of(model))
    return [reverse("admin:index"), *sorted(found)]


def _add_a_turn():
    """Let every role say something in a conversation."""
    from runners.models import TranscriptItem

    said = TranscriptItem.objects.latest("pk")
    for seq, role in enumerate(("reasoning", "tool", "assistant", "system"), 1):
        TranscriptItem.objects.create(
            conversation=said.conversation,
            seq=said.seq + seq,
            role=role,
            text=f"What the {role} says.",
            run=said.run,
        )


def _pages_of(model):
    prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
    keys = list(model._default_manager.order_by("-pk").values_list("pk", flat=True))
    for route in all_routes():
        page = route.name.removeprefix(prefix)
        if not route.path.startswith("admin/") or page in {route.name, *_POSTED}:
            continue
        if not route.parameters:
            yield route.fill()
        elif set(route.parameters) <= _OF_A_ROW:
            for key in keys[: _CHANGE_PAGES if page == "change" else 1]:
                yield route.fill(pk=key, object_id=key)
