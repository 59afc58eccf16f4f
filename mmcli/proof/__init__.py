"""What is shown to prove a model: the parts of the report. Trains nothing, picks nothing."""
