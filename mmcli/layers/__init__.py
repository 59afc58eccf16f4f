"""Layers that several architectures are built of. Knows nothing of what they are built into."""
