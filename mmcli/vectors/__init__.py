"""Vectors as answers, and linear models solved at once: kept, compared, begun by statistics. Knows no task and no disk."""
