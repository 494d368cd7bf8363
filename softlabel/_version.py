"""The version, which every file of a cache names."""

__version__ = "0.1.0"
