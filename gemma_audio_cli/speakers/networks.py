"""The two networks, run by onnxruntime: one tells the voices of 10 s apart, one says what a voice is like.

Both are optional: `pip install 'gemma-audio[speakers]'` brings what runs them, `models pull speakers` gets
the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.errors import ModelFileError, UsageError
from gemma_audio_cli.sound import SAMPLE_RATE, Floats

WINDOW = 10 * SAMPLE_RATE
"""Samples that the segmentation is given at once, as in its training."""
FRAME = 270
"""Samples from one frame of the segmentation to the next."""
FRAME_LENGTH = 991
"""Samples that a frame is computed from."""
FIRST_FRAME = FRAME_LENGTH // 2
"""The sample in the middle of the first frame."""
CLASSES = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=np.float32
)
"""[7, 3]: which of three voices each class of the segmentation means (Plaquet & Bredin, 2023)."""
EMBEDDING_SIZE = 192
MEL_BINS = 80

_INSTALL = "install what runs it: pip install 'gemma-audio[speakers]'"


@dataclass(frozen=True)
class SpeakerFiles:
    """Where the two networks lie."""

    segmentation: Path
    """pyannote segmentation-3.0: samples [n, 1, t] to log-probabilities [n, frames, 7]."""
    embedding: Path
    """CAM++ of 3D-Speaker: mel frames [n, frames, 80] to [n, 192]."""


class SpeakerNetworks:
    """Both networks, loaded."""

    def __init__(self, files: SpeakerFiles, threads: int = 1) -> None:
        """Raises UsageError where onnxruntime is not installed, ModelFileError for files that are none."""
        self._segmentation = _open(files.segmentation, threads)
        self._embedding = _open(files.embedding, threads)
        _check(files.segmentation, lambda: self.segment(np.zeros((1, WINDOW), np.float32)), len(CLASSES))
        _check(files.embedding, lambda: self.embed(np.zeros((1, 148, MEL_BINS), np.float32)), EMBEDDING_SIZE)

    def segment(self, windows: Floats) -> Floats:
        """Log-probabilities [n, frames, 7] of the classes, of samples [n, WINDOW]."""
        return _run(self._segmentation, windows[:, None, :])

    def embed(self, mels: Floats) -> Floats:
        """Voices [n, 192] of length 1, of mel frames [n, frames, 80], less their mean over time."""
        vectors = _run(self._embedding, mels - mels.mean(axis=1, keepdims=True))
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def mel_frames(samples: Floats) -> Floats:
    """Mel frames [n, 80], 100 a second, as Kaldi makes them without dither: what CAM++ was trained on."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = MEL_BINS
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE, samples * 32768.0)
    bank.input_finished()
    if bank.num_frames_ready == 0:
        return np.zeros((0, MEL_BINS), np.float32)
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


def _open(path: Path, threads: int) -> Any:
    try:
        import kaldi_native_fbank  # noqa: F401 - said before any work is done
        import onnxruntime
        import scipy  # noqa: F401
    except ImportError as missing:
        raise UsageError(f"--speakers: {missing.name} is not installed; {_INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    options.enable_cpu_mem_arena = False  # it keeps all it ever needed
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # cores are for the model
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise ModelFileError(f"{path}: no network that onnxruntime can run: {_line(error)}") from None


def _run(session: Any, values: Floats) -> Floats:
    name = session.get_inputs()[0].name
    result = session.run(None, {name: np.ascontiguousarray(values, np.float32)})[0]
    return np.asarray(result, np.float32)


def _check(path: Path, run: Any, width: int) -> None:
    try:
        made: npt.NDArray[Any] = run()
    except Exception as error:
        raise ModelFileError(f"{path}: it does not take what it should: {_line(error)}") from None
    if made.shape[-1] != width or not np.isfinite(made).all():
        raise ModelFileError(f"{path}: another network than expected: {made.shape[-1]} numbers, not {width}")


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
