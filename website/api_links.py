"""Links names of the API in the guides to the reference: an extension of Python-Markdown.

The guides name functions and classes in inline code, which any viewer of Markdown can show. On the
site each such name is a link: ``connect``, ``rpc.serve``, ``EndpointBusy``, or the first name of
``connect_messages("svc")``.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

from .public_names import public_path

_NAME = re.compile(r"(?:await |async with |with )?([A-Za-z_][\w.]*\w)(?:\(.*)?$", re.DOTALL)
# Words that are public names, but in the guides mostly mean something else: the package itself, the
# classes of multiprocessing.connection.
_COMMON = {"byte", "run", "boolean", "ipcpipes", "Client", "Listener"}
_SKIPPED = {"a", "autoref", "h1", "h2", "h3", "h4", "h5", "h6", "pre"}


class _Links(Treeprocessor):
    def run(self, root: Element) -> None:
        for parent in list(root.iter()):
            if parent.tag in _SKIPPED:
                continue
            for place, child in enumerate(list(parent)):
                if child.tag == "code" and (path := _target(str(child.text or ""))):
                    link = Element("autoref", {"identifier": path, "optional": ""})
                    link.tail, child.tail = child.tail, None
                    link.append(child)
                    parent[place] = link


def _target(code: str) -> str | None:
    match = _NAME.fullmatch(code)
    if match is None or match[1] in _COMMON:
        return None
    return public_path(match[1])


class ApiLinks(Extension):
    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802  # Python-Markdown calls it
        # After inline code has become an element (20), before autorefs looks at links.
        md.treeprocessors.register(_Links(md), "ipcpipes_api_links", 15)


def makeExtension(**_: Any) -> ApiLinks:  # noqa: N802  # Python-Markdown calls it
    return ApiLinks()
