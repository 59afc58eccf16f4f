"""ONNX files of others, run by ONNX Runtime (the extra `export`). They are data, not programs, and read no other file."""

from __future__ import annotations

import os
from typing import Any


def session(data: bytes, threads: int) -> Any:
    """What runs a file on the processor.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: it is no such file, or its weights lie in others.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what is wrong is raised
    # Weights beside the file would be looked for in the working directory: there are none here.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a type of its own for each fault
        why = " ".join(str(error).split())[:200]
        if "external" in why.lower():
            raise ValueError("its weights lie in another file: save it as one") from None
        raise ValueError(f"ONNX Runtime cannot read it ({why})") from None
