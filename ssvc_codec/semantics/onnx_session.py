"""Networks in ONNX Runtime: where they run, and that it stays quiet."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from ssvc_codec.errors import ModelError

__all__ = ["first_line", "open_session"]

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_FATAL, _WARNING = 4, 2  # log severities


def open_session(path: Path, *, device: str, threads: int) -> onnxruntime.InferenceSession:
    """A network on CUDA where device (auto, cpu, cuda) and machine allow, else on the CPU. Quiet in any case.

    threads: on the CPU, 0 for one per core. Raises ModelError for what is no model or cannot run on cuda, ValueError.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {device!r}: auto, cpu and cuda are supported")
    if threads < 0:
        raise ValueError(f"threads {threads}: must be 0 or more")
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    session = None
    if device != "cpu" and _CUDA in onnxruntime.get_available_providers():
        session = _open_on_cuda(path, threads)
    if device == "cuda" and session is None:
        raise ModelError(f"{path}: device cuda was asked for, but ONNX Runtime cannot use CUDA here")
    try:
        return session or onnxruntime.InferenceSession(path, _session_options(threads), providers=[_CPU])
    except Exception as error:
        raise ModelError(f"{path}: no model that ONNX Runtime can open: {first_line(error)}") from error


def _open_on_cuda(path: Path, threads: int) -> onnxruntime.InferenceSession | None:
    """None where CUDA fails. What ONNX Runtime then logs goes past the session's own severity."""
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        session = onnxruntime.InferenceSession(
            path, _session_options(threads), providers=[_CUDA, _CPU], enable_fallback=0
        )
    except Exception:
        return None
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)
    return session if _CUDA in session.get_providers() else None


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between two detections the codec needs the cores: threads that wait must sleep.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def first_line(error: Exception) -> str:
    """What ONNX Runtime says, without the listings that may follow."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
