/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is accepted can be asked of the matcher; what is refused says why. */
#include "base/cleanup.h"
#include "rules/expect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_expectations_ struct expectations e = {0};
        struct diag d = {0};

        if (expectations_parse((const char *)data, size, "f", &e, &d) < 0) {
                if (e.list || !d.text[0])
                        abort();
                return 0;
        }
        if (e.n == 0)
                abort();
        for (size_t i = 0; i < e.n; i++)
                if (!*e.list[i].subject || e.list[i].verdict >= _VERDICT_MAX || e.list[i].line == 0)
                        abort();
        return 0;
}
