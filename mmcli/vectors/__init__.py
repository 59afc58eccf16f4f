"""Unit vectors as answers: how they are kept, compared and begun from statistics. Knows no task, no head and no disk."""
