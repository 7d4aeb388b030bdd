"""A policy as plain lists and dicts, to send it to a worker process."""

from __future__ import annotations

from typing import Any

from .policy import AccessPolicy, Account, Group, User

__all__ = ["policy_document", "policy_from_document"]

_KINDS: dict[str, type[Account]] = {"user": User, "group": Group}


def policy_document(policy: AccessPolicy) -> dict[str, Any]:
    """Returns the policy in the form that :func:`policy_from_document` takes."""
    return {
        "allow": [[each.kind, each.account, each.rights] for each in policy.allow],
        "deny": [[each.kind, each.account, each.rights] for each in policy.deny],
        "everyone": policy.open_to_all,
        "sddl": policy.descriptor,
        "remote": policy.remote,
    }


def policy_from_document(document: dict[str, Any]) -> AccessPolicy:
    """Returns the policy that :func:`policy_document` was given."""
    if document["sddl"] is not None:
        return AccessPolicy.sddl(document["sddl"], remote=document["remote"])
    allow, deny = (
        [_KINDS[kind](account, rights) for kind, account, rights in document[name]]
        for name in ("allow", "deny")
    )
    if document["everyone"] is not None:
        return AccessPolicy.everyone(
            rights=document["everyone"], deny=deny, remote=document["remote"]
        )
    return AccessPolicy(allow, deny, remote=document["remote"])
