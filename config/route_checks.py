"""Cross-field checks of a route: they find values that contradict each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from authcore.identity_headers import FAMILIES
from config.checks import DEADLINE_FIELD, NOT_FOR_IDENTITY, fold, hash_problems, identity_problems
from config.fields import HOST, NO_HOST
from config.patterns import PathPattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.routes import RouteEntry
    from config.settings import Settings

Problem = tuple[tuple[str, ...], str]

MANAGED_PREFIXES: Final = (*FAMILIES, "x-forwarded-")
FORWARDED_FIELDS: Final = frozenset(
    {
        *("forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"),
        *("client-ip", "cluster-client-ip", "forwarded-for", "x-forwarded"),
        *("x-originating-ip", "x-proxyuser-ip", "x-remote-addr", "x-remote-ip"),
        *("x-original-url", "x-original-uri", "x-rewrite-url", "x-envoy-original-path"),
        *("x-http-method-override", "x-http-method", "x-method-override"),
        "proxy",
    }
)
_MAY_BE_SET: Final = frozenset({"host", "content-type"})
"""Fields that decide about a message and that a route may set all the same: in place of the client's, not beside it."""


def entry_problems(entry: RouteEntry, settings: Settings) -> Iterator[Problem]:
    """Yield every contradiction in one route: its place in the route, and the message."""
    yield from _about_permissions(entry)
    yield from _about_paths(entry)
    if entry.hash_by in ("user", "organization") and entry.auth == "public":
        yield ("hash_by",), f"`{entry.hash_by}` needs a caller, and `auth: public` looks at no credential"
    for problem in hash_problems(entry.hash_by, settings):
        yield ("hash_by",), problem
    yield from _about_headers(entry, settings)
    for problem in identity_problems(entry.identity or (), settings):
        yield ("identity",), problem


def _about_permissions(entry: RouteEntry) -> Iterator[Problem]:
    if entry.require is not None and entry.any is not None:
        yield ("any",), "`require` and `any` together; keep one of them"
    for key, asked in (("require", entry.require), ("any", entry.any)):
        if asked is not None and entry.auth != "required":
            yield (key,), f"`{key}` asks for permissions, and `auth: {entry.auth}` lets in who has none"
    if entry.cors is not None and entry.cors.credentials and "null" in entry.cors.origins:
        yield ("cors", "origins"), "null is every page that likes; not together with `credentials`"
    if entry.tickets and entry.auth == "public":
        yield ("tickets",), "`tickets` names a credential, and `auth: public` looks at none"
    if entry.tickets and entry.credential == "strip":
        yield (
            ("credential",),
            "`strip` takes a credential out of the headers, and a ticket stands in the query",
        )
    if entry.socket_auth == "message" and entry.auth == "public":
        yield ("socket_auth",), "`message` reads a credential, and `auth: public` looks at none"
    if entry.socket_auth == "message" and entry.credential == "strip":
        yield ("credential",), "`strip` takes a credential out of the headers, and a message goes on whole"
    if entry.shadow and entry.auth == "public":
        yield ("shadow",), "`shadow` forwards what is refused, and `auth: public` refuses nobody"


def _about_paths(entry: RouteEntry) -> Iterator[Problem]:
    if entry.strip_prefix is not None and entry.rewrite is not None:
        yield ("rewrite",), "`strip_prefix` and `rewrite` together; keep one of them"
    for path in (path for match in entry.match for path, _ in match.patterns):
        if path.opaque and (entry.strip_prefix or entry.rewrite):
            key = "strip_prefix" if entry.strip_prefix else "rewrite"
            yield (key,), f"{path} is forwarded as it came, which is what opaque means; leave out `{key}`"
        if entry.strip_prefix is not None:
            prefix = tuple(entry.strip_prefix.lower()[1:].split("/"))
            if path.folded[: len(prefix)] != prefix:
                yield ("strip_prefix",), f"{path} is not below {entry.strip_prefix}"
        if entry.rewrite is not None:
            to = PathPattern.parse(entry.rewrite)
            unknown = [name for name, _ in to.names if name not in dict(path.names)]
            if unknown:
                yield ("rewrite",), f"{path} has no {{{unknown[0]}}}"
            if to.below and not path.below:
                yield ("rewrite",), f"a final /* stands for what is below, and {path} has nothing below"
            if path.below and not to.below:
                yield ("rewrite",), f"{path} has paths below, all of which would become {to}; end it in /*"


def _about_headers(entry: RouteEntry, settings: Settings) -> Iterator[Problem]:
    if entry.headers is None:
        return
    identity = {fold(name) for name in settings.header.names().values()}
    for key, names in (("set", entry.headers.put), ("add", entry.headers.add)):
        taken: set[str] = set()
        for name in names:
            folded = fold(name)
            where = ("headers", key, name)
            if folded in taken:
                yield where, f"{name} is there twice, in another spelling"
            taken.add(folded)
            ours = folded in identity or folded in FORWARDED_FIELDS or folded == DEADLINE_FIELD
            if ours or folded.startswith(MANAGED_PREFIXES):
                yield where, f"{name} is a header of the gateway's own, or may be taken for one"
            elif folded in NOT_FOR_IDENTITY and not (key == "set" and name.lower() in _MAY_BE_SET):
                yield where, f"{name} decides about the message or holds a credential, and is not for a route"
            elif folded == "host" and re.search(HOST, names[name]) is None:
                yield where, f"{name} {NO_HOST}"
    both = {fold(name) for name in entry.headers.put} & {fold(name) for name in entry.headers.add}
    for name in sorted(both):
        yield ("headers", "add"), f"{name} is in `set` as well; keep it in one of them"
