"""What the admin theme says and ships no translation for.

Nothing imports this: `make messages` finds the words here and keeps them in our
catalogue, where the theme's templates look as well.
"""

from django.utils.translation import gettext_noop as _

WORDS = (
    _("Add row"),
    _("After you've created a user, you’ll be able to edit more user options."),
    _("All applications"),
    _("Apply Filters"),
    _("Cancel"),
    _("Choose file to upload"),
    _("Click to cancel"),
    _("Collapse"),
    _("Current file"),
    _("Dark"),
    _("Date"),
    _("Date from"),
    _("Date to"),
    _("Edit"),
    _("Expand row"),
    _("False"),
    _("Filters"),
    _("From"),
    _("General"),
    _("Go back"),
    _("Light"),
    _("Loading more results..."),
    _("More actions"),
    _("New"),
    _("Next"),
    _("No data"),
    _("No recent searches"),
    _("No results found"),
    _("No results matching your query"),
    _("Non field specific"),
    _("Previous"),
    _(
        "Raw passwords are not stored, so there is no way to see this user’s "
        "password, but you can change the password using "
        '<a href="{}" class="text-primary-600 dark:text-primary-500">this form</a>.'
    ),
    _("Recent searches"),
    _("Reset filters"),
    _("Return to site"),
    _("Row"),
    _("Run"),
    _("Search apps and models..."),
    _("Select action"),
    _("Select action to run"),
    _("Select all rows"),
    _("Select record"),
    _("Select value"),
    _("Submit"),
    _("This item will be deleted."),
    _("This page yielded into no results. Create a new item or reset your filters."),
    _("To"),
    _("Toggle password visibility"),
    _("True"),
    _("Type to search"),
    _("Undo"),
    _("Update"),
    _("Welcome"),
    _("You have been successfully logged out from the administration"),
)
