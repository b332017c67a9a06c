/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The head of a TCP stream in one segment, read from a copy since its sender can still change the original. Pure. */
#include <stddef.h>
#include "rules/rules.h"

enum head {
        HEAD_PASSES, /* it begins nothing that says a host, or with hosts that this user may reach */
        HEAD_REQUESTS, /* the same; requests without a body, behind which others may come */
        HEAD_BLOCKED, /* *ret_entry is the entry of a blocked channel */
        HEAD_UNREAD, /* it goes on elsewhere, or is of a kind that nobody sends in this way */
        _HEAD_MAX,
};

enum head head_read(const struct ruleset *rs, uid_t uid, const uint8_t *data, size_t size, uint32_t *ret_entry);
