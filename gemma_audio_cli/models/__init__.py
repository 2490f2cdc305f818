"""Which model files to use."""

from gemma_audio_cli.models.resolve import ModelPair, find_mmproj, resolve

__all__ = ["ModelPair", "find_mmproj", "resolve"]
