"""Campaigns: long random runs that find errors which no single test finds. Run them with
``nox -s campaign`` or ``python -m campaigns --help``. They are not part of the gate.

Each is one module here, in the table of :mod:`campaigns.registry`.
"""
