"""What our engine is compared with: `hf` (transformers), `apart` (libllama, libmtmd, in another process),
`goldens`."""
