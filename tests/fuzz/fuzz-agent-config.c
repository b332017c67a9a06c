/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An accepted configuration is whole; a refused one says why. */
#include "agent/state/config.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_config_ struct config *c = NULL;
        struct diag d = {0};

        if (config_parse((const char *)data, size, "f", &c, &d) < 0) {
                if (c || !d.text[0])
                        abort();
                return 0;
        }
        if (!c->device || *c->state != '/' || *c->runtime != '/' || !c->table || c->heartbeat == 0 ||
            __builtin_popcount(c->mark_mask) < 10)
                abort();
        for (size_t i = 0; i < c->n_protect; i++)
                if (!c->protect[i].why || (!c->protect[i].name && c->protect[i].prefix.length > 128))
                        abort();
        return 0;
}
