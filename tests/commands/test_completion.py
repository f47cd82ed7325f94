"""Shells complete commands, flags, values and files, by the script that is printed for them."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from absl import flags

from mig_jax.commands.main import COMMANDS, load
from tests.running import mig, refused

# Prints what bash would offer for a line, of which it makes words as it does for a person.
_ASK = """
source ./script
complete -p mig-jax > /dev/null || exit 1
while IFS= read -r line; do
  read -ra COMP_WORDS <<< "${line//=/ = }"
  [[ "$line" == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); COMPREPLY=()
  "$(complete -p mig-jax | sed 's/.*-F \\([^ ]*\\).*/\\1/')" 2> /dev/null
  echo "${COMPREPLY[*]}"
done
"""


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    folder = tmp_path_factory.mktemp("completion")
    (folder / "script").write_text(mig("completion", "bash").stdout)
    (folder / "pool.jsonl").write_text("")
    (folder / "folder").mkdir()

    def ask(*lines):
        text = "".join(f"{line}\n" for line in lines)
        found = subprocess.run(
            ["bash", "-c", _ASK], input=text, cwd=folder, capture_output=True, text=True, timeout=60
        )
        return [line.split() for line in found.stdout.splitlines()]

    return ask


def test_bash_completes(offered):
    cases = {
        "mig-jax sel": ["select"],
        "mig-jax completion z": ["zsh"],
        "mig-jax select --label_e": ["--label_embeddings"],
        "mig-jax select pool.jsonl --noc": ["--nocertificate"],
        "mig-jax select --format=au": ["auto"],
        "mig-jax select --format=": ["auto", "mig_jax", "xsample", "plain"],
        "mig-jax select --gain lin": ["linear"],
        "mig-jax select --pool=po": ["pool.jsonl"],
        "mig-jax select --cache=fo": ["folder"],
        "mig-jax select po": ["pool.jsonl"],
        "mig-jax select --budget=5 --gain=linear --pool=po": ["pool.jsonl"],
        "mig-jax make_pool --flagf": ["--flagfile"],
    }
    assert dict(zip(cases, offered(*cases), strict=True)) == cases


def test_bash_knows_all_commands_and_flags(offered):
    (commands,) = offered("mig-jax ")
    assert set(commands) == {*COMMANDS, "completion"}
    for command in COMMANDS:
        values = flags.FlagValues()
        load(command).define_flags(values)
        (found,) = offered(f"mig-jax {command} --")
        assert {f"--{name}" for name in values} < set(found)


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_have_a_script(shell):
    told = mig("completion", shell)
    assert told.returncode == 0
    assert "label_embeddings" in told.stdout
    if (program := shutil.which(shell)) is not None and shell != "tcsh":
        subprocess.run([program, "-n"], input=told.stdout, text=True, check=True, timeout=60)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    told = refused("completion", "bash")
    assert told == (
        "mig-jax: completion: shtab is not installed; expected the extra completion "
        "(pip install 'mig-jax[completion]')"
    )
    assert "bash|zsh|fish|tcsh" in mig("completion", "--help").stdout
