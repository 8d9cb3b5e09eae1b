"""Reasons for refusals, found in the code: in trees of errors, in tables of answers, and where a word is written."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import authcore.errors
import gateway.limits
import gateway.proxy
from authcore.errors import AuthError, Reason
from gateway.faults import INTERNAL, GatewayFault, describe
from gateway.proxy.pipeline import CLIENT_CLOSED
from gateway.proxy.refusals import refuse
from gateway.proxy.streams import StreamEnded
from gateway.wire.drive import Abandoned
from gateway.wire.faults import DescriptorsExhausted, UpstreamFault, UpstreamTlsFailed
from gateway.wire.inbound import ClientGone
from gateway.wire.listener import TOO_MANY_OF_NETWORK
from gateway.wire.messages import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

E = TypeVar("E", bound=Exception)

ROOT: Final = Path(__file__).parents[2]
_WRITTEN_IN: Final = ("faults.py", "limits", "proxy", "endpoints", "wire")
"""Rooms of gateway/ in which an answer gets its reason."""
_PLACES: Final = {"Fault": 2, "Unreadable": 1, "StreamEnded": 1, "close": 2, "_end": 2}
"""Calls that are given a reason -> the place of the argument."""
UNMAPPED: Final = "malformed_request"
"""The reason for every status of a protocol error that has none of its own."""


def family(root: type[E]) -> Iterator[type[E]]:
    """Yield a class, and all classes that are derived from it."""
    yield root
    yield from tree(root)


def tree(root: type[E]) -> Iterator[type[E]]:
    """Yield all classes that are derived from `root`."""
    for kind in root.__subclasses__():
        yield kind
        yield from tree(kind)


def _load_all() -> None:
    """Import every module that may define an error."""
    for package in (gateway.proxy, gateway.limits, authcore.errors):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def answered() -> Iterator[tuple[str, int]]:
    """Yield each reason with a status that it is answered with, by the tables."""
    _load_all()
    for refusal in tree(AuthError):
        if refusal.__module__.startswith("authcore."):
            yield refusal.reason, describe(refusal()).status
    for fault in family(GatewayFault):
        if fault.__module__.startswith("gateway.") and fault is not StreamEnded:
            yield fault.reason, fault.status
    for kind in family(UpstreamFault):
        is_tls = issubclass(kind, UpstreamTlsFailed)
        row = refuse(UpstreamTlsFailed("", "") if is_tls else kind())
        yield row.reason, row.status
    for error in (DescriptorsExhausted(), Abandoned(), ProtocolError(503, TOO_MANY_OF_NETWORK)):
        yield refuse(error).reason, refuse(error).status
    for status in range(400, 600):
        row = refuse(ProtocolError(status, ""))
        if row.reason != UNMAPPED:
            yield row.reason, status
    for gone in family(ClientGone):
        yield gone.reason, CLIENT_CLOSED
    yield INTERNAL.reason, INTERNAL.status


def written() -> Iterator[str]:
    """Yield the reasons that are written as words in the code, without a class or a table."""
    for room in _WRITTEN_IN:
        place = ROOT / "gateway" / room
        for path in [place] if place.is_file() else sorted(place.glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield from _of(node)


def _of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = _PLACES.get(name)
        if place is not None and len(node.args) > place:
            yield from _words(node.args[place])
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for one, value in zip(names, values, strict=False):
                if getattr(one, "attr", getattr(one, "id", "")) == "reason":
                    yield from _words(value)


def _words(value: ast.AST) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _words(value.body)
        yield from _words(value.orelse)


def all_reasons() -> dict[str, set[int]]:
    """Every reason there is -> the statuses that the tables give it; none for one that has no answer, or several."""
    found: dict[str, set[int]] = {word: set() for word in (*Reason, *written(), UNMAPPED)}
    for reason, status in answered():
        found.setdefault(str(reason), set()).add(status)
    return found
