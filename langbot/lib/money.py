"""Money for people: whole microdollars as dollars."""

from django.utils.translation import ngettext


def dollars(microdollars: int | None) -> str:
    """Return an amount as people read it; a dash where nobody knows it."""
    if microdollars is None:
        return "—"
    return f"${microdollars / 1_000_000:,.6f}"


def with_unknown(microdollars: int | None, calls: int) -> str:
    """Return an amount, and how many calls nobody knows the cost of besides."""
    if not calls:
        return dollars(microdollars)
    text = ngettext(
        "%(cost)s and %(count)d call of unknown cost",
        "%(cost)s and %(count)d calls of unknown cost",
        calls,
    )
    return text % {"cost": dollars(microdollars), "count": calls}


__all__ = ["dollars", "with_unknown"]
