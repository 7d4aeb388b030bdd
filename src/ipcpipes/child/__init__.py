"""Parent and child processes under trio; the blocking driver is in ``blocking/child``.

``process`` starts and ends a child. ``pipes`` holds the pipes that the child inherits, and
``handover`` writes their numbers into its environment. In the child, ``adopting`` reads the
environment, and ``parent`` has the public functions. ``group`` holds several workers under one
master. ``base``, ``pipes``, ``handover`` and ``adopting`` are the same for both drivers.
"""

from __future__ import annotations
