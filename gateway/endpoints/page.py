"""HTML renderer of an OpenAPI document, as one page.

Laws:

- Every text is escaped, wherever it comes from.
- No script, no image, no font: the style is in the page, and the policy allows that style and nothing else.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, Any, Final

from gateway.endpoints.examples import BASE, CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6678;--line:#d9dee7;--paper:#fff;--wash:#f5f7fa;--get:#1a6fb5;
--post:#1d7f4b;--put:#a15c00;--delete:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ef;--soft:#97a3b6;--line:#323a48;--paper:#12161d;--wash:#1a202a;
--get:#6db3f2;--post:#63c98f;--put:#e5a94f;--delete:#f08a82}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2.5rem 1.25rem 5rem;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,sans-serif}
h1{margin:0;font-size:1.7rem;letter-spacing:-.02em}
h2{margin:2.5rem 0 .75rem;font-size:1.15rem}
h3{margin:1.25rem 0 .4rem;font-size:.8rem;letter-spacing:.06em;text-transform:uppercase;color:var(--soft)}
p{margin:.4rem 0}
a{color:var(--get)}
code,.path,.method{font-family:ui-monospace,"SF Mono",Menlo,Consolas,monospace;font-size:.875em}
code{padding:.1em .35em;border-radius:4px;background:var(--wash);overflow-wrap:anywhere}
.soft{color:var(--soft)}
nav{display:flex;flex-wrap:wrap;gap:.4rem 1rem;margin-top:1.25rem;
padding-bottom:1.25rem;border-bottom:1px solid var(--line)}
details{margin:.5rem 0;border:1px solid var(--line);border-radius:8px}
details[open]{background:var(--wash)}
details[open] code{background:var(--paper)}
summary{display:flex;flex-wrap:wrap;align-items:baseline;gap:.25rem .75rem;padding:.6rem .85rem;
cursor:pointer;list-style:none}
summary::-webkit-details-marker{display:none}
summary:focus-visible{outline:2px solid var(--get);outline-offset:2px;border-radius:8px}
.method{flex:0 0 4.2rem;font-weight:700;text-transform:uppercase}
.get{color:var(--get)}.post{color:var(--post)}.put{color:var(--put)}.delete{color:var(--delete)}
.path{font-weight:600;overflow-wrap:anywhere}
.what{flex:1 1 14rem;color:var(--soft)}
.inside{padding:.2rem .85rem 1rem;border-top:1px solid var(--line)}
.scroll{overflow-x:auto}
pre{overflow-x:auto;padding:.6rem .75rem;border:1px solid var(--line);border-radius:6px;background:var(--paper)}
pre code{padding:0;background:none;white-space:pre}
table{width:100%;border-collapse:collapse;font-size:.92rem}
td{padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td:first-child{width:1%;white-space:nowrap}
"""

_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode("ascii")
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_SCHEMES: Final = {"token": "an access token", "apiKey": "an API key", "cookie": "a session cookie"}
_CREDENTIALS: Final = "Credentials"


