# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs say of themselves, their man pages and the shell's completion agree."""
import re
import subprocess

import pytest

from harness import BUILD, PROGRAMS, TREE

CLI = BUILD / "cli/onchannel"
COMMANDS = ["status", "why", "notices", "my-data", "catalogue", "policy", "key", "enrol", "evidence"]
COMPLETION = """
source cli/completion.bash
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_onchannel
printf '%s\\n' "${COMPREPLY[@]}"
"""


def help_of(*argv):
    r = subprocess.run([*argv, "--help"], capture_output=True, text=True, check=False)
    assert r.returncode == 0 and not r.stderr and r.stdout.startswith("Usage: "), argv
    return r.stdout


def options(text):
    return set(re.findall(r"--([a-z][a-z-]+)", text))


def page(program):
    path, = TREE.glob(f"man/{program}.[18]")
    return path.read_text()


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_are_in_the_man_page(program):
    path = BUILD / program
    text = help_of(path)
    if path == CLI:
        text += "".join(help_of(path, command) for command in COMMANDS)
    told = set(re.findall(r"\bFl (?:Fl |-)([a-z][a-z-]+)", page(path.name)))
    assert options(text) and options(text) <= told, options(text) - told
    assert told <= options(text) | {"version", "help"}, told - options(text)


@pytest.mark.parametrize("path", sorted(TREE.glob("man/*.[158]")), ids=lambda p: p.name)
def test_man_page_is_sound(path, needs):
    needs("mandoc")
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stdout
    for name, section in re.findall(r"(?m)^\.Xr (onchannel[a-z-]*|agent\.ini) (\d)", path.read_text()):
        assert (TREE / f"man/{name}.{section}").exists(), f"{path.name} refers to {name}({section})"


def complete(*words):
    r = subprocess.run(["bash", "-c", COMPLETION, "bash", *words], capture_output=True, text=True, cwd=TREE, check=True)
    return set(r.stdout.split())


def test_completion():
    assert set(COMMANDS) <= complete("onchannel", "") and "--version" in complete("onchannel", "--v")
    for command in COMMANDS:
        text = help_of(CLI, command)
        verbs = set(re.findall(rf"onchannel {command} ([a-z]+)\b", text)) & complete("onchannel", command, "")
        for verb in verbs or {""}:
            usage = next(line for line in text.splitlines() if f"onchannel {command} {verb}".strip() in line)
            words = [command, verb] if verb else [command]
            assert {f"--{o}" for o in options(usage)} <= complete("onchannel", *words, "--"), usage
    assert "sign" in complete("onchannel", "policy", "s")
