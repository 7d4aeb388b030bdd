"""``python -m ipcpipes echo``: does it work on this machine, for this user, and how fast?

``ledger``, ``figures``, ``generated``, ``ended`` and ``report`` are pure; ``arguments`` is where to
begin reading, ``diagnose``, ``serve`` and ``send`` are the three commands. ``server_process`` and
``child_process`` are what ``diagnose`` may have at the other end.
"""
