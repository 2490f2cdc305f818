"""What our engine is compared with: `hf` (transformers), `llamacpp` (libllama, libmtmd), and `goldens`."""
