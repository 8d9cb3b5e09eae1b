"""Characters in a request that a terminal would obey when somebody reads the log: colours, moves, turned text."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logs.text import escaped
from tests.support.calls import ask, get
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from tests.support.worlds import Start


OBEYED = "\x7f\x80\x85\x9b31m\xad\u061c\u200b\u200e\u2028\u202e\u2066\ufeff\U000e0041"


@pytest.mark.parametrize("form", ["json", "text"])
async def test_no_control_character_of_a_request_is_in_its_record(
    start: Start, capfdbinary: pytest.CaptureFixture[bytes], form: str
) -> None:
    gate = await start(log={"access": True, "format": form, "query": "values"})
    path = OBEYED.replace("\x7f", "")  # refused in a path, and no record has it
    await ask(gate, get(f"/x/{quote('é' + path)}?{quote(OBEYED)}={quote(OBEYED)}"))
    await gate.stop()
    (line,) = [line for line in capfdbinary.readouterr().out.splitlines() if b"/x/" in line]
    assert line.decode().isprintable()
    assert "é" in line.decode(), "what prints is left as it is"
    if form == "json":
        assert json.loads(line)["path"] == f"/x/é{path}"


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_control_character_of_an_event_is_in_its_line(form: str) -> None:
    program = (
        "import structlog; from gateway.logs import configure; "
        f"configure('info', {form!r}); structlog.get_logger().warning('tried', of={OBEYED!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True)
    line = done.stdout.decode().removesuffix("\n")
    assert "tried" in line
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["of"] == OBEYED


@given(st.dictionaries(st.text(), st.text()))
def test_what_is_escaped_says_the_same(record: dict[str, str]) -> None:
    line = escaped(orjson.dumps(record))
    assert line.decode().isprintable()
    assert json.loads(line) == record
