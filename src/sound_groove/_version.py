"""The version of the package, in a file of its own: the build reads it, and no module needs the package for it."""

__version__ = "0.1.0"
