/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/command.h"

static void state_print(const struct forward_config *c, const struct forward_state *s)
{
        char when[TIME_TEXT_MAX];

        printf("%s: %llu sent, %llu refused, %llu behind\n  to %s\n", c->name, (unsigned long long)s->sent,
               (unsigned long long)s->refused, (unsigned long long)s->behind, c->url);
        if (s->sent_ms)
                printf("  latest at %s\n", time_format((time_t)(s->sent_ms / 1000), when));
        if (*s->problem)
                printf("  since %s: %s\n", time_format((time_t)(s->problem_ms / 1000), when), s->problem);
}

int command_forward(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        bool failing = false;
        int r;

        if (argc != 2)
                return fail_usage("forward needs one folder");
        r = collector_open(argv[1], &config, &s);
        if (r != EXIT_SUCCESS)
                return r;
        if (config.forward.n == 0)
                printf("Nothing is forwarded: %s has no [forward NAME].\n", config.ini);
        for (size_t i = 0; i < config.forward.n; i++) {
                struct forward_state state;

                r = forward_state_get(store_reader(s), config.forward.items[i].name, &state);
                if (r < 0)
                        return fail_with("cannot read the database: %s", db_error(store_reader(s)));
                state_print(&config.forward.items[i], &state);
                failing |= *state.problem;
        }
        return failing ? EXIT_FAILURE : EXIT_SUCCESS;
}
