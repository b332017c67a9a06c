/* SPDX-License-Identifier: GPL-3.0-or-later */
/* migrate: what an administrator does to the database as a whole. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/command.h"

int command_migrate(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct diag d = {0};
        int r;

        if (argc != 2)
                return fail_usage("migrate needs one folder");
        r = config_load(argv[1], &config, &d);
        if (r == 0)
                r = store_open(config.store, STORE_MIGRATE, &s, &d);
        if (r < 0)
                return fail(&d);
        printf("The database is up to date.\n");
        return EXIT_SUCCESS;
}
