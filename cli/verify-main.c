/* SPDX-License-Identifier: GPL-3.0-or-later */
/* onchannel-verify: `onchannel evidence verify` for bundles alone, linked statically, so that an auditor can take one
 * file to a machine of their own. */
#include <sodium.h>
#include <string.h>

#include "cli/bundle.h"

static const char usage[] =
        "Usage: onchannel-verify BUNDLE [--log-key KEY|FILE] [--witness KEY|FILE] [--heartbeat SECONDS] [--json]\n"
        "Checks an evidence bundle of an onchannel collector, offline. KEY is a verifier key, NAME+ID+KEY.\n"
        "Exit status: 0 everything holds, 1 something is broken or missing, 2 usage.\n";

static int run(struct cli *c, int argc, char **argv)
{
        struct bundle_arguments a = {0};
        const struct cli_option options[] = {BUNDLE_OPTIONS(a), {0}};
        struct verify_options o;
        int r = cli_options(c, options, &argc, &argv);

        if (r < 0 || argc != 1)
                return cli_usage(c, r);
        r = bundle_options(c, &a, &o);
        return r == STATUS_OK ? bundle_verify(c, argv[0], &o) : r;
}

int main(int argc, char **argv)
{
        struct cli c = {.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), .usage = usage};

        return sodium_init() < 0 ? STATUS_FAILED : run(&c, argc, argv);
}
