"""WSGI middleware: Flask, Django, Bottle, Pyramid.

::

    app.wsgi_app = IdentityMiddleware(app.wsgi_app, Verifier(KeySet(URL), audience="billing"))     # Flask

Law: an application is called only with an identity in its environ, and that is None only on the paths that were named
for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whatomate_identity.guard import Guard
from whatomate_identity.identity import KEY
from whatomate_identity.refusals import REFUSALS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from whatomate_identity.identity import Identity
    from whatomate_identity.verifier import Verifier

    Environ = dict[str, Any]
    Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_PREFIX = "HTTP_"


class IdentityMiddleware:
    """Middleware that serves what the gateway has signed, and answers everything else itself."""

    def __init__(self, app: Application, verifier: Verifier, *, optional: Collection[str] = ()) -> None:
        """Guard `app`.

        Args:
            app: The application.
            verifier: The verifier of its requests.
            optional: Exact paths, decoded, that are served without a signed identity as well; ``*`` names all. Their
                identity is then None.
        """
        self._app = app
        self._guard = Guard(verifier, optional)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        # PEP 3333: text in an environ is the bytes of the wire, decoded as Latin-1; the path's escapes are decoded.
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1")
        headers = [
            (name.removeprefix(_PREFIX).replace("_", "-").encode("latin-1"), value.encode("latin-1"))
            for name, value in environ.items()
            if name.startswith(_PREFIX)
        ]
        identity: Identity | None = None
        if self._guard.demands(headers, path):
            try:
                identity = self._guard.verifier.verify(environ["REQUEST_METHOD"], path, headers)
            except REFUSALS as error:
                answer = Answer(error)
                start_response(answer.phrase, answer.headers)
                # Not every server leaves the body of an answer to HEAD out; the next answer would begin with it.
                return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
        others = {name: value for name, value in environ.items() if not name.startswith(_PREFIX)}
        lines = {
            _PREFIX + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
            for name, value in self._guard.given(headers, identity)
        }
        environ.clear()  # in place: servers and frameworks keep a reference to it
        environ.update({**others, **lines, KEY: identity})
        return self._app(environ, start_response)


def identity_of(request: Any) -> Identity | None:
    """Return the identity of a request of a framework's (Flask, Django), or of an environ."""
    environ = getattr(request, "environ", None) or getattr(request, "META", request)
    identity: Identity | None = environ[KEY]
    return identity
