# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs say of themselves, their man pages and the shell's completion agree."""
import json
import re
import subprocess

import pytest

from harness import BUILD, PROGRAMS, TREE

CLI = BUILD / "cli/onchannel"
COMMANDS = ["status", "why", "notices", "my-data", "catalogue", "policy", "exemption", "break-glass", "request", "key", "enrol", "evidence"]
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


@pytest.mark.parametrize("program", (*PROGRAMS, "cli/onchannel-export", "cli/onchannel-verify", "cli/onchannel-witness"))
def test_options_are_in_the_man_page(program):
    path = BUILD / program
    text = help_of(path)
    if path == CLI:
        text += "".join(help_of(path, command) for command in COMMANDS)
    told = set(re.findall(r"\bFl (?:Fl |-)([a-z][a-z-]+)", page(path.name)))
    assert options(text) and options(text) <= told, options(text) - told
    assert told <= options(text) | {"version", "help", "json", "socket"}, told - options(text)


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
            usage = next(u for u in re.sub(r"\n {8,}", " ", help_of(CLI, command)).split("\n") if f"onchannel {' '.join(words)}" in u)
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


NOWHERE = ["--socket", "/nowhere"]
REASON = ["--reason", "a trade", "--approver", "eve"]
# arguments, exit status: of each verb what succeeds, where that needs no agent, and what fails
JSON = [
    ("status", *NOWHERE, 3), ("why", "x.example", *NOWHERE, 3), ("notices", *NOWHERE, 3), ("my-data", *NOWHERE, 3),
    ("catalogue", "check", "channels", 0), ("catalogue", "check", "nothing", 1), ("catalogue", "build", "-o", "c.ini", "channels", 0),
    ("catalogue", "build", "-o", "no/c.ini", "channels", 1), ("catalogue", "show", "channels", 0), ("catalogue", "show", "channels", "zoom", 0),
    ("catalogue", "show", "channels", "--summary", 0), ("catalogue", "show", "channels", "nobody", 1),
    ("catalogue", "search", "zoom.us", "--catalogue", "channels", 0), ("catalogue", "search", "nobody", "--catalogue", "channels", 1),
    ("catalogue", "diff", "channels", "c.ini", 0), ("catalogue", "diff", "channels", "nothing", 1), ("catalogue", "install", "c.ini", *NOWHERE, 3),
    ("policy", "new", "p.ini", 0), ("policy", "new", "p.ini", 1), ("policy", "check", "p.ini", 0), ("policy", "check", "nothing", 1),
    ("policy", "diff", "p.ini", "p.ini", "--catalogue", "channels", 0), ("policy", "diff", "p.ini", "nothing", "--catalogue", "channels", 2),
    ("policy", "test", "p.ini", "table", "--catalogue", "channels", 0), ("policy", "test", "p.ini", "nothing", "--catalogue", "channels", 1),
    ("policy", "keys", 0), ("key", "new", "k", 0), ("key", "new", "k", 1), ("policy", "sign", "p.ini", "--key", "k.key", 0),
    ("policy", "sign", "p.ini", "--key", "nothing", 1), ("policy", "install", "p.ini", *NOWHERE, 3),
    ("exemption", "grant", "e.ini", "--key", "k.key", "--channel", "zoom", "--user", "anna", "--for", "8h", *REASON, 0),
    ("exemption", "grant", "f.ini", "--key", "nothing", "--channel", "zoom", "--user", "anna", "--for", "8h", *REASON, 1),
    ("exemption", "sign", "e.ini", "--key", "k.key", "--add", 0), ("exemption", "sign", "p.ini", "--key", "k.key", 1),
    ("exemption", "revoke", "r.ini", "--key", "k.key", "--revokes", "EX-1", *REASON, 0), ("exemption", "install", "e.ini", *NOWHERE, 3),
    ("exemption", "list", *NOWHERE, 3), ("break-glass", "make", "b.ini", "--key", "k.key", "--device", "d-x", "--for", "1h", *REASON, 0),
    ("break-glass", "use", "b.ini", *NOWHERE, 3), ("request", "zoom", "--reason", "x", *NOWHERE, 3),
    ("enrol", "https://collector.example", "--token", "t", "--ca", "nothing", 1), ("evidence", "verify", "nothing", 1),
    ("evidence", "export", "https://collector.example", "-o", "e.ndjson", 1),
]


