"""Output: transcripts, one writer a format, files that are whole or absent, and progress.

Importing this costs nothing: pysubs2 and rich come with the first subtitle and the first bar.
"""

from __future__ import annotations

from gemma_audio_cli.files import AtomicFile, OutputError
from gemma_audio_cli.output.as_json import SCHEMA
from gemma_audio_cli.output.formats import EXTENSIONS, check_format, open_writer
from gemma_audio_cli.output.plan import Item, ItemOutput, OutputPlan
from gemma_audio_cli.output.progress import Progress
from gemma_audio_cli.output.writers import Sink, Style, TextWriter, Writer
from gemma_audio_cli.transcript import Recording, Segment, Transcript

__all__ = [
    "EXTENSIONS",
    "SCHEMA",
    "AtomicFile",
    "Item",
    "ItemOutput",
    "OutputError",
    "OutputPlan",
    "Progress",
    "Recording",
    "Segment",
    "Sink",
    "Style",
    "TextWriter",
    "Transcript",
    "Writer",
    "check_format",
    "open_writer",
]
