"""Connections and listeners in a child of fork(2); Windows has no fork.

A forked child has copies of this process' objects and of their descriptors. If both processes used
the same connection, replies would go to the wrong process, and frames of the two would get mixed
up. So the connections that the child must not use are ended in the child, by a function that the
interpreter calls there before anything else runs (``os.register_at_fork``). That costs a connection
half a microsecond when it is made, and nothing afterwards. Nothing that the child does later can
send data on these connections, not even leaving the blocks in which it was forked. The alternative,
to compare the process number in each operation, costs time in each operation, and does not protect
code that does not compare.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Protocol

__all__ = ["remember"]


class Forkable(Protocol):
    """An object that changes its state in a forked child."""

    def _in_forked_child(self, text: str) -> None:
        """Called in the child, where no other thread runs. Locks that other threads of the parent
        held stay locked for ever in the child, so this method makes new locks.

        Args:
            text: says which process made the object, and what to do.
        """


# This is not a WeakSet, because the callbacks of a WeakSet are Python functions, and the
# interpreter discards a signal handler's exception that is raised in a callback. ``set.discard`` is
# a C method, in which no signal handler runs.
_remembered: set[weakref.ref[Forkable]] = set()

if sys.platform == "win32":

    def remember(thing: Forkable) -> None:
        """Does nothing: Windows has no fork."""

else:
    _process = os.getpid()

    def remember(thing: Forkable) -> None:
        """Makes a forked child call ``thing._in_forked_child``, if ``thing`` still exists then."""
        _remembered.add(weakref.ref(thing, _remembered.discard))

    def _tell_all() -> None:
        global _process
        text = f"made by process {_process}, and this is a forked child of it; connect again here"
        _process = os.getpid()
        for reference in list(_remembered):
            thing = reference()
            if thing is not None:
                thing._in_forked_child(text)

    os.register_at_fork(after_in_child=_tell_all)
