"""Writers: how results look on stdout, one a format."""

from __future__ import annotations

from gemma_audio_cli.output.writers import FORMATS, JsonWriter, TextWriter, Writer, make_writer

__all__ = ["FORMATS", "JsonWriter", "TextWriter", "Writer", "make_writer"]