def test_every_command_speaks_json(tmp_path):
    """One object, whatever comes; what failed says so, and the exit status agrees."""
    (tmp_path / "channels").symlink_to(TREE / "rules/channels")
    (tmp_path / "table").write_text("- - zoom.us watch\n")
    spoken = {("evidence", "witness")}  # another program, which goes on for ever
    every = commands()
    for *words, status in JSON:
        r = subprocess.run([CLI, *words, "--json"], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        answer = json.loads(r.stdout)
        assert (r.returncode, answer["ok"], r.stderr) == (status, status == 0, ""), (words, r)
        assert answer["ok"] or answer.get("error") or answer.get("findings") or answer.get("failures"), answer
        spoken.add(tuple(words[:2] if every[words[0]] else words[:1]))
    assert spoken == {(c, v) for c, verbs in every.items() for v in verbs} | {(c,) for c, verbs in every.items() if not verbs}


# ---- formats ----

def documented(name):
    """{section: {key: its line}} of a page whose keys are introduced by ".It Cm KEY No (TYPE, …)"."""
    sections, section = {}, None
    for line in (TREE / "man" / name).read_text().splitlines():
        if line.startswith((".Sh", ".Ss")):
            section = (re.search(r"\[([a-z]+)\]", line) or [None, None])[1]
        elif section and line.startswith(".It Cm "):
            keys = re.match(r"\.It Cm ([a-z_0-9 ,]+?) No \((.+)\)$", line)
            assert keys, f"{name}: {line}: no type"
            sections.setdefault(section, {}).update({k: keys[2] for k in keys[1].split(" , ")})
    return sections


def examples(name):
    return re.search(r"\.Sh EXAMPLES.*?\.Bd -literal\n(.*?)\.Ed", (TREE / "man" / name).read_text(), re.DOTALL)[1]


def words(*sources):
    """Whatever could be a key: the strings in the parsers."""
    return {w for source in sources for w in re.findall(r'"([a-z][a-z_0-9]+)"', (TREE / source).read_text())}


def complaint(argv):
    r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    return r.stdout + r.stderr


def agent_complaint(folder, text):
    (folder / "agent.ini").write_text(text)
    said = complaint([BUILD / "agent/onchanneld", "-n", "--config", folder / "agent.ini"])
    return said if f"{folder}/agent.ini" in said else ""


def channel_complaint(folder, text):
    (folder / "example.ini").write_text(text)
    said = complaint([CLI, "catalogue", "check", folder / "example.ini"])
    return said if "example.ini:" in said else ""


@pytest.mark.parametrize("name,ask,sources", [
    ("agent.ini.5", agent_complaint, ["agent/state/config.c", "lib/trust/trust.h", *(str(p.relative_to(TREE)) for p in TREE.glob("lib/trust/*.c"))]),
    ("onchannel-channel.5", channel_complaint, ["lib/catalogue/parse.c", "lib/catalogue/catalogue.c"])], ids=["agent.ini", "channel"])
def test_keys_of_a_format(tmp_path, name, ask, sources):
    """The page has each key that the parser takes, with its type, and no other; the example has all of them, and is taken."""
    told, example = documented(name), examples(name)
    assert not ask(tmp_path, example), ask(tmp_path, example)
    head = "" if name == "agent.ini.5" else "[channel]\nid = example\n"
    for section, keys in told.items():
        body = re.search(rf"^\[{section}\]\n(.*?)(?:^\[|\Z)", example, re.DOTALL | re.MULTILINE)
        assert body and {k for k in keys} == set(re.findall(r"(?m)^([a-z_0-9]+) +=", body[1])), (section, keys)
        for word in words(*sources) | set(keys):
            text = f"{head if section != 'channel' else ''}[{section}]\n{word} = ?\n"
            assert ("unknown key" not in ask(tmp_path, text)) == (word in keys), (section, word)
    for section in words(*sources) - set(told):
        assert "unknown section" in ask(tmp_path, f"{head}[{section}]\n"), section


# ---- what the documents name ----

EXAMPLES = {"ANY.ini", "policy/ID.ini", "channels/ID.ini", "channels/example-talk.ini"}  # names that stand for others


def test_documents_name_what_is_there():
    """Files and functions that are named exist; every system test is in the index; the number of channels is that of the files."""
    files = [p for p in TREE.rglob("*") if p.is_file() and not {".git", "node_modules", "build"} & set(p.relative_to(TREE).parts)]
    code = "\n".join(p.read_text(errors="replace") for p in files if p.suffix in (".c", ".h", ".py", ".sh", ".js", ".jsx") or p.name == "dev")
    paths = [f"/{p.relative_to(TREE)}" for p in files]
    for document in ("README.md", "ARCHITECTURE.md", "SECURITY.md", "docs/DEPLOYMENT.md", "tests/README.md", "rules/README.md"):
        named = set(re.findall(r"`([^`\n]+)`", (TREE / document).read_text())) - EXAMPLES
        for name in named:
            if re.fullmatch(r"[\w./-]+\.(c|h|py|ini|jsx|sh|md|js|mjs)", name):
                assert any(p.endswith(f"/{name}") for p in paths) or name in code, f"{document}: there is no file {name}"
            elif re.fullmatch(r"[a-z_0-9]+\(\)", name):
                assert re.search(rf"\b{name[:-2]}\(", code), f"{document}: there is no function {name}"
    index = (TREE / "tests/README.md").read_text()
    missing = {p.name for p in TREE.glob("tests/system/test_*.py") if p.name not in index}
    assert not missing, missing
    channels = len(list(TREE.glob("rules/channels/*.ini")))
    assert f"**Recognises** {channels} channels" in (TREE / "README.md").read_text()
