"""Types of a route file's values: the form that each must have, and the message if it has another."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from authcore.identity_headers import ALL, BY_KEY, NONE, withheld
from config.entries import Some, one_or_many
from config.fields import UpstreamUrl, shaped, upstream_url_pattern
from config.patterns import PathPattern

_HOST: Final = re.compile(
    r"(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]+|\[[0-9A-Fa-f:.]+\]"
)
_VALUE: Final = re.compile(r"[\x20-\x7e\xa1-\U0010ffff]*")


def _path(text: str) -> str:
    PathPattern.parse(text)
    return text


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        raise ValueError(
            "should be a host without scheme and port, or *. and a host for any one label before it"
        )
    return text.lower()


def _header_value(text: str) -> str:
    if _VALUE.fullmatch(text) is None or text != text.strip():
        raise ValueError("should hold no control character, and no space at either end")
    return text


def _prefix(text: str) -> str:
    pattern = PathPattern.parse(text)
    if pattern.below or pattern.names or pattern.segments[-1] == "":
        raise ValueError("should be plain segments, such as /billing")
    return text


def _guarded(text: str) -> str:
    pattern = PathPattern.parse(text)
    if pattern.below or pattern.segments[-1] == "":
        raise ValueError(
            "should be a path such as /billing/admin, without a / or /* at its end: what is below is meant anyway"
        )
    if pattern.opaque:
        raise ValueError(
            "should have no {name:opaque}, which is for `path` alone: a prefix has more below it"
        )
    return text


def _rewrite(text: str) -> str:
    pattern = PathPattern.parse(text)
    if not text.isascii():
        raise ValueError("should be ASCII: it is sent as it is written")
    if pattern.opaque:
        raise ValueError("should have {name} without :opaque: that is for `match`")
    return text


def _identity(words: list[str]) -> list[str]:
    withheld(words)
    return words


Permission = Annotated[
    str,
    *shaped(
        r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*:[a-z][a-z0-9_-]*$",
        "should be resource:action in small letters, such as contacts:read",
    ),
    Field(examples=["contacts:read"]),
]
FieldName = Annotated[
    str, *shaped(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$", "should be the name of a header, such as X-Team")
]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Path = Annotated[str, AfterValidator(_path), Field(json_schema_extra={"pattern": "^/"})]
Prefix = Annotated[str, AfterValidator(_guarded), Field(json_schema_extra={"pattern": "^/."})]
Host = Annotated[str, AfterValidator(_host)]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Paths = Annotated[Some[Path], BeforeValidator(one_or_many, json_schema_input_type=Path | Some[Path])]
Prefixes = Annotated[Some[Prefix], BeforeValidator(one_or_many, json_schema_input_type=Prefix | Some[Prefix])]
Hosts = Annotated[Some[Host], BeforeValidator(one_or_many, json_schema_input_type=Host | Some[Host])]
Methods = Annotated[Some[Method], BeforeValidator(one_or_many, json_schema_input_type=Method | Some[Method])]
Permissions = Annotated[
    Some[Permission], BeforeValidator(one_or_many, json_schema_input_type=Permission | Some[Permission])
]

IdentityWord = Annotated[
    str, Field(json_schema_extra={"enum": [ALL, NONE, *BY_KEY, *(f"-{key}" for key in BY_KEY)]})
]
Identity = Annotated[
    Some[IdentityWord],
    AfterValidator(_identity),
    BeforeValidator(one_or_many, json_schema_input_type=IdentityWord | Some[IdentityWord]),
]

Url = Annotated[UpstreamUrl, Field(json_schema_extra={"pattern": upstream_url_pattern()})]
Urls = Annotated[Some[Url], BeforeValidator(one_or_many, json_schema_input_type=Url | Some[Url])]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
PlainPrefix = Annotated[str, AfterValidator(_prefix)]
RewritePath = Annotated[str, AfterValidator(_rewrite)]
