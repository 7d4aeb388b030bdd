"""Campaigns: long runs at random that look for what no single test finds: ``nox -s campaign``, or
``python -m campaigns --help``. They are no part of the gate.

Each is one module here, in the table of :mod:`campaigns.registry`.
"""
