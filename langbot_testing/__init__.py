"""pytest fixtures for teams that embed the host; imports any app, imported by none."""
