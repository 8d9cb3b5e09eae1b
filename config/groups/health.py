"""Settings of an upstream's health: active checks, ejection of endpoints that fail, panic and slow start."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, create_model
from pydantic_settings import NoDecode

from config.entries import Entry
from config.fields import HOST, NO_HOST, Group, shaped, split

_OF_ONE_SERVICE: Final = frozenset({"path", "host", "body"})
"""What an upstream of a route file does not take over from the settings, which are of another service."""
_STATUSES: Final = r"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"


def _listed(value: Any) -> Any:
    """Take a single status for a list of one, and numbers for their text; split an operator's text."""
    if isinstance(value, str):
        return split(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return (str(value),)
    if isinstance(value, list | tuple):
        return tuple(str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in value)
    return value


def statuses(words: tuple[str, ...]) -> frozenset[int]:
    """Return the statuses that words such as 204 or 200-299 name."""
    ends = [tuple(map(int, word.split("-"))) for word in words]
    return frozenset(status for end in ends for status in range(end[0], end[-1] + 1))


def _rising(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        first, _, last = word.partition("-")
        if last and last < first:
            raise ValueError(f"{word} ends before it begins; write the smaller status first")
    return words


def _final(words: tuple[str, ...]) -> tuple[str, ...]:
    if min(statuses(words), default=0) < 200:  # noqa: PLR2004 -- RFC 9110 section 15
        raise ValueError("should be statuses of final answers, 200 to 599, at least one")
    return words


def _of_servers(words: tuple[str, ...]) -> tuple[str, ...]:
    if min(statuses(words), default=500) < 500:  # noqa: PLR2004 -- RFC 9110 section 15
        raise ValueError(
            "should be statuses from 500 to 599: with others, callers who make mistakes would eject endpoints"
        )
    return words


_Status = Annotated[
    str, *shaped(_STATUSES, "should be a status such as 204, or a range such as 200-299, from 100 to 599")
]
_InFile = int | _Status | list[int | _Status]
_Statuses = Annotated[
    tuple[_Status, ...],
    NoDecode,
    AfterValidator(_rising),
    BeforeValidator(_listed, json_schema_input_type=_InFile),
]
CheckPath = Annotated[
    str,
    *shaped(
        r"^/[!-\"$-~]{0,999}$",
        "should be a path such as /ready, perhaps with a query, in ASCII and percent-encoded",
    ),
]
CheckHost = Annotated[str, *shaped(HOST, NO_HOST)]
_Seconds = Annotated[float, Field(ge=0.05, le=3600, allow_inf_nan=False)]
_Streak = Annotated[int, Field(ge=1, le=100)]


class HealthEntry(Entry):
    """Active checks: a GET to each endpoint, on a connection of its own and in no caller's name."""

    path: CheckPath = Field(description="Path of the check, such as /ready; with its query, if it has one.")
    host: CheckHost | None = Field(None, description="Host of the check; that of the URL by default.")
    statuses: Annotated[_Statuses, AfterValidator(_final)] = Field(
        ("200-299",), description="Statuses that pass: each one, such as 204, or a range, such as 200-299."
    )
    body: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="Text that the answer's body has to hold, in its first 64 KiB; any body passes by default.",
    )
    interval_seconds: _Seconds = Field(5, description="From one check of an endpoint to the next.")
    jitter_percent: int = Field(
        20, ge=0, le=100, description="An interval is longer or shorter by up to this, by chance."
    )
    timeout_seconds: _Seconds = Field(2, description="For a whole check, connecting included.")
    rise: _Streak = Field(2, description="Checks in a row that have to pass until an endpoint is used again.")
    fall: _Streak = Field(
        3,
        description="Checks in a row that have to fail until an endpoint is not used. The first one decides alone.",
    )


class EjectionEntry(Entry):
    """Passive checks: an endpoint that fails callers in a row is not used for a time."""

    failures: int = Field(
        5,
        ge=0,
        le=10_000,
        description="Answers in a row that were missing, reset, late or of one of the statuses eject an endpoint. "
        "0: none do.",
    )
    connect_failures: int = Field(
        1,
        ge=0,
        le=10_000,
        description="Connections in a row that could not be opened eject it, until one is opened or the time is up. "
        "0: none do.",
    )
    statuses: Annotated[_Statuses, AfterValidator(_of_servers)] = Field(
        ("502", "503", "504"), description="Statuses of answers that count as failures, from 500 to 599."
    )
    base_seconds: _Seconds = Field(
        1, description="Length of the first ejection; each further one is twice as long."
    )
    max_seconds: _Seconds = Field(60, description="Length of the longest ejection.")
    max_percent: int = Field(
        67,
        ge=1,
        le=100,
        description="So many of the endpoints are ejected at once at most, rounded down, and never the last one.",
    )


class HealthKeys(BaseModel):
    """Keys of an upstream in a route file that say how its endpoints are watched."""

    health: HealthEntry | None = Field(
        None,
        description="Active checks; none by default, but for `upstream`, as GATEWAY_UPSTREAM_HEALTH_* say. What is "
        "left out here is as there, host and body excepted.",
    )
    ejection: EjectionEntry | None = Field(
        None,
        description="When endpoints that fail are not used for a time. What is left out is as in "
        "GATEWAY_UPSTREAM_EJECTION_*.",
    )
    panic_percent: int | None = Field(
        None,
        ge=0,
        le=100,
        description="When fewer of the endpoints are left, or none, all are used.",
    )
    slow_start_seconds: float | None = Field(
        None,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="For so long the share of an endpoint that is back, or is new, grows.",
    )


def _prefixed(prefix: str, entry: type[BaseModel]) -> dict[str, Any]:
    return {f"{prefix}_{name}": (of.annotation, of) for name, of in entry.model_fields.items()}


_Terms = create_model(
    "_Terms",
    __base__=Group,
    **{
        **_prefixed("health", HealthEntry),
        "health_path": (
            CheckPath | None,
            Field(
                None,
                description="Path of active checks, such as /ready; none by default, and then nothing is checked. For "
                "GATEWAY_UPSTREAM_URL alone, with the host and the body; the rest of GATEWAY_UPSTREAM_HEALTH_* is the "
                "default of a route file's `health`.",
            ),
        ),
        **_prefixed("ejection", EjectionEntry),
    },
)


class Health(_Terms):
    """Terms of an upstream's health."""

    panic_percent: int = Field(
        30,
        ge=0,
        le=100,
        description="When fewer of the endpoints are left, or none, all are used: checks may be wrong, and the few "
        "that are left would break. 0: only when none is left.",
    )
    slow_start_seconds: float = Field(
        0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="For so long the share of requests of an endpoint that is back, or is new, grows to what it should "
        "be. 0: it has all of it at once.",
    )

    def checks(self, entry: HealthEntry | None, *, ours: bool) -> HealthEntry | None:
        """Return the active checks of an upstream with this entry in a route file; None if there are none.

        `ours` is true of the service at GATEWAY_UPSTREAM_URL, which is checked by the settings without an entry.
        """
        written = self._written("health")
        if entry is None:
            return HealthEntry(**written) if ours and "path" in written else None
        default = {name: value for name, value in written.items() if name not in _OF_ONE_SERVICE}
        return HealthEntry(**default | entry.model_dump(include=entry.model_fields_set))

    def ejections(self, entry: EjectionEntry | None) -> EjectionEntry:
        """Return the terms of ejection of an upstream with this entry in a route file."""
        own = {} if entry is None else entry.model_dump(include=entry.model_fields_set)
        return EjectionEntry(**self._written("ejection") | own)

    def _written(self, group: str) -> dict[str, Any]:
        """Return the values of ``health_*`` or ``ejection_*`` that there are, by their names in a route file."""
        begin = f"{group}_"
        return {
            name.removeprefix(begin): value
            for name, value in self
            if name.startswith(begin) and value is not None
        }
