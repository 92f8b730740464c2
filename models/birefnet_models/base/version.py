"""The distribution's version, read where it is asked for."""

from importlib.metadata import version

from .extras import DISTRIBUTION

__version__ = version(DISTRIBUTION)
