"""Descriptors and handles that messages bring; the same for both drivers.

``pending`` holds what a channel has received and the program has not fetched yet. ``attached``
finds the message that descriptors belong to, where the system passes them along with bytes (POSIX).
``headers`` finds the message that handles belong to, where a header names them (Windows).
"""
