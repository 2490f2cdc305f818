"""Backends: what this machine has, what is built for it, what a run uses.

table.py    one row a backend: its name in ggml, flags, what a build needs, how far it was tested
tools.py    runs the vendors' tools, with a time limit        ──► text
parse.py    reads what they print; pure functions             ──► Device
detect.py   one detector a backend                           ──► Detection
store.py    built backends, each in a versioned prefix of its own
build.py    makes one: log, progress, all or nothing
choose.py   --backend, GEMMA_AUDIO_BACKEND, config.toml       ──► the library and the device of a run
"""
