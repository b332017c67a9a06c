#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh BUILD [NAME]: the benchmarks in BUILD; each prints lines of `name value unit`.
#   nft      the nftables half of a reload: 200 channels, 10,000 prefixes
#   rules    the whole catalogue compiled with the sample policy
#   names    a look-up among 100, 10,000 and 1,000,000 names
#   (instructions: `agent` and `names` in an emulator, see tests/vm/run --count)
#   agent    exec, connect, DNS, throughput with the agent, and with empty hooks, against without; start;
#            resident memory
#   reload   the whole reload of 200 channels, 10,000 prefixes
#   gap      1,000 such reloads while somebody sends to the blocked addresses: what was let through
#   collector  durable violations a second into a real collector, on SQLite and PostgreSQL, and whose processor time it took
#   fleet    10,000 agents: held, sent a policy, coming back at once after a kill
#   page     a page over 10 million rows (ROWS=n) on both databases, with plans; takes a while, so only when named
# Everything happens in a network and mount namespace and a cgroup of its own, which end with it.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
build=$(readlink -f "$1")
name=${2:-}

if [ -z "${BENCH_INSIDE:-}" ]; then
        [ "$(id -u)" = 0 ] || { echo "run.sh: needs root" >&2; exit 1; }
        BENCH_INSIDE=1 exec unshare --mount --net --propagation private "$0" "$@"
fi

