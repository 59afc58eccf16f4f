"""The table as the stages see it: schema, plan, shards, data set, streaming. Knows no networks and no training."""
