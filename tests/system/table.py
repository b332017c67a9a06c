#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evasion table: its rows, which test proves which, and on which kernel path.

A test of a row carries, itself or by its module's pytestmark,

    @pytest.mark.evasion(7, "a hello in many writes", "egress")

the row's number, what is tried in a few words, and the kernel paths (PATHS) by which it is stopped.
`table.py --write` writes the index into tests/README.md; test_evasion_table.py fails while that differs,
or while a row has no test. conftest.py prints one line a row.
"""
import argparse
import ast
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- table.py --write -->", "<!-- end of the table -->"

ROWS = {
    1: "plain lookup, any resolver",
    2: "DNS over TCP, in pieces, pipelined",
    3: "queries in every shape, malformed ones",
    4: "names that look alike pass",
    5: "aliases, both ways",
    6: "the address is known already",
    7: "TLS hello in every shape",
    8: "other ways to send: Fast Open, MPTCP, splice, segmentation",
    9: "STARTTLS, TLS on odd ports",
    10: "QUIC",
    11: "HTTP and SOCKS proxies, Host, h2c",
    12: "encrypted hello (ECH)",
    13: "addresses built into the program",
    14: "neighbour and shared addresses pass",
    15: "hidden DNS: DoH, DoT, DoQ",
    16: "program as it is installed: package, Flatpak, Snap, AppImage, tarball",
    17: "program under another name, from another place, through another",
    18: "web apps and multi-messengers",
    19: "innocent programs of similar names pass",
    20: "it was running already",
    21: "namespaces, containers, virtual machines",
    22: "tunnels: VPN, Tor, SSH",
    23: "root works against the agent",
    24: "policies and catalogues that must not come into force",
}
PATHS = {
    "egress": "cgroup_skb/egress",
    "ingress": "cgroup_skb/ingress",
    "connect": "cgroup/connect → nftables",
    "sendmsg": "cgroup/sendmsg",
    "prefix": "nftables prefixes",
    "exec": "sched_process_exec → SIGKILL (BPF LSM: bprm_check)",
    "prctl": "fmod_ret/security_task_prctl",
    "walk": "iter/task_file → SOCK_DESTROY",
    "browser": "browser policy",
    "restore": "agent puts back",
    "lsm": "BPF LSM",
    "agent": "agent",
}


def paths(text):
    """"egress connect" in words."""
    return [PATHS[p] for p in text.split()]


def _marks(nodes):
    """Arguments of every evasion(…) in these syntax trees."""
    for node in nodes:
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "evasion":
                yield tuple(ast.literal_eval(a) for a in call.args)


def declared(folder=HERE):
    """(row, what, path, file, test) of every test of the table; a test's own marks stand for its module's."""
    rows = []
    for file in sorted(folder.glob("test_*.py")):
        body = ast.parse(file.read_text()).body
        module = list(_marks(n.value for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "pytestmark"))
        for test in (n for n in body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")):
            rows += [(*mark, file.name, test.name) for mark in list(_marks(test.decorator_list)) or module]
    return rows


def of_item(item):
    """The same of a collected test: [(row, what, path)]."""
    own = [m for m in item.own_markers if m.name == "evasion"]
    return [m.args for m in own or item.iter_markers("evasion")]


def markdown(rows=None):
    """The index: a line for each thing that is tried."""
    grouped = {}
    for row, what, path, file, test in sorted(rows if rows is not None else declared(), key=lambda r: r[0]):
        grouped.setdefault((row, what, path), {}).setdefault(file, []).append(test)
    lines = ["| # | attempt | kernel path | test |", "|---|---|---|---|"]
    for row, name in ROWS.items():
        lines.append(f"| **{row}** | **{name}** | | |")
        for (number, what, path), files in grouped.items():
            if number == row:
                tests = "; ".join(f"`{file}`: " + ", ".join(t.removeprefix("test_") for t in tests) for file, tests in files.items())
                lines.append(f"| {row} | {what} | {', '.join(paths(path))} | {tests} |")
    return "\n".join(lines) + "\n"


def index(text):
    """(before, table, after) of the README."""
    before, _, rest = text.partition(BEGIN + "\n")
    table, _, after = rest.partition(END)
    return before + BEGIN + "\n", table, END + after


class Results:
    """What became of each row in one run."""

    def __init__(self):
        self.rows = {}

    def add(self, marks, outcome):
        """outcome: passed, failed, lsm (left to tests/vm), skipped."""
        for row, _, path in marks:
            self.merge({row: {"paths": path.split(), outcome: 1}})

    def merge(self, rows):
        for row, more in rows.items():
            entry = self.rows.setdefault(row, {"paths": [], "passed": 0, "failed": 0, "lsm": 0, "skipped": 0})
            entry["paths"] = [p for p in PATHS if p in (*entry["paths"], *more["paths"])]
            for outcome in more.keys() - {"paths"}:
                entry[outcome] += more[outcome]

    def lines(self):
        words = {"passed": "passed", "failed": "FAILED", "lsm": "in tests/vm", "skipped": "skipped"}
        cells = [("#", "what is tried", "kernel path", "result")]
        cells += [(str(row), ROWS[row], " ".join(e["paths"]), ", ".join(f"{e[k]} {w}" for k, w in words.items() if e[k]))
                  for row, e in sorted(self.rows.items())]
        wide = [max(len(line[i]) for line in cells) for i in range(3)]
        for number, name, path, result in cells:
            yield f"{number:>{wide[0]}}  {name:<{wide[1]}}  {path:<{wide[2]}}  {result}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--write", action="store_true", help="write the index into tests/README.md, instead of printing it")
    if parser.parse_args().write:
        before, _, after = index(README.read_text())
        README.write_text(before + markdown() + after)
    else:
        print(markdown(), end="")


if __name__ == "__main__":
    main()
