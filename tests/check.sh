#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Format, lint and the house rules that a machine can check. Prints file:line and the rule; exit 1 on any finding.
set -uo pipefail
shopt -s lastpipe
cd "$(dirname "$(readlink -f "$0")")/.." || exit 2
failed=0
report() { # RULE, findings on standard input
        local found
        found=$(cat)
        [ -n "$found" ] || return 0
        printf '%s:\n%s\n\n' "$1" "${found//$'\n'/$'\n'  }" | sed '2s/^/  /'
        failed=1
}
files() {
        git ls-files --cached --others --exclude-standard -- "$@"
}
mapfile -t c < <(files '*.c' '*.h')
mapfile -t lib < <(files 'lib/*.c' 'lib/*.h')

clang-format --dry-run --Werror "${c[@]}" 2>&1 | grep -E 'error:' | cut -d: -f1,2 | sort -u | head -20 |
        report 'not formatted: run clang-format -i'
mapfile -t shell < <(files '*.sh' dev .ci/run tests/vm/run)
shellcheck -S warning "${shell[@]}" 2>&1 | report 'shellcheck'
files '*.md' '*.c' '*.h' '*.py' '*.ini' 'man/*' | xargs -r codespell -q 3 -L 'anonymouse,selektor,ba,bale,ede,nd,tawk,whats,statics,ded,inout,fo,te,ser,iif' 2>&1 | report 'spelling'
for page in man/*.[1-8]; do
        [ -e "$page" ] && mandoc -T lint -W warning "$page" 2>&1
done | report 'man pages'

# Every file says its licence; bpf/ and lib/wire/ are GPL-2.0-or-later.
for f in $(files '*.c' '*.h' '*.py' '*.sh' '*.js' '*.jsx' '*.mjs' '*.css'); do
        want=GPL-3.0-or-later
        case $f in bpf/* | lib/wire/*) want=GPL-2.0-or-later ;; esac
        head -3 "$f" | grep -q "SPDX-License-Identifier: $want" || echo "$f"
done | report 'no SPDX line, or another licence than the folder has'

grep -nE '\breturn E[A-Z0-9]+;' "${c[@]}" | report 'a positive errno is returned'
grep -nE '\b(log_line|log_errno|printf|perror|syslog)\(' "${lib[@]}" | grep -vE '^lib/base/(log|text|diag|buf|io)\.[ch]:|snprintf|asprintf' |
        report 'a library folder logs or prints'
files 'lib/*.c' 'agent/*.c' 'collector/*.c' 'cli/*.c' | xargs -r grep -nE '^\s*default:' | grep -v 'switch: not an enum' |
        report 'default: in a switch (an enum switch has none; another says "switch: not an enum")'
# Logs hold no personal data: not who, where from, with what, why; nothing that a diag quotes of its input. What a person reads
# on the terminal that it was typed at (onchanneld --check, --enrol) may.
files 'agent/*.c' 'collector/*.c' | grep -vE '^agent/(main|check)\.c$|^agent/uplink/(main|enrol)\.c$' |
        xargs -r perl -0777 -ne 'while (/\blog_(?:line|errno)\(((?:"(?:[^"\\]|\\.)*"|[^";])*)\);/g) {
                my ($all, $line) = ($1, 1 + (substr($_, 0, $-[0]) =~ tr/\n//));
                (my $code = $all) =~ s/"(?:[^"\\]|\\.)*"//g;
                print "$ARGV:$line: $&\n" if $code =~ /(?<![*\w])(?!route->)\w+(?:->|\.)(?:user|uid|login|program|program_name|comm|argv|cwd|address|remote_address|host|sni|url|path|query|body|token|password|reason|approver|subject|text)\b(?!\s*\?)|\b(?:d|e|device|dev)->name\b|\bdiag_format\(/;
        }' | report 'a log line may name a person (ARCHITECTURE.md, Logs)'
grep -nE '\btypedef struct\b' "${c[@]}" | report 'struct typedef'
files '*.c' '*.h' '*.py' '*.sh' '*.jsx' | xargs -r grep -nE 'TODO|FIXME|\bXXX\b|HACK' | grep -v '^tests/check.sh' | report 'unfinished'
awk 'FNR == 1 { if (n > 600) print f ": " n " lines"; n = 0; f = FILENAME } { n++ } END { if (n > 600) print f ": " n " lines" }' "${c[@]}" |
        report 'file over 600 lines'

# Arrows point down only: what a folder may include besides itself and lib/base.
allowed() {
        case $1 in
        lib/base | lib/wire) echo '' ;;
        lib/trust | lib/catalogue | lib/content) echo '' ;;
        lib/policy) echo 'trust' ;;
        lib/rules) echo 'catalogue policy trust bpf/event.h' ;;
        lib/record) echo '' ;;
        lib/spool) echo 'record' ;;
        lib/evidence) echo 'record' ;;
        bpf) echo 'wire' ;;
        agent/watch) echo 'rules catalogue policy record agent/fact.h bpf wire' ;;
        agent/classify) echo 'wire content rules catalogue policy record agent/fact.h' ;;
        agent/browser) echo 'rules catalogue policy agent/browser' ;;
        agent/enforce) echo 'rules catalogue policy record agent/fact.h' ;;
        agent/report) echo 'rules catalogue policy record spool agent/fact.h' ;;
        agent/control) echo 'content rules catalogue policy record agent/fact.h agent/report' ;;
        agent/state) echo 'trust policy catalogue rules' ;;
        agent/uplink) echo 'record spool' ;;
        collector/net) echo '' ;;
        collector/store) echo 'record' ;;
        collector/log) echo 'record evidence collector/store' ;;
        collector/forward) echo 'collector/store record' ;;
        collector/web) echo '' ;;
        collector/api) echo 'policy record evidence trust collector/net collector/store collector/log collector/web' ;;
        *) echo '*' ;;
        esac
}
for f in "${c[@]}"; do
        dir=$(dirname "$f")
        may=$(allowed "$dir")
        [ "$may" != '*' ] || continue
        own=${dir#lib/}
        while IFS=: read -r line header; do
                ok=
                for m in base "$own" $may; do
                        case $header in "$m" | "$m"/*) ok=1 ;; esac
                done
                [ -n "$ok" ] || [ -e "$dir/$header" ] || echo "$f:$line includes \"$header\""
        done < <(sed -nE 's/^#include "([^"]+)".*/\1/; T; =; p' "$f" | paste -d: - - )
done | report 'an arrow points up (ARCHITECTURE.md, Folders)'

[ $failed = 0 ] && echo "check: clean"
exit $failed
