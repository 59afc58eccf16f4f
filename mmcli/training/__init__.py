"""The one training loop, for encoders, fusions and fine-tuning; devices, precision, checkpoints, batches.

Knows nothing of modalities, columns' meaning or artifacts' names.
"""
