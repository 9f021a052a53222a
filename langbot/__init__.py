"""An agent host on Django."""

__version__ = "0.1.0"
