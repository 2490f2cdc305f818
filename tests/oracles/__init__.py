"""Reference implementations that our engine is compared with: `hf` (transformers) and `llamacpp` (libllama, libmtmd)."""
