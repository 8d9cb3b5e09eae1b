"""completion, man and --version: what they print is taken by real shells and by a real man."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from gateway.cli import main
from gateway.commands.tree import described
from gateway.version import checked_out_commit, is_compiled, written_commit
from tests.support.processes import PROCESS_SECONDS
from tests.support.programs import program

if TYPE_CHECKING:
    from tests.support.commands import Run

ROOT: Final = Path(__file__).parents[2]
START: Final = "from gateway.entry import main; main('whatomate-gateway')"


def shell(name: str, script: str, tmp_path: Path) -> list[str]:
    """Run a script of `name` in which whatomate-gateway is a command, and return its lines."""
    command = tmp_path / "bin" / "whatomate-gateway"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{START}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    done = subprocess.run(
        [program(name), "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{command.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture
def bash(run: Run, tmp_path: Path) -> Path:
    script = tmp_path / "completion.bash"
    script.write_text(run("completion", "bash").stdout, encoding="utf-8")
    return script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("us", {"users"}),
        ("users dis", {"disable"}),
        ("users list --sta", {"--state"}),
        ("users list --state di", {"disabled"}),
        ("completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_offers_commands_options_and_values(
    typed: str, offered: set[str], bash: Path, tmp_path: Path
) -> None:
    words = ["whatomate-gateway", *typed.split(" ")]
    script = (
        f"source {bash}\n"
        f"COMP_WORDS=({' '.join(one or repr(one) for one in words)}); COMP_CWORD={len(words) - 1}\n"
        "_whatomate_gateway_completion whatomate-gateway 2>/dev/null\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    assert set(filter(None, shell("bash", script, tmp_path))) == offered


def test_fish_offers_commands_and_options(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "completion.fish"
    script.write_text(run("completion", "fish").stdout, encoding="utf-8")
    offered = shell("fish", f"source {script}; complete -C 'whatomate-gateway users dis'", tmp_path)
    assert [line.split("\t")[0] for line in offered] == ["disable"]


def test_zsh_can_read_its_script_and_load_it_by_name(run: Run, tmp_path: Path) -> None:
    found = run("completion", "zsh").stdout
    assert found.splitlines()[0] == "#compdef whatomate-gateway"
    (tmp_path / "_whatomate-gateway").write_text(found, encoding="utf-8")
    assert shell("zsh", f"{program('zsh')} -n {tmp_path}/_whatomate-gateway && echo read", tmp_path) == [
        "read"
    ]


def test_the_manual_page_is_accepted_and_names_every_command_and_option(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "whatomate-gateway.1"
    page.write_text(run("man").stdout, encoding="utf-8")
    done = subprocess.run(
        [program("man"), "--warnings", "-l", str(page)],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "1000", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-rHY=0"},
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=True,
    )
    assert done.stderr == ""
    text = re.sub(r"\s+", " ", re.sub(".\b", "", done.stdout).replace("\N{HYPHEN}", "-"))
    commands = list(described(main))
    assert len(commands) > 40
    for one in commands:
        assert one.name in text
        for names, meaning in one.options:
            assert re.sub(r"\s+", " ", names) in text, names
            assert meaning[:30].strip() in text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"), meaning


def test_the_manual_page_fits_a_terminal_and_cuts_no_name(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "whatomate-gateway.1"
    page.write_text(run("man").stdout, encoding="utf-8")
    done = subprocess.run(
        [program("man"), "--warnings", "-l", str(page)],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=True,
    )
    assert done.stderr == ""
    lines = re.sub(".\b", "", done.stdout).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert not [line for line in lines if line.endswith("\N{HYPHEN}")]


def test_the_manual_page_is_the_same_each_time_and_leaves_the_commands_as_they_are(run: Run) -> None:
    assert list(described(main)) == list(described(main))
    assert run("man").stdout == run("man").stdout
    assert run("-h").stdout == run("--help").stdout != ""


def test_what_begins_like_a_request_of_roff_is_text(run: Run) -> None:
    for line in run("man").stdout.splitlines():
        assert not line.startswith("'")
        if line.startswith("."):
            assert re.match(r'\.(\\"|TH|SH|SS|PP|TP|B|I|ad|fi|nf|nh)\b|\.\\"', line), line


def test_the_version_says_python_whether_compiled_and_the_commit(run: Run) -> None:
    lines = run("--version").stdout.splitlines()
    assert lines[0].startswith("whatomate-gateway, version ")
    python, warm_path, commit = (line.split()[-1] for line in lines[1:])
    assert python == sys.version.split()[0]
    assert warm_path in {"compiled", "interpreted"}
    assert re.fullmatch("[0-9a-f]{7,12}|unknown", commit)


def test_compiled_is_what_the_interpreter_would_import(tmp_path: Path) -> None:
    wire = tmp_path / "wire"
    wire.mkdir()
    assert not is_compiled(tmp_path)
    (wire / "downstream.py").touch()
    assert not is_compiled(tmp_path)
    (wire / f"downstream{EXTENSION_SUFFIXES[0]}").touch()
    assert is_compiled(tmp_path)


def test_the_commit_that_a_build_has_written_is_read(tmp_path: Path) -> None:
    assert written_commit(tmp_path) is None
    (tmp_path / "commit.txt").write_text("0123456789abcdef0123\n", encoding="ascii")
    assert written_commit(tmp_path) == "0123456789abcdef0123"


def test_the_commit_of_a_checkout_is_that_of_its_compiled_tree_and_of_nothing_else_in_it(
    tmp_path: Path,
) -> None:
    git = program("git")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (
        ("init", "-q"),
        (*who, "commit", "-q", "--allow-empty", "-m", "first"),
        ("rev-parse", "HEAD"),
    ):
        done = subprocess.run([git, "-C", tmp_path, *command], capture_output=True, text=True, check=True)
    commit = done.stdout.strip()
    assert len(commit) == 40
    for folder in (".compiled/tree", ".compiled-newest/tree", ".venv/lib", "tree"):
        (tmp_path / folder).mkdir(parents=True)
    assert checked_out_commit(tmp_path) == commit
    assert checked_out_commit(tmp_path / ".compiled" / "tree") == commit
    assert checked_out_commit(tmp_path / ".compiled-newest" / "tree") == commit
    assert checked_out_commit(tmp_path / ".venv" / "lib") is None
    assert checked_out_commit(tmp_path / "tree") is None
