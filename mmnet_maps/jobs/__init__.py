"""What a command does, callable from Python; the only room that joins sources to the rest.

A function here takes names of files as text or `Path`. It gives back what its command prints with ``--json``,
or the object that was asked for. `mmnet_maps` itself offers the main ones.
"""
