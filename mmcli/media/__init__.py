"""Opening what cells name: files and addresses, pixels, sound. Knows nothing of tables, modalities or tensors on disk."""
