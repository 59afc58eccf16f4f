"""Which model to take: races, search, ensembles, trade-off, leaderboard. Knows no commands, and not how a job is made."""
