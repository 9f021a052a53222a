"""Misconfiguration that Django's check framework reports, each with an id."""
