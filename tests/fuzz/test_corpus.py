"""Every input of the corpus, replayed: what a campaign found once stays found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.replay import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize(
    "path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_the_corpus_leaves_nothing_behind(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
