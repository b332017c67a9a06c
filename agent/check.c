/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `onchanneld --check`: would the agent start, and with what? */
#include "agent/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/runtime.h"
#include "base/log.h"

/* Without exemptions: they only open. */
static int compile_as_agent(const struct config *c, const struct stored *policy, const struct stored *catalogue,
                            struct ruleset **ret, struct diag *reterr)
{
        _cleanup_(accounts_names_done) struct accounts_names names = {0};
        struct accounts_answer *answer = NULL;
        struct runtime_extra x = {.now = trust_time(ONCHANNEL_BUILT, policy ? policy->signed_at : 0, time(NULL))};
        int r;

        r = runtime_names(policy, NULL, &names);
        if (r >= 0)
                r = accounts_resolve(&names, NULL, 0, &answer);
        x.accounts = answer;
        if (r >= 0)
                r = runtime_compile(c, policy, catalogue, &x, ret, reterr);
        accounts_answer_free(answer);
        return r;
}

int daemon_check(const struct config *c)
{
        struct store_options o = {.state_dir = c->state,
                                  .keys_dir = c->keys,
                                  .catalogue = c->catalogue,
                                  .built = ONCHANNEL_BUILT,
                                  .signatures = c->signatures,
                                  .read_only = true};
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct stored *policy = NULL, *catalogue = NULL;
        _cleanup_ruleset_ struct ruleset *rules = NULL;
        _cleanup_store_ struct store *store = NULL;
        struct diag d = {0};
        int r;

        r = store_new(&o, &store, &d);
        if (r >= 0)
                r = store_load_catalogue(store, &catalogue, &d);
        if (r >= 0 && *d.text)
                log_line(LOG_WARNING, "passed over: %s", diag_format(&d, where, sizeof(where)));
        if (r >= 0) {
                r = store_load_policy(store, &policy, &d);
                if (r == -ENOENT)
                        r = 0;
        }
        if (r >= 0)
                r = compile_as_agent(c, policy, catalogue, &rules, &d);
        if (r < 0) {
                log_line(LOG_ERR, "%s", *d.text ? diag_format(&d, where, sizeof(where)) : strerror(-r));
                return r;
        }
        if (!policy)
                log_line(LOG_WARNING, "there is no policy: the agent would only watch");
        puts("configuration OK");
        return 0;
}
