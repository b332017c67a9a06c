/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One signature by one of these keys, or why not: -ENOKEY all are by others. */
#include <errno.h>
#include "trust/trust.h"

static inline int verify_one_of(const struct trust_key *keys, size_t n_keys, const struct trust_file *f,
                                struct trust_signature *ret, struct diag *reterr)
{
        struct trust_signature list[TRUST_SIGNATURES_MAX];
        uint8_t stranger[8];
        size_t n;
        int r = trust_verify(keys, n_keys, f, list, &n, stranger, reterr);

        if (r < 0 || n == 0)
                return r < 0 ? r : -ENOKEY;
        *ret = list[0];
        return 0;
}
