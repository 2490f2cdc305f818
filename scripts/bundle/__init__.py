"""What `scripts/build_wheel.py` is made of: ggml for every processor, and what makes a finished wheel."""
