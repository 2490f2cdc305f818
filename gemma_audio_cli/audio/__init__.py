"""From a file or a pipe to 16 kHz mono samples, and from samples to windows a model can hear."""
