/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An accepted policy holds what the compiler relies on; a refused one says why. */
#include "base/cleanup.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_free_ char *comment = NULL;
        struct diag d = {0};

        if (policy_parse((const char *)data, size, "f", &p, &d) < 0) {
                if (p || !d.text[0])
                        abort();
                return 0;
        }
        if (!p->organisation || p->serial == 0 || p->expires <= p->not_before || p->programs == VERDICT_ALLOW)
                abort();
        for (size_t i = 0; i < p->n_channels; i++)
                if (!p->channels[i].id || p->channels[i].verdict >= _VERDICT_MAX)
                        abort();
        if (policy_comment_new(p, &comment) < 0 || policy_comment_check(p, comment, "f", NULL) < 0)
                abort();
        return 0;
}
