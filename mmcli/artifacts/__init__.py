"""Directories with a manifest: atomic, locked, verified. Knows nothing of what they hold. docs/artifacts.md specifies them."""
