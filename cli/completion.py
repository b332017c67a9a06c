#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""completion.py bash|zsh ONCHANNEL: completion for a shell, on standard output, out of what the program says of
itself by --help: commands, verbs, options, and what their values are."""
import re
import subprocess
import sys

ALWAYS = {"json": "", "socket": "PATH", "help": ""}
FILES = re.compile(r"FILE|DIR|PATH|SECRET|CATALOGUE|OLD|NEW|EXPECTATIONS|BUNDLE")

BASH = """# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for onchannel(1), made by completion.py
_onchannel()
{{
        local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} words= how=
        local at=${{COMP_WORDS[1]}}:${{COMP_WORDS[2]}}

        COMPREPLY=()
        if [ "$COMP_CWORD" -eq 1 ]; then
                words='{commands} --help --version'
        elif [ "$COMP_CWORD" -eq 2 ] && [[ $cur != -* ]]; then
                case ${{COMP_WORDS[1]}} in
{verbs}
                esac
        fi
        case $at:$prev in
{values}
        esac
        if [ -z "$how$words" ] && [[ $cur == -* ]]; then
                case $at in
{options}
                esac
        fi
        case $how in
        user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
        none) ;;
        *)
                if [ -n "$words" ]; then
                        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
                else
                        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                fi
                ;;
        esac
}}
complete -o filenames -F _onchannel onchannel
"""

ZSH = """#compdef onchannel
# SPDX-License-Identifier: GPL-3.0-or-later
# zsh completion for onchannel(1), made by completion.py
local -a subcommands verbs
subcommands=({commands})
if (( CURRENT == 2 )); then
        _describe command subcommands
        return
fi
case $words[2] in
{verbs}
esac
if (( CURRENT == 3 && $#verbs )) && [[ $PREFIX != -* ]]; then
        _describe verb verbs
        return
fi
case $words[2]:$words[3] in
{options}
esac
"""


def ask(program, *words):
    return subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True).stdout


def usages(text, command):
    """The usage lines of a command, those that go on in the next line joined."""
    lines = re.sub(r"\n {8,}", " ", text.removeprefix("Usage:")).split("\n")
    return [m[1] for m in (re.match(rf" *onchannel {command}\b(.*)", line) for line in lines) if m]


def options_of(usage, text):
    """Option -> what its value is called, "" without one."""
    found = dict(re.findall(r"--([a-z][a-z-]*)(?: ([A-Z][A-Z|…]*))?", usage))
    for letter, name, value in re.findall(r"(?m)^ +-([a-z]), --([a-z][a-z-]*)(?: ([A-Z]+))?", text):
        if re.search(rf"(?<!-)-{letter}\b", usage):
            found[name] = value
    return found | ALWAYS


def table(program):
    """[(command, summary, {verb: summary}, {verb or "": options})]"""
    commands = []
    for command, rest in re.findall(r"(?m)^  ([a-z][a-z-]+) +(.*)$", ask(program).split("\n\n")[1]):
        text, verbs, options = ask(program, command), {}, {}
        for usage in usages(text, command):
            verb = (re.match(r" ([a-z][a-z-]*)\b", usage) or [None, ""])[1]
            if verb:
                said = re.search(rf"(?m)^{verb} +(.*)$", text)
                verbs[verb] = said[1] if said else verb
            options.setdefault(verb, {}).update(options_of(usage, text))
        commands.append((command, re.split("  +", rest)[-1], verbs, options))
    return commands


def how(option, value):
    return "user" if option == "user" else "" if FILES.search(value) else "none"


def bash(commands):
    verbs, values, options = [], [], []
    for command, _, its, by_verb in commands:
        if its:
            verbs.append(f"{command}) words='{' '.join(its)}' ;;")
        for verb, known in by_verb.items():
            at = f"{command}:{verb or '*'}"
            for option, value in known.items():
                if value and how(option, value):
                    values.append(f"{at}:--{option}) how={how(option, value)} ;;")
            options.append(f"{at}) words='{' '.join('--' + o for o in known)}' ;;")

    def indent(lines):
        return "\n".join(16 * " " + line for line in lines)
    return BASH.format(commands=" ".join(c[0] for c in commands), verbs=indent(verbs), values=indent(values)[8:].replace("\n" + 16 * " ", "\n" + 8 * " "),
                       options=indent(options))


def quoted(text):
    return "'" + text.replace("'", "'\\''").replace(":", "\\:").replace("[", "\\[").replace("]", "\\]") + "'"


def zsh(commands):
    verbs, options = [], []
    for command, _, its, by_verb in commands:
        if its:
            verbs.append(f"{command}) verbs=({' '.join(quoted(v)[:-1] + ':' + quoted(s)[1:] for v, s in its.items())}) ;;")
        for verb, known in by_verb.items():
            specs = [f"'--{o}" + (f":{v.lower()}:{ {'user': '_users', 'none': '', '': '_files'}[how(o, v)]}" if v else "") + "'" for o, v in known.items()]
            options.append(f"{command}:{verb or '*'}) _arguments {' '.join(specs)} '*:file:_files' ;;")
    return ZSH.format(commands=" ".join(quoted(c)[:-1] + ":" + quoted(s)[1:] for c, s, *_ in commands), verbs="\n".join(verbs), options="\n".join(options))


if __name__ == "__main__":
    sys.stdout.write({"bash": bash, "zsh": zsh}[sys.argv[1]](table(sys.argv[2])))
