/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Who somebody is outside of user namespaces: there people have other uids as well (subuid(5)). */
#include "bpf/kernel.h"

#define USER_NS_LEVELS_MAX 33 /* create_user_ns() (Linux 4.9) */

/* Who made the outermost of these namespaces; 0: root, who makes them for others, so that uids within say who it is. */
static __always_inline __u32 outermost_owner(struct user_namespace *ns)
{
#pragma clang loop unroll(disable)
        for (int i = 0; i < USER_NS_LEVELS_MAX && BPF_CORE_READ(ns, level) > 1; i++)
                ns = BPF_CORE_READ(ns, parent);
        return BPF_CORE_READ(ns, owner.val);
}

static __always_inline __u32 person_of(struct task_struct *task)
{
        const struct cred *cred = task->cred;
        __u32 uid = cred->uid.val, owner;

        if (cred->user_ns->level == 0)
                return uid;
        owner = outermost_owner(cred->user_ns);
        return owner ? owner : uid;
}
