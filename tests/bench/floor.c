/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "floor.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include "agent.h"
#include "base/cleanup.h"

static const struct hook {
        enum bpf_prog_type type;
        enum bpf_attach_type attach;
        const char *tracepoint;
        int verdict;
} hooks[FLOOR_HOOKS] = {
        {BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, NULL, 1},
        {BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS, NULL, 1},
        {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, NULL, 1},
        {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT, NULL, 1},
        {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG, NULL, 1},
        {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG, NULL, 1},
        {BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, "sched_process_exec", 0},
        {BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, "sched_process_fork", 0},
        {BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, "sched_process_exit", 0},
};

static int attach_empty(const struct hook *h, int cgroup)
{
        const struct bpf_insn code[] = {
                {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = h->verdict},
                {.code = BPF_JMP | BPF_EXIT},
        };
        LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = h->attach);
        _cleanup_fd_ int program = -1;
        int link;

        if (h->tracepoint)
                o.attach_btf_id = (uint32_t)libbpf_find_vmlinux_btf_id(h->tracepoint, h->attach);
        program = bpf_prog_load(h->type, "empty", "GPL", code, ELEMENTSOF(code), &o);
        if (program < 0)
                die("bpf_prog_load");
        link = bpf_link_create(program, h->tracepoint ? 0 : cgroup, h->attach, NULL);
        if (link < 0)
                die("bpf_link_create");
        return link;
}

void floor_start(struct empty_hooks *f, const char *cgroup, const char *table)
{
        char command[4096] = "nft 'add table inet onchannel;"
                             " add chain inet onchannel output { type filter hook output priority 0; }'";
        _cleanup_fd_ int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                die(cgroup);
        for (f->n = 0; f->n < FLOOR_HOOKS; f->n++)
                f->links[f->n] = attach_empty(&hooks[f->n], fd);
        if (table)
                snprintf(command, sizeof(command), "nft -f '%s'", table);
        if (system(command))
                die(command);
}

void floor_stop(struct empty_hooks *f)
{
        while (f->n > 0)
                fd_close(&f->links[--f->n]);
        if (system("nft delete table inet onchannel"))
                die("nft");
}
