/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a database says of a rollout: bounded, or refused. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/api/offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = strndup((const char *)data, size);
        _cleanup_(rollout_done) struct rollout x = {0};

        if (text && rollout_parse(text, &x) == 0 && x.n_patterns > ROLLOUT_PATTERNS_MAX)
                abort();
        return 0;
}
