/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/runtime.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"

int runtime_names(const struct stored *policy, const struct exemptions *x, struct accounts_names *ret)
{
        const struct policy *p = policy ? policy->policy : NULL;
        int r = 0;

        for (size_t i = 0; p && i < p->n_groups && r >= 0; i++)
                r = accounts_names_add(ret, p->groups[i].users, p->groups[i].unixgroups);
        for (size_t i = 0; x && i < x->n && r >= 0; i++)
                r = accounts_names_add(ret, x->list[i].exemption->users, x->list[i].exemption->unixgroups);
        return r;
}

int runtime_compile(const struct config *c, const struct stored *policy, const struct stored *catalogue,
                    const struct runtime_extra *x, struct ruleset **ret, struct diag *reterr)
{
        _cleanup_free_ struct rules_protected *protect = calloc(c->n_protect + 1, sizeof(*protect));
        struct policy monitored;
        struct rules_input in;

        if (!protect)
                return -ENOMEM;
        for (size_t i = 0; i < c->n_protect; i++)
                protect[i] = (struct rules_protected){.name = c->protect[i].name,
                                                      .program = c->protect[i].program,
                                                      .prefix = c->protect[i].prefix,
                                                      .why = c->protect[i].why};
        in = (struct rules_input){
                .catalogue = catalogue->catalogue,
                .own = policy ? policy->own : NULL,
                .policy = policy ? policy->policy : NULL,
                .policy_file = policy ? policy->file : NULL,
                .device = c->device,
                .tags = c->tags,
                .now = x->now,
                .users = x->accounts ? x->accounts->users : NULL,
                .n_users = x->accounts ? x->accounts->n_users : 0,
                .members = x->accounts ? x->accounts->members : NULL,
                .n_members = x->accounts ? x->accounts->n_members : 0,
                .grants = x->grants,
                .n_grants = x->n_grants,
                .canary = true,
                .protect = protect,
                .n_protect = c->n_protect,
        };
        if (in.policy && x->monitor) {
                monitored = *in.policy;
                monitored.mode = POLICY_MODE_MONITOR;
                in.policy = &monitored;
        }
        return rules_compile(&in, ret, reterr);
}

static int compile(struct runtime *rt, const struct stored *policy, const struct stored *catalogue,
                   struct ruleset **ret, struct diag *reterr)
{
        _cleanup_(accounts_names_done) struct accounts_names names = {0};
        _cleanup_free_ struct rules_grant *grants = NULL;
        struct runtime_extra x = {.now = store_time(rt->store, time(NULL))};
        int r;

        grants = exempt_grants(rt->exemptions, &x.n_grants);
        r = grants ? runtime_names(policy, rt->exemptions, &names) : -ENOMEM;
        if (r < 0)
                return r;
        x.grants = grants;
        x.monitor = exemptions_glass(rt->exemptions);
        x.accounts = accounts_ask(rt->accounts, &names);
        return runtime_compile(rt->config, policy, catalogue, &x, ret, reterr);
}

/* Facts with this generation may still be on their way. */
static void keep_previous(struct runtime *rt, struct ruleset *r, uint32_t generation)
{
        ruleset_free(rt->previous);
        rt->previous = r;
        rt->previous_generation = generation;
}

static int apply_both(struct runtime *rt, struct ruleset *next, uint32_t generation, struct diag *reterr)
{
        int r;

        r = watch_apply(rt->watch, next, generation);
        if (r < 0)
                return diag_set(reterr, r, "eBPF maps", 0, "%s", strerror(-r));
        r = watch_walk_sockets(rt->watch); /* before nftables resets what then has no owner any more */
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot judge open connections, ignoring");
        return nft_apply(rt->nft, next, reterr);
}

/* The eBPF maps may hold `next` already: put the rule set in force back. */
static int go_back(struct runtime *rt, struct ruleset *next, uint32_t generation)
{
        int r = 0;

        keep_previous(rt, next, generation);
        rt->same_numbers_since = generation + 1; /* `next` may number channels differently */
        if (!rt->current)
                return 0;
        r = watch_apply(rt->watch, rt->current, rt->generation);
        if (r < 0)
                log_errno(LOG_CRIT, r, "cannot go back to the previous rule set");
        else
                log_line(LOG_ERR, "went back to the previous rule set");
        return r;
}

/* Numbers follow from the ids: of the catalogue, and of the channels that a policy brings along. */
static void take_numbers(struct runtime *rt, const struct stored *policy, const struct stored *catalogue)
{
        uint8_t hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256_state s;
        char text[STORE_HASH_TEXT];

        strcpy(text, catalogue->hash);
        if (policy && policy->own) {
                crypto_hash_sha256_init(&s);
                crypto_hash_sha256_update(&s, (const uint8_t *)catalogue->hash, sizeof(catalogue->hash));
                crypto_hash_sha256_update(&s, (const uint8_t *)policy->hash, sizeof(policy->hash));
                crypto_hash_sha256_final(&s, hash);
                hex_encode(hash, sizeof(hash), text);
        }
        if (strcmp(rt->lastrun.catalogue_hash, text)) {
                rt->same_numbers_since = rt->generation;
                strcpy(rt->lastrun.catalogue_hash, text);
        }
        rt->lastrun.generation = rt->generation;
        rt->lastrun.same_numbers_since = rt->same_numbers_since;
}

int runtime_apply(struct runtime *rt, const struct stored *policy, const struct stored *catalogue,
                  struct diag *reterr)
{
        _cleanup_ruleset_ struct ruleset *next = NULL;
        uint32_t generation = rt->last_generation + 1;
        int r;

        r = compile(rt, policy, catalogue, &next, reterr);
        if (r < 0)
                return r;
        rt->last_generation = generation;
        r = apply_both(rt, next, generation, reterr);
        if (r < 0) {
                go_back(rt, TAKE_PTR(next), generation);
                return r;
        }
        keep_previous(rt, rt->current, rt->generation);
        rt->current = TAKE_PTR(next);
        rt->generation = generation;
        r = identify_set_rules(rt->identify, rt->current);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot look at the installed programs: copies of them go unrecognised");
        take_numbers(rt, policy, catalogue);
        lastrun_stamp(&rt->lastrun);
        r = lastrun_write(rt->config->state, &rt->lastrun);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot write '%s/last-run', ignoring", rt->config->state);
        return 0;
}

const struct ruleset *runtime_ruleset(const struct runtime *rt, uint32_t generation)
{
        if (generation == rt->generation)
                return rt->current;
        if (rt->previous && generation == rt->previous_generation)
                return rt->previous;
        /* numbers follow from ids: a policy without channels of its own means the same by them */
        if (generation >= rt->same_numbers_since && generation <= rt->last_generation)
                return rt->current;
        return NULL;
}
