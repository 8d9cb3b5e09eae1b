"""The grammar, the cover rule, Whatomate's catalogue and its system roles."""

from __future__ import annotations

import pytest

from authcore.permissions import ALL, CATALOGUE, ROLES, Permission, covers, is_permission, parse


def test_a_permission_covers_itself_and_nothing_else() -> None:
    granted = frozenset({"contacts:read", "settings.general:read"})
    assert covers(granted, "contacts:read")
    for other in (
        "contacts:write",
        "contacts",
        "contacts:",
        "contacts:*",
        "*:*",
        "settings:read",
        "Contacts:read",
    ):
        assert not covers(granted, other)
    assert not covers(frozenset({"*:*", "contacts:*", "*"}), "contacts:read")


def test_a_permission_is_a_resource_and_an_action() -> None:
    assert parse("settings.sso:write") == Permission("settings.sso", "write")
    assert str(parse("api_keys:read")) == "api_keys:read"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "contacts",
        "contacts:",
        ":read",
        "contacts:read:write",
        "contacts:read,users:write",
        "contacts:read\r\nX-User-Super-Admin:true",
        "contacts:read\n",
        "con tacts:read",
        "Contacts:read",
        "contacts:*",
        "*:read",
        "a..b:read",
        ".a:read",
        "x" * 51 + ":read",
        "contacts:" + "x" * 21,
        "contäcts:read",
    ],
)
def test_what_is_not_of_the_grammar_is_no_permission(text: str) -> None:
    assert not is_permission(text)
    with pytest.raises(ValueError, match="not a permission"):
        parse(text)


def test_the_catalogue_is_whatomates() -> None:
    assert len(CATALOGUE) == 30
    assert len(ALL) == 81
    assert all(is_permission(one) for one in ALL)
    assert set(CATALOGUE["templates"]) == {"read", "write", "delete", "sync"}
    assert set(CATALOGUE["contacts"]) == {"read", "write", "delete", "import", "export"}
    assert all(len(text) <= 200 for actions in CATALOGUE.values() for text in actions.values())


def test_the_system_roles_grant_what_whatomates_do() -> None:
    assert [role.name for role in ROLES.values() if role.is_default] == ["agent"]
    assert ROLES["admin"].permissions == ALL
    manager = ROLES["manager"].permissions
    assert {one.split(":")[0] for one in ALL} - {one.split(":")[0] for one in manager} == {
        "users",
        "roles",
        "settings.sso",
        "api_keys",
        "audit_logs",
    }
    assert len(manager) == 62
    for resource in ("teams", "analytics", "organizations"):
        assert {one for one in manager if one.startswith(f"{resource}:")} == {f"{resource}:read"}
    assert "campaigns:execute" in manager
    assert len(ROLES["agent"].permissions) == 14
    assert "accounts:read" in ROLES["agent"].permissions
    assert ROLES["agent"].permissions < manager
