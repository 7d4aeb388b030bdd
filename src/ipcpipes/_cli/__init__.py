"""The command line, ``python -m ipcpipes``.

``command_line`` says which commands there are and with which options, and runs one.
``echo`` and ``call`` hold what they do. ``output`` is the only module that writes to the standard
streams, ``failure`` turns an error into the line that the user reads.
"""
