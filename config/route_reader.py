"""Reader of one text of upstreams, limits and routes: it validates each part, and collects problems by their lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from config.entries import Entry
from config.routes import RouteEntry, RouteFile
from config.text import printable

if TYPE_CHECKING:
    from config.limits import LimitEntry
    from config.route_text import RouteText, YamlPath
    from config.routes import UpstreamEntry

E = TypeVar("E", bound=Entry)

_PLAIN: Final = {
    "missing": "is missing",
    "extra_forbidden": "is no key of this place",
    "list_type": "should be a list",
    "too_short": "should have at least one entry",
    "dict_type": "should be keys with values",
    "model_type": "should be keys with values",
}


@dataclass(slots=True)
class Written:
    """Upstreams and routes of one text.

    Attributes:
        upstreams: By name; None for one with a problem.
        routes: Routes without a problem, each with its index in the text.
        limits: Limits without a problem, by name.
        hosted_limits: Names of the limits of the gateway's own endpoints; None if it names none.
    """

    upstreams: dict[str, UpstreamEntry | None] = field(default_factory=dict)
    routes: list[tuple[int, RouteEntry]] = field(default_factory=list)
    limits: dict[str, LimitEntry] = field(default_factory=dict)
    hosted_limits: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RouteReader:
    """Validator of one text, which collects the problems."""

    text: RouteText
    source: str
    problems: list[tuple[str, int, str]]

    def written(self) -> Written:
        """Return the usable upstreams and routes of the text.

        Each part is validated by itself, so that a mistake in one hides none in another; the frame around them comes
        last.
        """
        self.problems.extend((self.source, line, problem) for line, problem in self.text.problems)
        written, frame = Written(), self.text.value
        if frame is None:
            return written
        if isinstance(frame, dict):
            frame = dict(frame)
            if isinstance(upstreams := frame.get("upstreams"), dict):
                frame["upstreams"] = {}
                for name, value in upstreams.items():
                    read = self._read(RouteFile, {"upstreams": {name: value}}, ())
                    written.upstreams[name] = None if read is None else read.upstreams[name]
            if isinstance(limits := frame.get("limits"), dict):
                frame["limits"] = {}
                for name, value in limits.items():
                    read = self._read(RouteFile, {"limits": {name: value}}, ())
                    written.limits |= {} if read is None else read.limits
            if isinstance(routes := frame.get("routes"), list):
                frame["routes"] = []
                entries = [self._read(RouteEntry, value, ("routes", n)) for n, value in enumerate(routes)]
                written.routes += [(n, entry) for n, entry in enumerate(entries) if entry is not None]
        rest = self._read(RouteFile, frame, ())
        if rest is not None and rest.hosted_limits is not None:
            written.hosted_limits = tuple(rest.hosted_limits)
        return written

    def _read(self, kind: type[E], value: object, place: YamlPath) -> E | None:
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                at = (*place, *detail["loc"])
                message = _PLAIN.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
                if at[2:4] == ("match", 0) and at[:4] not in self.text.lines:
                    # A single match, not written as a list: its place in the file has no index.
                    at = (*at[:3], *at[4:])
                self.problems.append((self.source, self.text.line(at), f"{_path_text(at)}: {message}"))
        return None


def _path_text(place: tuple[str | int, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in place)
    return text.removeprefix(".") or "the file"
