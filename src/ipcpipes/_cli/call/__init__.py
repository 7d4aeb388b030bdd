"""``python -m ipcpipes call``: lists what an RPC server offers, and calls it.

``call`` is the command. ``arguments`` converts its words to the arguments of a call. ``elements``
converts the elements of pipes from JSON, and to text.
"""
