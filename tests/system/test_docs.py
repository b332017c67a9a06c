# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs say of themselves, their man pages and the shell's completion agree."""
import re
import subprocess

import pytest

from harness import BUILD, PROGRAMS, TREE

CLI = BUILD / "cli/onchannel"
COMMANDS = ["status", "why", "notices", "my-data", "catalogue", "policy", "key", "enrol", "evidence"]
COMPLETION = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_onchannel
printf '%s\\n' "${COMPREPLY[@]}"
"""

# Stands in for the widgets of zsh's completion system: what would be offered, a word a line.
ZSH = """
_describe() { for word in ${(P)2}; do print -r -- ${word%%:*}; done }
_arguments() { for word in "$@"; do print -r -- ${word%%:*}; done }
fpath=("${1:h}" $fpath)
autoload -Uz _onchannel
words=("${@:2}") CURRENT=$(($# - 1)) PREFIX=${@[-1]}
_onchannel
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


def complete(*words, shell="bash"):
    script, file = (COMPLETION, "onchannel.bash") if shell == "bash" else (ZSH, "_onchannel")
    r = subprocess.run([shell, *(["-f"] if shell == "zsh" else []), "-c", script, shell, BUILD / "cli" / file, *words],
                       capture_output=True, text=True, check=True)
    assert not r.stderr, r.stderr
    return set(r.stdout.split())


def commands():
    """{command: its verbs}, out of the program's own usage."""
    names = re.findall(r"(?m)^  ([a-z][a-z-]+) ", help_of(CLI))
    return {n: re.findall(rf"(?m)onchannel {n} ([a-z]+)\b", help_of(CLI, n)) for n in names}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_offers_what_the_program_takes(shell, needs):
    needs(shell)
    assert set(COMMANDS) <= set(commands())
    for command, verbs in commands().items():
        assert command in complete("onchannel", "", shell=shell) and set(verbs) <= complete("onchannel", command, "", shell=shell)
        for verb in verbs or [None]:
            words = [command, verb] if verb else [command]
            offered = {o for o in complete("onchannel", *words, "--", shell=shell) if o.startswith("--")}
            for option in offered:  # a value, where one is needed; whatever else is wrong, no option is unknown
                r = subprocess.run([CLI, *words, option, "x", "--help"], capture_output=True, text=True, check=False)
                assert "unrecognized" not in r.stderr, (words, option)
            usage = next(u for u in re.sub(r"\n {12,}", " ", help_of(CLI, command)).split("\n") if f"onchannel {' '.join(words)}" in u)
            assert {f"--{o}" for o in options(usage)} | {"--json", "--socket", "--help"} <= offered, usage


def test_completion():
    assert set(COMMANDS) <= complete("onchannel", "") and "--version" in complete("onchannel", "--v")
    assert "root" in complete("onchannel", "why", "x", "--user", "roo") and not complete("onchannel", "policy", "test", "--at", "")
    assert str(TREE / "README.md") in complete("onchannel", "policy", "check", str(TREE / "READ"))
    for command in COMMANDS:
        text = help_of(CLI, command)
        verbs = set(re.findall(rf"onchannel {command} ([a-z]+)\b", text)) & complete("onchannel", command, "")
        for verb in verbs or {""}:
            usage = next(line for line in text.splitlines() if f"onchannel {command} {verb}".strip() in line)
            words = [command, verb] if verb else [command]
            assert {f"--{o}" for o in options(usage)} <= complete("onchannel", *words, "--"), usage
    assert "sign" in complete("onchannel", "policy", "s")
