"""Exports: plain modules that are copied beside a model, from cells to tensors to answers. Knows neither torch nor pandas.

They import the standard library, numpy, the libraries that decode (Pillow, soundfile, tokenizers, av), ONNX Runtime and each
other; of mmcli only modules that do so too, which are copied with them. What a modality of mmcli makes of a cell its plain twin
makes too, up to the rounding of float16: tests hold one against the other.
"""
