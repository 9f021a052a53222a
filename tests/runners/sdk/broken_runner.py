"""A module that fails while it is imported, as a team's may."""

message = "no database today"
raise RuntimeError(message)
