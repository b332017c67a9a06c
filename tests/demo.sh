#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `./dev run`: collector, agent and uplink together on one machine with the sample policy. Everything
# lives in one state folder, which is removed at the end together with table, pins and processes.
#   ONCHANNEL_BUILD   the build folder
#   ONCHANNEL_CGROUP  attach below this cgroup v2 folder instead of its root (the sandbox sets it)
#   ONCHANNEL_STATE   the state folder (the sandbox sets it)
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")/..
build=$(readlink -f "${ONCHANNEL_BUILD:?}")

if [ "${1-}" = --sandbox ]; then
        exec /usr/bin/python3 "$here/tests/system/internet.py" --run "$here/tests/demo.sh" --shell --forward 8444
fi

state=${ONCHANNEL_STATE:-/var/lib/onchannel-dev}
# The browsers of this machine stay as they are; those of the sandbox have an /etc of their own.
browser_root=$state/browsers
[ -z "${ONCHANNEL_CGROUP-}" ] || browser_root=/
uplink_user=nobody
cli=$build/cli/onchannel
collector=$build/collector/onchannel-collector
export PATH=$build/agent/uplink:$PATH # for the enrolment
pids=()

say() {
        printf '\033[1m%s\033[0m\n' "$*"
}

# Takes enforcement off, then the state folder away.
give_back() {
        if [ -e "$state/agent.ini" ]; then
                "$build/agent/onchanneld" release --config "$state/agent.ini" >/dev/null 2>&1 ||
                        echo "demo: could not release everything, see: nft list table inet onchannel" >&2
        fi
        if mountpoint -q "$state/bpf"; then umount "$state/bpf"; fi
        rm -rf "$state"
}
cleanup() {
        trap - EXIT INT TERM HUP
        local p i
        for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
                p=${pids[i]}
                kill "$p" 2>/dev/null || true
                wait "$p" 2>/dev/null || true
        done
        give_back
        say "stopped; this machine is as it was"
}
# What a run that was killed left running: a process that still works in the state folder.
end_leftovers() {
        local p
        [ ! -e "$state/pids" ] || while read -r p; do
                grep -qzF -- "$state" "/proc/$p/cmdline" 2>/dev/null || continue
                kill "$p" 2>/dev/null || true # the agent takes no signal of ours, but ends by itself
                timeout 20 tail --pid="$p" -s 0.1 -f /dev/null || echo "demo: process $p does not end" >&2
        done <"$state/pids"
}