def render(document: Mapping[str, Any]) -> str:
    """Return the page."""
    about, schemas = document["info"], document["components"]["schemas"]
    tags = [tag["name"] for tag in document["tags"]]
    links = "".join(
        f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in [_CREDENTIALS, *tags, "Models"]
    )
    sections = "".join(
        f'<section id="{_anchor(tag)}"><h2>{escape(tag)}</h2>{"".join(_operations(document, tag))}</section>'
        for tag in tags
    )
    models = "".join(_model(name, schema) for name, schema in sorted(schemas.items()))
    credentials = _credentials(document["components"]["securitySchemes"])
    title = escape(about["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>"
        f'<header><h1>{title} <span class="soft">{escape(about["version"])}</span></h1>'
        f'<p>{_text(about["description"])}</p><p><a href="openapi.json">openapi.json</a></p><nav>{links}</nav></header>'
        f'<main>{credentials}{sections}<section id="{_anchor("Models")}"><h2>Models</h2>{models}'
        "</section></main></body></html>"
    )


def _credentials(schemes: Mapping[str, Any]) -> str:
    """Return the section on how a credential is sent."""
    rows = (
        (escape(_SCHEMES[name]), f"<code>{escape(CREDENTIALS[name])}</code>", _text(scheme["description"]))
        for name, scheme in schemes.items()
    )
    return (
        f'<section id="{_anchor(_CREDENTIALS)}"><h2>{_CREDENTIALS}</h2><p>In the lines of curl below, '
        f"<code>{BASE}</code> is this gateway's URL, <code>$TOKEN</code> an access token and <code>$KEY</code> an API "
        f"key.</p>{_table(rows)}</section>"
    )


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield _operation(method, path, operation, document["components"]["schemas"])


def _operation(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    ways = [_SCHEMES[scheme] for way in operation["security"] for scheme in way]
    inside = [f"<p>{_text(operation['description'])}</p>"] if "description" in operation else []
    inside.append(f'<p class="soft">{"With " + " or ".join(ways) if ways else "Without a credential"}.</p>')
    if "parameters" in operation:
        rows = (
            (
                f"<code>{escape(one['name'])}</code>",
                escape(one["in"]),
                _type(one["schema"]),
                _text(one.get("description", "")),
            )
            for one in operation["parameters"]
        )
        inside.append("<h3>Parameters</h3>" + _table(rows))
    if "requestBody" in operation:
        optional = "" if operation["requestBody"]["required"] else " (may be absent)"
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        sent = schemas[schema["$ref"].rpartition("/")[2]]
        inside.append(f"<h3>Sent{optional}</h3><p>{_type(schema)}</p>{_fields(sent)}")
    inside += [
        f"<h3>{escape(sample['label'])}</h3><pre><code>{escape(sample['source'])}</code></pre>"
        for sample in operation["x-codeSamples"]
    ]
    inside.append("<h3>Answers</h3>" + _table(_answers(operation["responses"])))
    return (
        f'<details id="{escape(operation["operationId"])}"><summary>'
        f'<span class="method {escape(method)}">{escape(method)}</span><span class="path">{escape(path)}</span>'
        f'<span class="what">{_text(operation["summary"])}</span></summary>'
        f'<div class="inside">{"".join(inside)}</div></details>'
    )


def _answers(responses: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for status, response in responses.items():
        ((media, content),) = response["content"].items()
        if "examples" in content:
            answer = "<br>".join(_text(example["summary"]) for example in content["examples"].values())
        else:
            schema = content["schema"]
            within = schema if "$ref" in schema else schema.get("properties", {}).get("data")
            answer = _type(within) if within else f"<code>{escape(media)}</code>"
        named = ", ".join(response.get("headers", {}))
        yield f"<code>{escape(status)}</code>", answer, f'<span class="soft">{escape(named)}</span>'


def _model(name: str, schema: Mapping[str, Any]) -> str:
    return (
        f'<details id="model-{escape(name)}"><summary><span class="path">{escape(name)}</span>'
        f'<span class="what">{_text(schema.get("description", ""))}</span></summary>'
        f'<div class="inside">{_fields(schema)}</div></details>'
    )


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    return _table(
        (
            f"<code>{escape(field)}</code>",
            _type(member),
            ("" if field in required else '<span class="soft">may be absent</span> ')
            + _text(member.get("description", "")),
        )
        for field, member in schema.get("properties", {}).items()
    )


def _type(schema: Mapping[str, Any]) -> str:
    """Return a short description of a value's type."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#model-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    kind = escape(str(schema.get("format") or schema.get("type", "anything")))
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minLength", "at least"), ("maxLength", "at most"))
        if key in schema and schema[key] != 1
    ]
    return kind + (f' <span class="soft">({escape(", ".join(bounds))})</span>' if bounds else "")


def _table(rows: Any) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>{lines}</table></div>'


def _text(text: str) -> str:
    """Escape a text; parts in backticks become code."""
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _anchor(name: str) -> str:
    return escape(name.lower().replace(" ", "-"))
