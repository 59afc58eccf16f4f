"""Networks and weights of other libraries: finding, reading, tuning them. Knows no columns and no tasks."""
