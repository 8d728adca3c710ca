"""Fuzzing of what reads bytes from outside: `make fuzz SECONDS=60 [READER=photo]`.

To add a reader, write a function that returns a `Reader` (reader.py) and list it in readers.py.
"""
