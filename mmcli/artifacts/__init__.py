"""Artifacts: directories with a manifest. docs/artifacts.md is the specification.

Atomic writing, locks, checksums, lineage, tensors on disk. Knows nothing of what the artifacts hold.
"""
