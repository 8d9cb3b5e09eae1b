"""Question: one request as far as it is decided on, and what its phases have learnt.

The pipeline's exchanges are questions, and so are the requests that other proxies describe or that an operator asks
about: whoever decides (:mod:`gateway.proxy.decide`) sees no more of a request than this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authcore.credentials import CookieToken
    from authcore.principal import Permit, Principal
    from gateway.proxy.reading import Reading
    from gateway.proxy.routes import Route
    from gateway.proxy.target import Target
    from gateway.wire.messages import RequestHead


class Question:
    """May this request pass? A field is None until its phase has run.

    Attributes:
        head: The request's head: of one that another proxy describes, the head it describes.
        own_id: The gateway's id of it, 32 hexadecimal digits.
        request_id: Its id for people: a trusted peer's, else the same.
        reading: What its field lines say.
        target: Its canonical path and the bytes to forward.
        route: What matched.
        credential: The kind of credential that counted; empty where none was looked for.
        cookie: The cookie that counted, where there were several; None where there was no question.
        decision: For another proxy, the endpoint it asked; empty for what is forwarded, or explained.
        principal: Who is proven to be asking, where a credential was looked for.
        permit: The proof that the caller may.
        shadowed: Why they would have been refused, were the route's rule not only being tried.
    """

    __slots__ = (
        "cookie",
        "credential",
        "decision",
        "head",
        "own_id",
        "permit",
        "principal",
        "reading",
        "request_id",
        "route",
        "shadowed",
        "target",
    )

    def __init__(self, head: RequestHead, request_id: bytes) -> None:
        self.head = head
        self.own_id = self.request_id = request_id
        self.reading: Reading | None = None
        self.target: Target | None = None
        self.route: Route | None = None
        self.principal: Principal | None = None
        self.permit: Permit | None = None
        self.credential = self.decision = ""
        self.cookie: CookieToken | None = None
        self.shadowed: Exception | None = None
