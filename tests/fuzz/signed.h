/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The whole way of a signed file, as the agent and the collector go it: signatures, order, text, comment, hand-over.
 * Returns 0 and what it was signed as, or a negative errno and the reason. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "catalogue/catalogue.h"
#include "policy/exemption.h"
#include "policy/policy.h"

static inline int signed_policy(struct trust_ring *ring, const struct trust_file *f, const char *comment,
                                struct diag *d)
{
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_catalogue_ struct catalogue *own = NULL;
        int r = policy_parse(f->data, f->size, f->name, &p, d);

        if (r >= 0)
                r = catalogue_parse_own(f->data, f->size, f->name, &own, d);
        if (r >= 0)
                r = policy_comment_check(p, comment, f->name, d);
        return r < 0 ? r : policy_hand_over(p, ring, f->name, d);
}

static inline int signed_check(struct trust_ring *ring, enum trust_role role, const struct trust_file *f,
                               struct trust_verdict *v, struct diag *d)
{
        _cleanup_catalogue_ struct catalogue *c = NULL;
        _cleanup_exemption_ struct exemption *e = NULL;
        int r = trust_ring_verify(ring, role, f, 1795258800, v, d);

        if (r < 0)
                return r;
        switch (role) {
        case TRUST_ROLE_POLICY:
                return signed_policy(ring, f, v->comment, d);
        case TRUST_ROLE_CATALOGUE:
                return catalogue_parse_built(f->data, f->size, f->name, &c, d);
        case TRUST_ROLE_EXEMPTION:
                r = exemption_parse(f->data, f->size, f->name, &e, d);
                return r < 0 ? r : exemption_comment_check(e, v->comment, f->name, d);
        case _TRUST_ROLE_MAX:
                break;
        }
        return -EINVAL;
}
