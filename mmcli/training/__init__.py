"""The one training loop, devices, precision, checkpoints, batches. Knows nothing of modalities, columns or artifacts' names.

It serves encoders, fusions and fine-tuning alike.
"""
