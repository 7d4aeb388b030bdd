"""``python -m ipcpipes call``: asks a server what it offers, and calls it."""
