"""Who speaks when: on the recording itself, without the language model.

samples ──► segmentation (10 s windows) ──► stretches ──► embeddings of 1.5 s ──► clusters ──► turns
"""
