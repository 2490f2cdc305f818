"""Everything behind ``scripts/train_demo_model.py``: words, voices, augmentation, model and evaluation."""
