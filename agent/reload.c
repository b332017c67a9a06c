/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/version.h"

static void tell_report(struct runtime *rt)
{
        const struct stored *p = rt->store->policy, *c = rt->store->catalogue;
        struct record_context context = {.agent_version = onchannel_version};
        int r;

        context.device_name = rt->config->device;
        context.boot_id = rt->lastrun.boot_id;
        context.catalogue_version = c->catalogue->version;
        if (p) {
                context.policy_serial = p->serial;
                context.policy_organisation = p->policy->organisation;
                context.policy_hash = p->hash;
                context.policy_signer = p->signer;
        }
        r = report_set_policy(rt->report, &context);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot name the policy in records, ignoring");
}

static void log_in_force(const struct runtime *rt)
{
        const struct ruleset *r = rt->current;

        if (!rt->store->policy) {
                log_line(LOG_WARNING, "no policy is in force: the agent only watches (catalogue %s)",
                         r->catalogue_version ? r->catalogue_version : "?");
                if (!rt->store->keyring.installed.n_keys[TRUST_ROLE_POLICY])
                        log_line(LOG_WARNING, "'%s/policy.pub' is missing: no policy can be accepted without it",
                                 rt->config->keys);
        } else
                log_line(LOG_NOTICE, "policy %llu of '%s' is in force, mode %s (catalogue %s)",
                         (unsigned long long)r->policy_serial, r->organisation ? r->organisation : "",
                         policy_mode_to_string(r->mode), r->catalogue_version ? r->catalogue_version : "?");
        if (rt->store->policy && rt->store->policy->policy->expires <= store_time(rt->store, time(NULL)))
                log_line(LOG_WARNING, "the policy has expired; it stays in force");
}

void reload_applied(struct runtime *rt, const char *detail)
{
        tell_report(rt);
        log_in_force(rt);
        reload_schedule(rt);
        running_schedule(rt);
        health_applied(rt, detail);
}

/* Says so once for the same file and reason. */
static void refuse(struct runtime *rt, enum store_role role, const struct diag *d)
{
        struct refusal now = {.diag = *d, .when = time(NULL), .times = 1}, *last = &rt->refused[role];
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16], line[sizeof(where) + 64];

        store_hash_incoming(rt->store, role, now.hash);
        if (*last->hash && !strcmp(last->hash, now.hash) && !strcmp(last->diag.text, now.diag.text)) {
                last->when = now.when;
                last->times++;
                status_dirty(rt);
                return;
        }
        *last = now;
        if (!*last->hash)
                strcpy(last->hash, "-");
        snprintf(line, sizeof(line), "%s refused: %s", store_role_to_string(role),
                 diag_format_log(d, where, sizeof(where)));
        log_line(LOG_ERR, "%s", line);
        health_coverage(rt, COVERAGE_REFUSED, 0, line);
        status_dirty(rt);
}

static void take_accepted(struct runtime *rt, enum store_role role, struct stored *s)
{
        int r;

        rt->refused[role] = (struct refusal){0};
        r = store_commit(rt->store, s);
        if (r < 0)
                log_errno(LOG_ERR, r, "the %s is in force, but cannot be kept on disk", store_role_to_string(role));
        reload_applied(rt, role == STORE_POLICY ? "new policy" : "new catalogue");
        if (role == STORE_POLICY)
                exempt_policy_changed(rt);
}

/* What came into force does not hold up: the one before does, and the record says so. Without one before, it stays. */
static int go_back(struct runtime *rt, enum store_role role, const struct stored *failed, struct diag *d)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16], line[DIAG_TEXT_MAX + 128];
        struct diag again = {0};
        int r;

        if (role == STORE_POLICY && !rt->store->policy)
                return 0;
        r = runtime_apply(rt, rt->store->policy, rt->store->catalogue, &again);
        if (r < 0)
                log_errno(LOG_CRIT, r, "cannot go back: %s", diag_format_log(&again, where, sizeof(where)));
        else
                reload_applied(rt, "went back");
        rt->went_back = true;
        snprintf(line, sizeof(line), "%s of serial %llu: %s; %s", store_role_to_string(role),
                 (unsigned long long)failed->serial, d->text,
                 r < 0 ? "it was not possible to go back" : "the one before is in force again");
        log_line(LOG_CRIT, "%s", line);
        health_coverage(rt, COVERAGE_WENT_BACK, 0, line);
        return -EIO;
}

static int take_incoming(struct runtime *rt, enum store_role role, struct diag *reterr)
{
        struct stored *s = NULL;
        struct diag d = {0};
        int r;

        r = store_read_incoming(rt->store, role, time(NULL), &s, &d);
        if (r == -ENOENT || r == -EALREADY)
                return 0;
        if (r >= 0)
                r = runtime_apply(rt, role == STORE_POLICY ? s : rt->store->policy,
                                  role == STORE_CATALOGUE ? s : rt->store->catalogue, &d);
        if (r >= 0 && health_self_test(rt, &d) < 0)
                r = go_back(rt, role, s, &d);
        if (r >= 0) {
                take_accepted(rt, role, s);
                return 0;
        }
        stored_free(s);
        if (!*d.text)
                diag_set(&d, r, NULL, 0, "%s", strerror(-r));
        refuse(rt, role, &d);
        if (reterr)
                *reterr = d;
        return r;
}

static int take_all_incoming(struct runtime *rt, struct diag *reterr)
{
        int r, q;

        /* the catalogue first: a new policy may name a new channel */
        r = take_incoming(rt, STORE_CATALOGUE, reterr);
        q = take_incoming(rt, STORE_POLICY, reterr);
        return q < 0 ? q : r;
}

void reload_retry(struct runtime *rt)
{
        rt->went_back = false;
        take_all_incoming(rt, NULL);
}

