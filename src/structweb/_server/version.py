"""The version of structweb."""

from typing import Final

#: As in pyproject.toml (a test compares them): reading the package's metadata would double the time of our import.
__version__: Final = "0.1.0.dev0"
