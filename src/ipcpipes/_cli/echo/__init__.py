"""``python -m ipcpipes echo``: tests whether local IPC works on this machine for this user, and how
fast it is.

``commands`` has the three commands. ``process`` starts the second process of the diagnostic;
``transfer`` (a stream) and ``calls`` (RPC) move the data; ``measure`` decides what they move.
``ledger`` and ``report`` do no I/O.
"""
