"""The native engine from Python: cffi binding, Engine, Session and AudioStream objects, prompts,
transcribing.
"""
