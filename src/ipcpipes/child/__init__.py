"""Parent and child: what one process hands to another when it starts it.

``handover`` is what the child is told, and ``ends`` what it inherits; both are the same for trio
and for code without an event loop. ``process`` starts and ends children, ``parent`` is what they
call, ``group`` and ``worker`` are several of them under one master.
"""

from __future__ import annotations
