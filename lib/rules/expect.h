/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A table of what a policy is meant to do, one expectation a line: onchannel-policy(5),
 * EXPECTATIONS. Owns its strings. */
#include "rules/rules.h"

#define EXPECT_MAX_BYTES (1u << 20)

struct expectation {
        const char *device; /* NULL: one of no group */
        const char *user; /* NULL: one of no group */
        const char *subject; /* domain name, address, path or program */
        enum verdict verdict;
        unsigned line;
};

struct expectations {
        struct expectation *list;
        size_t n;
        char *text; /* that the strings point into */
};

void expectations_done(struct expectations *e);
#define _cleanup_expectations_ _cleanup_(expectations_done)

/* -EBADMSG malformed or empty, -E2BIG over EXPECT_MAX_BYTES. */
int expectations_parse(const char *text, size_t size, const char *file, struct expectations *ret,
                       struct diag *reterr);
