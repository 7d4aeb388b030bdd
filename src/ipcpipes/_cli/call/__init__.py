"""``python -m ipcpipes call``: lists what an RPC server offers, and calls it.

``call`` is the command, ``arguments`` turns its words into what a call takes.
"""
