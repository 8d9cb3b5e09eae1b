"""Coverage-guided fuzzing of the parsers, for a bounded time: ``make fuzz``.

``python -m tests.fuzz.campaign requests|responses|sockets [SECONDS]`` starts from ``corpus/``, and keeps what reaches
new code in a folder of its own. An input that lets an exception out, or leaves a connection behind, is written to
``crash-*``, and the exit code is not zero. Add such an input to the corpus with the fix: ``test_corpus.py`` replays it
ever after.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway.wire"]):
    from tests.fuzz.replay import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Run one campaign."""
    name, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60
    found = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    arguments = [found, str(CORPUS / name), f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10"]
    arguments += ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix=crash-{name}-"]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
