"""FreshFlow: a streaming job that keeps recommendations fresh."""

__all__ = ["__version__"]

__version__ = "0.1.0"
