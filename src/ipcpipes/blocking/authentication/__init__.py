"""The handshake of :mod:`ipcpipes.authentication` without an event loop."""
