"""The command line, ``python -m ipcpipes``.

``command_line`` defines the commands and their options, and runs a command. ``echo`` and ``call``
implement the commands. ``output`` is the only module that writes to the standard streams.
``failure`` converts an error to the line that the user reads.
"""
