"""``python -m ipcpipes stubs``: prints an interface for the other driver.

``stubs`` is the command. ``source`` finds the text of an interface and of its annotations.
``names`` finds the imports that the annotations need.
"""
