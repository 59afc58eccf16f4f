"""Which model to take: races, search, ensembles, the trade-off, the leaderboard. Knows no commands, and not how a job is made."""
