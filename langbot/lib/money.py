"""Money for people: whole microdollars as dollars."""


def dollars(microdollars: int | None) -> str:
    """Return an amount as people read it; a dash where nobody knows it."""
    if microdollars is None:
        return "—"
    return f"${microdollars / 1_000_000:,.6f}"


__all__ = ["dollars"]
