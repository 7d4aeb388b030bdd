"""The command line: ``python -m ipcpipes``."""
