/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The input as a built catalogue, and as a channel file: what parses must survive a build. */
#include <stdint.h>
#include <string.h>
#include "base/cleanup.h"
#include "catalogue/catalogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct catalogue_source source = {"fuzz.ini", (const char *)data, size};
        _cleanup_catalogue_ struct catalogue *built = NULL, *before = NULL, *after = NULL, *own = NULL;
        _cleanup_free_ char *text = NULL;
        size_t text_size;
        struct diag d;
        catalogue_parse_built((const char *)data, size, "built.ini", &built, &d);
        catalogue_parse_own((const char *)data, size, "policy.ini", &own, &d);
        if (catalogue_parse_files(&source, 1, &before, &d) < 0)
                return 0;
        if (catalogue_build(&source, 1, "1.0", 1, &text, &text_size, &d) < 0 ||
            catalogue_parse_built(text, text_size, "built.ini", &after, &d) < 0 || after->n_channels != 1 ||
            after->channels[0].n_entries != before->channels[0].n_entries)
                abort();
        for (size_t i = 0; i < before->channels[0].n_entries; i++) {
                const struct entry *a = &before->channels[0].entries[i], *b = &after->channels[0].entries[i];
                if (a->kind != b->kind || a->line != b->line || strcmp(a->value, b->value) != 0)
                        abort();
        }
        return 0;
}
