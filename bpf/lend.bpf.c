// SPDX-License-Identifier: GPL-2.0-or-later
/* Who lends memory by vmsplice(2), the one way for a driver's into a stream that does not tell it from the kernel's own. What
 * exactly is lent could be changed until the kernel looks. */
#include "bpf/maps.h"
#include "bpf/person.h"

static __always_inline int lends(void)
{
        __u32 uid = person_of(bpf_get_current_task_btf());
        __u8 yes = 1;

        bpf_map_update_elem(&oc_lenders, &uid, &yes, BPF_ANY);
        return 0;
}

SEC("fentry/__x64_sys_vmsplice")
int BPF_PROG(oc_lend)
{
        return lends();
}

SEC("fentry/__ia32_sys_vmsplice")
int BPF_PROG(oc_lend32)
{
        return lends();
}

char LICENSE[] SEC("license") = "GPL";