start() { # NAME COMMAND…: in the background, its output in a file of its own
        local name=$1
        shift
        "$@" >"$state/$name.log" 2>&1 9>&- &
        pids+=($!)
        echo $! >>"$state/pids"
}
all_run() {
        local p
        for p in "${pids[@]}"; do kill -0 "$p" 2>/dev/null || return 1; done
}
wait_for() { # SECONDS WHAT COMMAND…
        local end=$((SECONDS + $1)) what=$2
        shift 2
        until "$@" >/dev/null 2>&1; do
                if [ $SECONDS -ge $end ] || ! all_run; then
                        tail -qn 5 "$state"/*.log >&2
                        echo "demo: $what did not happen" >&2
                        exit 1
                fi
                read -r -t 0.1 <> <(:) || true
        done
}
ask() { # COMMAND…: of the agent that runs here
        "$cli" "$@" --socket "$state/run/control.sock"
}

# On the sandbox's laptop: anna's, or the commands of standard input.
employee_shell() {
        local shell=(bash --norc)
        [ ! -t 0 ] || shell=(bash --rcfile "$state/rc" -i)
        install -m 0755 "$cli" "$state/bin/"
        cat >"$state/rc" <<EOF
PS1='anna@laptop\$ '
onchannel() { "$state/bin/onchannel" "\$@" --socket "$state/run/control.sock"; }
EOF
        echo "You are anna, an employee. Try:  curl https://web.whatsapp.com    telegram-desktop    onchannel why discord.com"
        echo "Violations, as they happen; 'exit' undoes everything:"
        cd "$HOME"
        BASH_ENV=$state/rc USER=anna LOGNAME=anna setpriv --reuid anna --regid anna --init-groups "${shell[@]}"
}

# An earlier run that was killed: give back what it held, then start anew.
exec 9<"${state%/*}"
flock -n 9 || {
        echo "demo: another './dev run' is on: end it first" >&2
        exit 1
}
if [ -e "$state" ]; then
        end_leftovers
        give_back
fi
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

install -d -m 0755 "$state" "$state/keys" "$state/bpf" "$state/bin" "$state/run"
install -d -m 0755 "$state/agent"
mount -t bpf bpf "$state/bpf"

# IT security's desk: keys, catalogue, policy.
(cd "$state" && "$cli" key new policy && "$cli" key new catalogue) >/dev/null
mv "$state/policy.pub" "$state/catalogue.pub" "$state/keys/"
"$cli" catalogue build -o "$state/catalogue.ini" --version demo --serial 1 --key "$state/catalogue.key" \
        "$here/rules/channels" >/dev/null
sed -e "s/^not_before .*/not_before = 2020-01-01T00:00:00Z/" -e "s/^expires .*/expires = $(date -ud '1 year' +%FT%TZ)/" \
        "$here/rules/policies/sample.ini" >"$state/policy.ini"
"$cli" policy sign "$state/policy.ini" --key "$state/policy.key" >/dev/null

# The collector's machine.
"$collector" init "$state/collector" --name localhost --agents 127.0.0.1:8443 --page 127.0.0.1:8444 --admin admin \
        >"$state/init.txt"
start collector "$collector" serve "$state/collector"
wait_for 120 'the collector listening' grep -q 'page: listening' "$state/collector.log"
token=$("$collector" token "$state/collector" --uses 1 --hours 1)

# The laptop.
cat >"$state/agent.ini" <<EOF
[agent]
state        = $state/agent
runtime      = $state/run
keys         = $state/keys
catalogue    = $state/catalogue.ini
bpffs        = $state/bpf/onchannel
cgroup       = ${ONCHANNEL_CGROUP-}
heartbeat    = 60
uplink_group = $(id -gn $uplink_user)
[browser]
root = $browser_root
[collector]
url = https://localhost:8443
ca  = $state/server-ca.pem
EOF
install -m 0644 "$state/collector/server-ca.pem" "$state/"
[ -n "${ONCHANNEL_CGROUP-}" ] || sed -i '/^cgroup/d' "$state/agent.ini"
install -m 0755 "$build/agent/uplink/onchannel-uplink" "$state/bin/"
# Where BPF LSM keeps the agent from everybody but its parent, the parent's end must end it, too.
start agent setpriv --pdeathsig TERM "$build/agent/onchanneld" --config "$state/agent.ini"
wait_for 120 'the agent answering' ask status
ask policy install "$state/policy.ini" --incoming "$state/agent/incoming" >/dev/null
"$cli" enrol https://localhost:8443 --token "$token" --ca "$state/server-ca.pem" --config "$state/agent.ini" >/dev/null
start uplink setpriv --reuid "$uplink_user" --regid "$(id -g $uplink_user)" --clear-groups \
        "$state/bin/onchannel-uplink" --config "$state/agent.ini"

say "onchannel is on: WhatsApp, Telegram, Discord and the like are blocked, Teams and Slack are approved."
grep -E '^  (page|user|password) ' "$state/init.txt"
if [ "${1-}" = --shell ]; then
        : >"$state/notices.log" # tail may come first
        start notices "$cli" notices --follow --socket "$state/run/control.sock"
        tail -f "$state/notices.log" 9>&- &
        pids+=($!)
        employee_shell 9>&- || true
else
        echo "Try in another terminal:  curl https://web.whatsapp.com    $cli why discord.com --socket $state/run/control.sock"
        echo "Violations, as they happen; Ctrl-C undoes everything:"
        ask notices --follow 9>&-
fi
