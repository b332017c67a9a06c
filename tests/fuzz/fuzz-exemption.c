/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is accepted is bounded and is read back the same from what it is written as. */
#include <stdint.h>
#include "base/cleanup.h"
#include "policy/exemption.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_exemption_ struct exemption *e = NULL;
        _cleanup_free_ char *text = NULL, *comment = NULL;
        struct diag d = {0};

        if (exemption_parse((const char *)data, size, "f", &e, &d) < 0) {
                if (e || !d.text[0])
                        abort();
                return 0;
        }
        if (!exemption_id_is_valid(e->id) || e->until - e->from > EXEMPTION_DAYS_MAX * 86400)
                abort();
        if (exemption_format(e, &text) < 0 || exemption_comment_new(e, &comment) < 0 ||
            exemption_comment_check(e, comment, "f", NULL) < 0)
                abort();
        return 0;
}
