"""What becomes of connections and listeners in a child of fork(2); Windows has no such thing.

A forked child has copies of this process' objects and of their descriptors, and both could go on
with one conversation: replies would go to the wrong process, and frames of the two get between
each other. So what must not go on in the child is ended there, by a function that the interpreter
calls in the child before anything else runs (``os.register_at_fork``). That costs a connection
half a microsecond when it is made, and nothing afterwards; and whatever the child does later, such
as leaving the blocks that it was forked in, has nothing to send on. To compare a number with each
operation, the alternative, costs each of them, and does not help what does not ask.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Protocol

__all__ = ["remember"]


class Forkable(Protocol):
    """What has to know that this process is a forked child."""

    def _in_forked_child(self, text: str) -> None:
        """Called in the child, where no other thread is. What other threads of the parent were
        inside of, they stay inside of for ever: locks that they may hold are made anew.

        Args:
            text: which process has made it, and what to do.
        """


_remembered: weakref.WeakSet[Forkable] = weakref.WeakSet()

if sys.platform == "win32":

    def remember(thing: Forkable) -> None:
        """There is no fork here."""

else:
    _process = os.getpid()

    def remember(thing: Forkable) -> None:
        """Tells it, as long as it lives, when this process is a forked child."""
        _remembered.add(thing)

    def _tell_all() -> None:
        global _process
        text = f"made by process {_process}, and this is a forked child of it; connect again here"
        _process = os.getpid()
        for thing in list(_remembered):
            thing._in_forked_child(text)

    os.register_at_fork(after_in_child=_tell_all)
