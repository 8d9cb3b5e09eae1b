"""Maker of the headers that an upstream would be sent for a request in somebody's name, without a gateway that serves.

Law: the header policy and the signer are built from the settings as ``serve`` builds them. So the headers are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from authcore.identity_headers import SIGNED, withheld
from gateway.assembly.signing import build_signer
from gateway.proxy.headers import HeaderPolicy
from gateway.proxy.target import canonical_path
from gateway.wire.messages import ProtocolError

if TYPE_CHECKING:
    from authcore.principal import Principal
    from config.settings import Settings

_LEFT: str = "/%!$&'()*+,;=:@-._~"


def target_of(text: str) -> str:
    """Return a path and query as they are sent; characters that no path may hold are escaped.

    Raises:
        ValueError: the gateway would refuse it; the text says why.
    """
    path, mark, query = text.partition("?")
    if not path.startswith("/"):
        raise ValueError("a path begins with /")
    sent = quote(path, safe=_LEFT)
    try:
        canonical_path(sent.encode("ascii"))
    except ProtocolError as error:
        raise ValueError(str(error)) from None
    return f"{sent}{mark}{quote(query, safe=_LEFT + '?')}"


def made_headers(  # noqa: PLR0913 -- what is signed
    settings: Settings,
    principal: Principal,
    *,
    method: str,
    target: str,
    audience: str,
    request_id: str,
    now: float,
) -> list[tuple[str, str]]:
    """Return the header lines of a request to `target`, as :func:`target_of` returns it.

    The signed identity is among them if the settings sign.

    Raises:
        ConfigError: the key cannot sign.
        UnsafeIdentity: a value holds a byte that no header may hold.
    """
    names = settings.header.names()
    left_out = withheld(settings.upstream.identity)
    block = HeaderPolicy(names).identity(principal, left_out).decode("utf-8")
    lines = [
        (name, value) for name, _, value in (line.partition(": ") for line in block.split("\r\n")) if name
    ]
    signer = build_signer(settings)
    if signer is not None and SIGNED not in left_out:
        path = canonical_path(target.partition("?")[0].encode("ascii"))
        token = signer.sign(principal, audience, method.encode(), path, request_id.encode(), now)
        lines.append((names[SIGNED], token.decode("ascii")))
    return [*lines, ("X-Request-ID", request_id)]
