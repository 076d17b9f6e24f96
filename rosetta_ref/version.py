"""The version, where modules that know nothing of converting can ask for it."""

__version__ = "0.1.0"
