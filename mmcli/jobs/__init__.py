"""What is trained: an encoder, F, both together, a student, a warm start. Knows no commands and no flags."""
