"""biote: multi-omic sequence models as a Lightning package."""

from biote.version import __version__

__all__ = ["__version__"]
