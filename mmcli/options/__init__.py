"""What each stage may be told, one file a stage, each flag declared once. Knows no shell and no torch."""
