"""How commands name a workspace."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from langbot.core.models import Workspace


def find_workspace(slug: str) -> Workspace:
    """Return a workspace; raises CommandError naming those there are."""
    workspace = Workspace.objects.filter(slug=slug).first()
    if workspace is None:
        known = ", ".join(Workspace.objects.values_list("slug", flat=True)) or "none"
        raise CommandError(f"There is no workspace {slug}; there are: {known}.")
    return workspace


def add_places(parser: CommandParser) -> None:
    """Add the arguments of which `chosen_place` reads a workspace, or all of them."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--workspace", default="default", help="its slug")
    place.add_argument(
        "--all-workspaces", action="store_true", help="serve every workspace"
    )


def chosen_place(options: dict[str, Any]) -> Workspace | None:
    """Return the named workspace, None for all of them; raises CommandError."""
    return None if options["all_workspaces"] else find_workspace(options["workspace"])
