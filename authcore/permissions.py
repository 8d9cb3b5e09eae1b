"""Permissions: their grammar, the rule of coverage, Whatomate's catalogue and its system roles.

Laws:

- A permission is ``resource:action``; resources may be dotted (``settings.sso``). There are no wildcards: the rows of a
  role list everything it grants, and a new permission is granted to nobody by surprise.
- A granted permission covers exactly itself.
- The catalogue is Whatomate's. An installation may hold more rows, and no row of ours overwrites one of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Lengths are those of Whatomate's columns: resource varchar(50), action varchar(20).
_PERMISSION: Final = re.compile(
    r"(?=[^:]{1,50}:)([a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*):(?=.{1,20}\Z)([a-z][a-z0-9_-]*)\Z"
)


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """Permission to do one action to one kind of resource."""

    resource: str
    action: str

    def __str__(self) -> str:
        return f"{self.resource}:{self.action}"


def parse(text: str) -> Permission:
    """Parse ``resource:action``.

    Raises:
        ValueError: `text` is not of that form.
    """
    match = _PERMISSION.match(text)
    if match is None:
        raise ValueError(f"not a permission of the form resource:action: {text[:80]!r}")
    return Permission(match[1], match[2])


def is_permission(text: str) -> bool:
    """Return whether `text` is of the form ``resource:action``."""
    return _PERMISSION.match(text) is not None


def covers(granted: frozenset[str], wanted: str) -> bool:
    """Return whether one of `granted` allows `wanted`: by exact match only."""
    return wanted in granted


_RESOURCES: Final[Mapping[str, tuple[str, str]]] = {
    # resource: (actions, what the resource is called in a description)
    "users": ("read write delete", "users"),
    "teams": ("read write delete", "teams"),
    "roles": ("read write delete", "roles"),
    "settings.general": ("read write", "general settings"),
    "settings.chatbot": ("read write", "chatbot settings"),
    "settings.sso": ("read write", "single sign-on settings"),
    "accounts": ("read write delete", "WhatsApp accounts"),
    "templates": ("read write delete sync", "message templates"),
    "flows.whatsapp": ("read write delete", "WhatsApp flows"),
    "flows.chatbot": ("read write delete", "chatbot flows"),
    "campaigns": ("read write delete execute", "campaigns"),
    "chatbot.keywords": ("read write delete", "chatbot keyword rules"),
    "chatbot.ai": ("read write delete", "chatbot AI contexts"),
    "chat": ("read write", "chat messages"),
    "chat.assign": ("write", "chat assignments"),
    "contacts": ("read write delete import export", "contacts"),
    "tags": ("read write delete", "tags"),
    "analytics": ("read write delete", "analytics"),
    "analytics.agents": ("read", "agent analytics"),
    "transfers": ("read write pickup", "chat transfers"),
    "webhooks": ("read write delete", "webhooks"),
    "api_keys": ("read write delete", "API keys"),
    "canned_responses": ("read write delete", "canned responses"),
    "custom_actions": ("read write delete", "custom actions"),
    "organizations": ("read write delete assign", "organizations"),
    "call_logs": ("read", "call logs"),
    "ivr_flows": ("read write delete", "voice menus"),
    "call_transfers": ("read write", "call transfers"),
    "outgoing_calls": ("read write", "outgoing calls"),
    "audit_logs": ("read", "audit logs"),
}

_VERBS: Final[Mapping[str, str]] = {
    "read": "View",
    "write": "Create and edit",
    "delete": "Delete",
    "sync": "Synchronize",
    "execute": "Run",
    "import": "Import",
    "export": "Export",
    "pickup": "Pick up",
    "assign": "Assign",
}

CATALOGUE: Final[Mapping[str, Mapping[str, str]]] = {
    resource: {action: f"{_VERBS[action]} {name}" for action in actions.split()}
    for resource, (actions, name) in _RESOURCES.items()
}
"""resource -> action -> description; every permission Whatomate knows (81 since 2026-04-03)."""

ALL: Final[frozenset[str]] = frozenset(
    f"{resource}:{action}" for resource, actions in CATALOGUE.items() for action in actions
)
"""The whole catalogue, as ``resource:action``."""


@dataclass(frozen=True, slots=True)
class SystemRole:
    """A role that every organization starts with.

    Attributes:
        name: The role's name.
        description: Its purpose, in words.
        is_default: True if newcomers get it.
        permissions: The permissions of the catalogue that it grants.
        is_complete: True if it grants every permission of the installation, including those outside the catalogue.
    """

    name: str
    description: str
    is_default: bool
    permissions: frozenset[str]
    is_complete: bool = False


_MANAGER_WITHOUT: Final = frozenset({"users", "roles", "settings.sso", "api_keys", "audit_logs"})
_MANAGER_READS: Final = frozenset({"teams", "analytics", "organizations"})

ROLES: Final[Mapping[str, SystemRole]] = {
    role.name: role
    for role in (
        SystemRole(
            "admin", "Full access to all features", is_default=False, permissions=ALL, is_complete=True
        ),
        SystemRole(
            "manager",
            "Can manage most resources except users, roles and API keys",
            is_default=False,
            permissions=frozenset(
                f"{resource}:{action}"
                for resource, actions in CATALOGUE.items()
                for action in actions
                if resource not in _MANAGER_WITHOUT and (action == "read" or resource not in _MANAGER_READS)
            ),
        ),
        SystemRole(
            "agent",
            "Can handle chats and transfers",
            is_default=True,
            permissions=frozenset(
                {
                    "chat:read",
                    "chat:write",
                    "contacts:read",
                    "tags:read",
                    "analytics.agents:read",
                    "transfers:read",
                    "transfers:write",
                    "transfers:pickup",
                    "canned_responses:read",
                    "call_transfers:read",
                    "call_transfers:write",
                    "outgoing_calls:read",
                    "outgoing_calls:write",
                    "accounts:read",
                }
            ),
        ),
    )
}
"""Name -> the system role of that name. A newcomer gets the default one."""
