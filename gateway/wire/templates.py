"""Head templates: a head that differs from an earlier one in the values of some fields alone is split without llhttp.

Most heads of one program have the same shape: the same names in the same order and spelling, and the same values but
for a few, such as Date, ETag, Content-Length or Authorization. A template holds the bytes of such heads between the
values that vary. It is learnt from heads that llhttp parsed and that passed every check. A further head that has those
bytes, with a plain value in each gap, is a head of the same shape. It is parsed to what the parser would make of it,
and what follows from the shape alone is in ``notes``, where readers put it.

Laws:

- A head that a template takes is parsed to what the full parser makes of it. Any other head goes to the full parser.
- A value that varies is visible ASCII and spaces, with no space at either end: it ends no line and begins none.
- Fields that frame a message, concern its connection or name its host never vary, nor does Vary of a response.
  Content-Length of a response is an exception: it may vary as a positive number in its canonical form.
- Fields of one caller (``_OF_ONE_CALLER``) always vary, so that no template holds a credential.
- Number and size of templates are bounded. A head of a new shape takes the place of the template with its key that took
  the fewest heads lately, so a peer that invents shapes takes no busy shape's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.wire.messages import BodyKind, ResponseHead

if TYPE_CHECKING:
    from gateway.wire.messages import FieldLine, Fields, RequestHead

LONGEST: Final = 4096
"""The longest head that is learnt from, in bytes, without its request line."""
_EACH: Final = 8
"""Most templates with the same key."""
_TAKES: Final = 1024
"""Heads that the templates of a set take until all counts of them are halved."""
_LATELY: Final = 4
"""Most templates that are tried before a key is made."""
_KEYS: Final = 64
"""Most keys. All templates are forgotten when there are more."""

_FIXED: Final = frozenset(
    {
        *(b"connection", b"expect", b"host", b"http2-settings", b"keep-alive", b"proxy-authenticate"),
        *(b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Fields whose values decide how a message is framed, what becomes of its connection, or whom it is for."""
FIXED_IN_REQUESTS: Final = _FIXED | {b"content-length"}
FIXED_IN_RESPONSES: Final = _FIXED | {b"vary"}
"""Vary is read as well: what the client is sent follows from its members."""

_LENGTH: Final = b"content-length"
_OF_ONE_CALLER: Final = frozenset({b"authorization", b"cookie", b"set-cookie", b"x-api-key"})

_PLAIN: Final = bytes(byte if byte in range(0x20, 0x7F) else 0x20 for byte in range(256))
"""Translation that changes every value but those of visible ASCII and spaces."""

_SPACE: Final = 0x20

MARK: Final = b"\1"
"""Byte on either side of a gap's number in :meth:`Template.marked`; no value of a parsed head has it."""


class Template:
    """Template: the bytes of heads of one shape between the values that vary.

    Attributes:
        varying: The indexes of the lines whose values vary, in order.
        uses: Heads that it took; halved whenever all of a set's have taken ``_TAKES`` more.
        like: The start line and the framing of the shape, if it is a response's; else None.
        notes: What one reader derived from the shape; None before it did.
    """

    __slots__ = (
        "_after",
        "_before",
        "_fields",
        "_first",
        "_lengths",
        "_names",
        "like",
        "notes",
        "uses",
        "varying",
    )

    def __init__(self, block: bytes, at: int, head: Fields, varying: list[int]) -> None:
        """Learn from a head.

        Args:
            block: Its bytes.
            at: The index in `block` of the line end before the first field line.
            head: The head as parsed; none of its fields occurs twice.
            varying: The indexes of the lines whose values vary, in order.
        """
        self.varying = varying
        self.uses = 0
        self.notes: object = None
        self.like = head.without_fields() if isinstance(head, ResponseHead) else None
        self._names = [head.fields[index][0].lower() for index in varying]
        self._fields = head.fields.copy()
        self._first = head.first.copy()
        for index, lower in zip(varying, self._names, strict=True):
            self._fields[index] = (head.fields[index][0], b"")
            if lower in self._first:
                self._first[lower] = b""
        pieces: list[bytes] = []
        self._lengths: list[int] = []
        begin = 0
        for index, (name, value) in enumerate(head.fields):
            at += 2 + len(name) + 2
            if index in varying:
                pieces.append(block[begin:at])
                self._lengths.append(max(len(value), 1))
                begin = at + len(value)
            at += len(value)
        pieces.append(block[begin:])
        self._before = pieces[0]
        self._after = pieces[1:]

    def split(self, raw: bytes, at: int, values: list[bytes]) -> int:
        """Append to `values` those of a head of this shape that begins at `at`; return its end, or -1 if it is none."""
        # Slices are compared: startswith(…, begin) parses its arguments, which takes longer. And so does a search: most
        # values have the length that the last one had. A plain value has no CR, so either finds its end or refuses.
        begin, at = at, at + len(self._before)
        if raw[begin:at] != self._before:
            return -1
        lengths = self._lengths
        for number, after in enumerate(self._after):
            end = at + lengths[number]
            if raw[end : end + len(after)] != after:
                end = raw.find(b"\r", at)
                if end <= at or raw[end : end + len(after)] != after:
                    return -1
                lengths[number] = end - at
            value = raw[at:end]
            if value.translate(_PLAIN) != value or value[0] == _SPACE or value[-1] == _SPACE:
                return -1
            values.append(value)
            at = end + len(after)
        return at

    def fill(self, head: Fields, values: list[bytes]) -> None:
        """Fill a head of this shape with its lines, as the parser does."""
        head.template = self
        head.values = values
        if not values:
            head.fields, head.first = self._fields, self._first
            return
        fields, first, names = self._fields.copy(), self._first.copy(), self._names
        for number, index in enumerate(self.varying):
            value, lower = values[number], names[number]
            fields[index] = (fields[index][0], value)
            if lower in first:  # only some names of a response are indexed
                first[lower] = value
        head.fields, head.first = fields, first

    def marked(self) -> list[FieldLine]:
        """Return the lines of the shape, with the number of each gap between two marks in place of its value."""
        lines = self._fields.copy()
        for number, index in enumerate(self.varying):
            lines[index] = (lines[index][0], b"%b%d%b" % (MARK, number, MARK))
        return lines

    def widened(
        self, block: bytes, at: int, head: RequestHead | ResponseHead, fixed: frozenset[bytes]
    ) -> Template | None:
        """Return a template for this shape and for `head`, this one if it does; None if `head` has another shape."""
        fields, like = self._fields, self.like
        if len(fields) != len(head.fields) or (like is not None and not _are_framed_alike(like, head)):
            return None
        varying: list[int] = []
        for index, (name, value) in enumerate(head.fields):
            known, before = fields[index]
            if name != known:
                return None
            if index in self.varying:
                varying.append(index)
            elif value != before:
                lower = name.lower()
                if lower in fixed or (lower == _LENGTH and head.kind is not BodyKind.LENGTH):
                    return None
                varying.append(index)
        return self if varying == self.varying else Template(block, at, head, varying)


