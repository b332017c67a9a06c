/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A slot is whole or refused, its texts end within it. The hash is put right, so that what is behind it is reached. */
#include <sodium.h>
#include <string.h>
#include "agent/report/journal.h"
#include "base/cleanup.h"

enum { HASH_AT = 48, FACTS_AT = 64 }; /* behind magic and counts */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ uint8_t *slot = size ? malloc(size) : NULL;
        struct journal_slot s;

        if (!slot || size <= FACTS_AT)
                return 0;
        memcpy(slot, data, size);
        crypto_generichash(slot + HASH_AT, FACTS_AT - HASH_AT, slot + FACTS_AT, size - FACTS_AT, NULL, 0);
        if (journal_slot_parse(slot, size, &s) < 0)
                return 0;
        for (size_t i = 0; i < VIOLATION_TEXTS; i++) {
                const char *text = *(const char **)((char *)&s.violation + violation_texts[i]);

                if (text && ((const uint8_t *)text < slot || (const uint8_t *)text + strlen(text) >= slot + size))
                        abort();
        }
        return 0;
}