static int open_store(const struct config *c, struct store **ret, struct diag *reterr)
{
        struct store_options o = {.state_dir = c->state,
                                  .keys_dir = c->keys,
                                  .catalogue = c->catalogue,
                                  .built = ONCHANNEL_BUILT,
                                  .signatures = c->signatures};

        return store_new(&o, ret, reterr);
}

/* A policy that was in force and cannot be any more is an incident, not a first start. */
static void lose_policy(struct runtime *rt, const struct diag *d)
{
        refuse(rt, STORE_POLICY, d);
        rt->store->policy = stored_free(rt->store->policy);
        report_tamper(rt->report, "the policy that was in force cannot be used any more", OUTCOME_PASSED);
}

/* What was in force is gone or damaged: what brought it lies in incoming/ still. Before anything else is applied, since
 * between these two nothing would be blocked. */
static int restore_policy(struct runtime *rt)
{
        int r = take_incoming(rt, STORE_POLICY, NULL);

        return r < 0 ? r : rt->store->policy != NULL;
}

static int load_store(struct runtime *rt, struct diag *reterr)
{
        struct diag passed_over = {0}, d = {0};
        struct stored *s;
        int r;

        r = store_load_catalogue(rt->store, &s, &passed_over);
        if (r < 0) {
                *reterr = passed_over;
                return r;
        }
        if (*passed_over.text)
                refuse(rt, STORE_CATALOGUE, &passed_over);
        if (rt->store->numbers_damaged)
                report_tamper(rt->report, "a serial number or time in the state folder was damaged", OUTCOME_PASSED);
        r = store_load_policy(rt->store, &s, &d);
        if (r < 0 && r != -ENOENT)
                lose_policy(rt, &d);
        return 0;
}

int reload_start(struct runtime *rt)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        r = open_store(rt->config, &rt->store, &d);
        if (r >= 0)
                r = load_store(rt, &d);
        if (r >= 0)
                r = exempt_start(rt);
        if (r >= 0 && !rt->store->policy && restore_policy(rt) > 0)
                return 0;
        if (r >= 0)
                r = runtime_apply(rt, rt->store->policy, rt->store->catalogue, &d);
        if (r < 0 && rt->store && rt->store->policy && (r == -ENOENT || r == -EPERM || r == -E2BIG)) {
                lose_policy(rt, &d);
                r = runtime_apply(rt, NULL, rt->store->catalogue, &d);
        }
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot put a rule set in force: %s",
                                 diag_format_log(&d, where, sizeof(where)));
        reload_applied(rt, "start");
        return 0;
}

/* Reads everything anew, keys and accounts included. What is in force stays when that fails. */
int reload_all(struct runtime *rt, struct diag *reterr)
{
        _cleanup_store_ struct store *fresh = NULL;
        struct diag passed_over = {0};
        struct stored *s;
        int r;

        r = open_store(rt->config, &fresh, reterr);
        if (r < 0)
                return r;
        r = store_load_catalogue(fresh, &s, &passed_over);
        if (r < 0) {
                *reterr = passed_over;
                return r;
        }
        r = store_load_policy(fresh, &s, reterr);
        if (r < 0 && r != -ENOENT)
                return r;
        r = runtime_apply(rt, fresh->policy, fresh->catalogue, reterr);
        if (r < 0)
                return r;
        store_free(rt->store);
        rt->store = TAKE_PTR(fresh);
        reload_applied(rt, "reload");
        exempt_policy_changed(rt);
        return take_all_incoming(rt, reterr);
}

static int on_incoming(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        struct runtime *rt = userdata;

        if (e->mask & IN_Q_OVERFLOW)
                take_all_incoming(rt, NULL);
        else if (e->len && !strcmp(e->name, "policy.ini"))
                take_incoming(rt, STORE_POLICY, NULL);
        else if (e->len && !strcmp(e->name, "catalogue.ini"))
                take_incoming(rt, STORE_CATALOGUE, NULL);
        return 0;
}

int reload_watch_incoming(struct runtime *rt)
{
        _cleanup_free_ char *dir = format_new("%s/incoming", rt->config->state);

        if (!dir)
                return -ENOMEM;
        guard_watch_incoming(rt, dir, on_incoming);
        take_all_incoming(rt, NULL);
        return exempt_watch(rt);
}

void reload_look(struct runtime *rt)
{
        take_all_incoming(rt, NULL);
}

static int on_change(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct runtime *rt = userdata;
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        r = runtime_apply(rt, rt->store->policy, rt->store->catalogue, &d);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot apply the policy again: %s", diag_format_log(&d, where, sizeof(where)));
        reload_applied(rt, "a date in the policy has come");
        return 0;
}

void reload_schedule(struct runtime *rt)
{
        time_t now = time(NULL), at = rt->current->next_change;
        const struct stored *p = rt->store->policy;
        int r;

        if (p && p->policy->expires > now && (at == 0 || p->policy->expires < at))
                at = p->policy->expires;
        rt->on_change = sd_event_source_disable_unref(rt->on_change);
        if (at == 0)
                return;
        if (at <= now)
                at = now + 60; /* failed just now: not in a tight loop */
        r = sd_event_add_time(rt->event, &rt->on_change, CLOCK_REALTIME, (uint64_t)at * 1000000, 1000000, on_change,
                              rt);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot wait for the policy's next date, ignoring");
}

void reload_accounts(void *userdata)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct runtime *rt = userdata;
        struct diag d = {0};
        int r;

        r = runtime_apply(rt, rt->store->policy, rt->store->catalogue, &d);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot apply who is in which group: %s",
                          diag_format_log(&d, where, sizeof(where)));
        else
                reload_applied(rt, "accounts or groups have changed");
}