base=$(mktemp -d /tmp/oc-bench-XXXXXX)
mount=$(findmnt -n -t cgroup2 -o TARGET | head -1)
[ -n "$mount" ] || { echo "run.sh: no cgroup v2 hierarchy is mounted" >&2; exit 1; }
cgroup=$mount/${base##*/}
world=
finish() {
        [ -z "$world" ] || kill "$world" 2>/dev/null || true
        wait
        for _ in $(seq 50); do rmdir "$cgroup" 2>/dev/null && break; sleep 0.1; done # until its last process is reaped
        umount "$base/bpf" 2>/dev/null || true
        rm -rf "$base"
}
trap finish EXIT
mkdir "$cgroup" "$base/bpf"
mount -t bpf bpf "$base/bpf"
ip link set lo up

# A cable to another namespace, with the servers at its end.
address=198.51.100.1
make_world() {
        mkfifo "$base/end" "$base/ready"
        unshare --net sh -c 'ip link set lo up; exec "$0"' "$build/tests/bench/bench-world" <"$base/end" >"$base/ready" &
        world=$!
        exec 8>"$base/end" 9<"$base/ready"
        read -r _ <&9
        ip link add laptop type veth peer name world netns "$world"
        ip address add 198.51.100.2/24 dev laptop
        ip link set laptop up
        nsenter --net=/proc/"$world"/ns/net sh -c "ip address add $address/24 dev world; ip link set world up"
        until ip -o link show laptop | grep -q LOWER_UP; do sleep 0.05; done
}

# make_agent NAME CHANNELS: keys, catalogue, the sample policy in force, agent.ini.
make_agent() {
        local dir=$base/$1 cli=$build/cli/onchannel
        mkdir -p "$dir/keys" "$dir/state/policy"
        (
                cd "$dir"
                for role in policy catalogue; do
                        "$cli" key new "$role" && mv "$role.pub" keys/
                done
                "$cli" catalogue build -o catalogue.ini --version bench --serial 1 --key catalogue.key "$2"
                cp "$here/../../rules/policies/sample.ini" policy.ini
                "$cli" policy sign policy.ini --key policy.key
                cp policy.ini state/policy/current.ini
                cp policy.ini.minisig state/policy/current.ini.minisig
        ) </dev/null >"$dir/log" 2>&1 || { cat "$dir/log" >&2; return 1; }
        cat >"$dir/agent.ini" <<EOT
[agent]
device = bench
state = $dir/state
runtime = $dir/run
keys = $dir/keys
catalogue = $dir/catalogue.ini
bpffs = $base/bpf/$1
cgroup = $cgroup
[browser]
manage = no
root = $dir
EOT
}

# 200 channels of 50 prefixes, 20 names and two programs each.
make_channels() {
        local c i
        mkdir "$1"
        for c in $(seq 1 198); do
                {
                        printf '[channel]\nid = c%03d\nname = Channel %d\ncategory = messenger\nvendor = Bench\n' "$c" "$c"
                        printf 'homepage = https://c%d.example\nchecked = 2026-11-21\nsource = https://c%d.example\n[names]\n' "$c" "$c"
                        for i in $(seq 20); do printf 'suffix = n%d.c%d.example\n' "$i" "$c"; done
                        echo '[addresses]'
                        for i in $(seq 51); do printf 'prefix = 11.%d.%d.0/25\n' "$c" $((i * 2)); done
                        printf '[programs]\nname = c%d-desktop\nname = c%d-client\n' "$c" "$c"
                } >"$1/c$(printf %03d "$c").ini"
        done
        cp "$here"/../../rules/channels/{teams,slack}.ini "$1" # which the sample policy names
}

in_cgroup() {
        sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$cgroup" "$@"
}

bench_nft() {
        "$build/tests/bench/bench-nft"
}
bench_rules() {
        "$build/cli/onchannel" catalogue build -o "$base/catalogue.ini" --version bench --serial 1 "$here/../../rules/channels" >/dev/null
        "$build/tests/bench/bench-rules" "$base/catalogue.ini" "$here/../../rules/policies/sample.ini"
}
bench_agent() {
        make_world
        make_agent agent "$here/../../rules/channels"
        in_cgroup "$build/tests/bench/bench-agent" ratios "$build/agent/onchanneld" "$base/agent/agent.ini" "$address" "$cgroup" \
                2>"$base/log" ||
                { tail -20 "$base/log" >&2; return 1; }
}
bench_reload() {
        make_channels "$base/channels"
        make_agent big "$base/channels"
        in_cgroup "$build/tests/bench/bench-agent" reload "$build/agent/onchanneld" "$base/big/agent.ini" "$base/big/run/control.sock" \
                2>"$base/log" || { tail -20 "$base/log" >&2; return 1; }
}

# The same while probers send to the blocked addresses; two catalogues, whose tables are not the same.
bench_gap() {
        local dir=$base/gap
        [ -n "$world" ] || make_world
        ip route add 11.0.0.0/8 via "$address"
        [ -d "$base/channels" ] || make_channels "$base/channels"
        make_agent gap "$base/channels"
        mkdir "$dir/a" "$dir/b"
        mv "$dir"/catalogue.ini* "$dir/a"
        sed -i '/^\[addresses\]/a prefix = 12.0.0.0/25' "$base/channels/c001.ini"
        (cd "$dir" && "$build/cli/onchannel" catalogue build -o b/catalogue.ini --version bench --serial 1 --key catalogue.key "$base/channels") \
                </dev/null >"$dir/log" 2>&1
        ln -s a "$dir/now"
        sed -i "s|^catalogue = .*|catalogue = $dir/now/catalogue.ini|" "$dir/agent.ini"
        in_cgroup "$build/tests/bench/bench-agent" gap "$build/agent/onchanneld" "$dir/agent.ini" "$dir/run/control.sock" "$cgroup" "$dir/now" \
                laptop 2>"$base/log" || { tail -20 "$base/log" >&2; return 1; }
}
bench_names() {
        "$build/tests/bench/bench-names" "$base/bpf/names" "$cgroup"
}

bench_collector() {
        local store
        for store in sqlite postgres; do
                "$build/tests/bench/collector/bench-ingest" "$build/collector/onchannel-collector" $store 8 40 2>"$base/log" ||
                        { tail -20 "$base/log" >&2; return 1; }
        done
}

bench_fleet() {
        printf '[policy]\n' >"$base/policy.ini"
        printf 'untrusted comment: signature\nRUQ=\ntrusted comment: onchannel policy serial=1\nAAAA\n' >"$base/policy.ini.minisig"
        "$build/tests/bench/collector/bench-fleet" "$build/collector/onchannel-collector" sqlite "$base/policy.ini" 2>"$base/log" ||
                { tail -20 "$base/log" >&2; return 1; }
}
bench_page() {
        local store
        for store in sqlite postgres; do
                TMPDIR=/var/tmp "$build/tests/bench/collector/bench-page" $store "${ROWS:-10000000}"
        done
}

case $name in
"") bench_nft; bench_rules; bench_names; bench_agent; bench_reload; bench_gap; bench_collector; bench_fleet ;;
nft | rules | names | agent | reload | gap | collector | fleet | page) "bench_$name" ;;
*) echo "run.sh: no benchmark '$name': nft, rules, names, agent, reload, gap, collector, fleet, page" >&2; exit 2 ;;
esac
