/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The keys of a policy in one table: the parser reads by it, `policy keys` prints it, `policy new`
 * and `policy diff` walk it, and onchannel-policy(5) is tested against it. */
#include "policy/policy.h"

#define POLICY_VALUE_MAX 192 /* of a value's text with its NUL; a line has at most INI_LINE_MAX bytes */

enum policy_section {
        POLICY_SECTION_POLICY,
        POLICY_SECTION_GROUP,
        POLICY_SECTION_CHANNEL,
        POLICY_SECTION_TRUST,
        _POLICY_SECTION_MAX,
};
const char *policy_section_to_string(enum policy_section s); /* "[group NAME]" */

enum policy_type {
        POLICY_TYPE_FORMAT,
        POLICY_TYPE_SERIAL,
        POLICY_TYPE_TEXT,
        POLICY_TYPE_TIME,
        POLICY_TYPE_URL,
        POLICY_TYPE_CHOICE,
        POLICY_TYPE_PATTERN,
        POLICY_TYPE_LOGIN,
        POLICY_TYPE_GROUP,
        POLICY_TYPE_KEY,
        POLICY_TYPE_KEY_ID,
        POLICY_TYPE_ID,
        POLICY_TYPE_COUNT,
        _POLICY_TYPE_MAX,
};
const char *policy_type_to_string(enum policy_type t); /* "login name" */

enum policy_key_flags {
        POLICY_KEY_REQUIRED = 1 << 0,
        POLICY_KEY_REPEATED = 1 << 1, /* each line adds one; the value is a char ** */
};

struct policy_choice {
        const char *what; /* "verdict" */
        const char *const *words; /* word i stands for the enum's value first + i */
        unsigned n;
        unsigned first;
};

struct policy_key {
        enum policy_section section;
        enum policy_type type;
        const char *name;
        size_t offset; /* of the value in struct policy (also [trust]), policy_group or policy_channel */
        unsigned flags;
        const struct policy_choice *choice; /* POLICY_TYPE_CHOICE */
        const char *standard; /* what an absent key means, as it would be written; NULL: nothing */
        const char *meaning; /* one sentence */
        const char *example;
};

/* In the order in which a policy is written; ends by a NULL name. */
extern const struct policy_key policy_keys[];
const struct policy_key *policy_key_find(enum policy_section s, const char *name);
/* "block, watch or allow" */
const char *policy_choice_format(const struct policy_choice *c, char buf[static POLICY_VALUE_MAX]);
/* The value as it would be written, from a struct policy, policy_group or policy_channel; NULL
 * when it is absent or the key is repeated. */
const char *policy_key_format(const struct policy_key *k, const void *section, char buf[static POLICY_VALUE_MAX]);
