"""The user's table: reading it in chunks, telling its columns apart, splitting its rows."""
