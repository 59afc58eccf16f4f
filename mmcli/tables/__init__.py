"""The user's table: reading it in chunks, what its cells say, splitting its rows. Knows nothing of media, inputs or targets."""