def _are_framed_alike(like: ResponseHead, head: Fields) -> bool:
    """Return whether two responses have the same status line, and bodies of the same kind."""
    return (
        isinstance(head, ResponseHead)
        and (like.status, like.phrase, like.minor) == (head.status, head.phrase, head.minor)
        and like.kind is head.kind
    )


def _uses(template: Template) -> int:
    return template.uses


class Templates:
    """Templates of one listener's requests, or of one upstream's responses: bounded."""

    __slots__ = ("_fixed", "_known", "_lately", "_takes")

    def __init__(self, fixed: frozenset[bytes]) -> None:
        """`fixed` are the lower-case names of the fields that never vary."""
        self._fixed = fixed
        self._known: dict[bytes, list[Template]] = {}
        self._lately: list[Template] = []
        self._takes = 0

    def __len__(self) -> int:
        """Return the number of templates."""
        return sum(map(len, self._known.values()))

    def lately(self, raw: bytes, at: int, end: int, values: list[bytes]) -> Template | None:
        """Return what :meth:`find` does if it is one of the few that took the last heads, without a key."""
        return self._among(self._lately, raw, at, end, values)

    def _count(self, template: Template) -> None:
        template.uses += 1
        self._takes += 1
        if self._takes >= _TAKES:
            self._takes = 0
            for known in self._known.values():
                for one in known:
                    one.uses //= 2

    def took(self, template: Template) -> None:
        """Let :meth:`lately` try a template that :meth:`find` has found, first."""
        if len(self._lately) >= _LATELY:
            self._lately.pop()
        self._lately.insert(0, template)

    def find(self, key: bytes, raw: bytes, at: int, end: int, values: list[bytes]) -> Template | None:
        """Return the template that takes the bytes of `raw` between `at` and `end`, all of them; None if none does.

        Args:
            key: What is looked for among; equal for all heads of a shape.
            raw: Received bytes.
            at: The index at which blocks begin that are learnt from.
            end: The end of the head.
            values: Gets the values that vary.
        """
        known = self._known.get(key)
        return None if known is None else self._among(known, raw, at, end, values)

    def _among(
        self, some: list[Template], raw: bytes, at: int, end: int, values: list[bytes]
    ) -> Template | None:
        """Return the template of `some` that takes the head, and move it up by one place."""
        for place, template in enumerate(some):
            if template.split(raw, at, values) == end:
                self._count(template)
                if place:
                    some[place], some[place - 1] = some[place - 1], template
                return template
            values.clear()
        return None

    def learn(self, key: bytes, block: bytes, at: int, head: RequestHead | ResponseHead) -> None:
        """Learn from a head that was parsed and passed every check; see :class:`Template` for the arguments."""
        if len(block) > LONGEST or head.repeated:
            return
        lines = b"".join([b"%b: %b\r\n" % line for line in head.fields])
        if block[at:] != b"\r\n%b\r\n" % lines:  # other white space than a parser puts back
            return
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEYS:
                self._known.clear()
                self._lately.clear()
            known = self._known[key] = []
        for place, template in enumerate(known):
            wider = template.widened(block, at, head, self._fixed)
            if wider is not None:
                wider.uses = template.uses
                known[place] = wider
                self._lately = [wider if one is template else one for one in self._lately]
                return
        if len(known) >= _EACH:
            idle = min(known, key=_uses)
            known.remove(idle)
            self._lately = [one for one in self._lately if one is not idle]
        varying = [index for index, (name, _) in enumerate(head.fields) if name.lower() in _OF_ONE_CALLER]
        known.append(Template(block, at, head, varying))
