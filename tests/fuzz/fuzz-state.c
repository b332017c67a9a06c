/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The files that the agent keeps for itself, damaged by whoever can: what ran last, a serial, what is left of exemptions. Refused
 * with a reason, or bounded. */
#include <string.h>
#include "agent/state/exemptions.h"
#include "agent/state/lastrun.h"
#include "agent/state/store.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char *const names[] = {"policy", "exemptions", "last-run", "policy/serial", "exemptions/ledger"};
        struct exemptions_options o = {.state_dir = folder, .device_name = "d", .device_id = "d-1", .boot_id = "b"};
        struct store_options s = {.state_dir = folder, .keys_dir = folder, .catalogue = "/nonexistent"};
        struct exemptions *x = NULL;
        struct store *store = NULL;
        struct lastrun l = {0};
        struct diag d[2] = {0};
        bool new = folder_make();
        char path[64];

        for (size_t i = new ? 0 : 2; i < ELEMENTSOF(names); i++)
                if (folder_path(names[i], i < 2, path) && i >= 2 && file_write_atomic(path, data, size, 0600) < 0)
                        abort();
        if ((lastrun_read(folder, &l) == 0 && strlen(l.boot_id) > 36) ||
            (store_new(&s, &store, &d[0]) < 0 && !*d[0].text) || (exemptions_new(&o, &x, &d[1]) < 0 && !*d[1].text) ||
            (x && exemptions_save(x) < 0))
                abort();
        store_free(store);
        exemptions_free(x);
        return 0;
}
