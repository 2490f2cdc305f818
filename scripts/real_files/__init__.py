"""Model files in the form that others make them, from llama.cpp's own sources.

    source       the source distribution of llama-cpp-python: vocabulary, chat templates, converter
    checkpoints  small random `transformers` checkpoints with that vocabulary (needs torch)
    convert      llama.cpp's converter and quantiser, each in a process of its own

Nothing that is fetched or made here belongs into the repository: it lies in the user's cache.
"""
