"""Mutated files through the public reading functions, against independent parsers.

    python -m tests.fuzzing --inputs=20000 --seed=1

A kind of file is one entry of `KINDS`. Each input is read in a child process that is watched: it
must end within seconds, in bounded memory, with our error or with what an independent parser
finds. `test_fuzzing.py` runs a part of it.
"""
