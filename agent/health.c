/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/runtime.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define USEC_PER_SEC        1000000ull
#define RESTORES_PER_SECOND 20
#define TAMPER_EVERY_US     (60 * USEC_PER_SEC) /* of one kind */
#define SETTLE_AGAIN_US     USEC_PER_SEC
#define SLEEP_MIN_MS        1000

void health_tamper(struct runtime *rt, enum tamper kind, const char *what, enum outcome outcome)
{
        uint64_t now = clock_ns(CLOCK_MONOTONIC) / 1000, *last = &rt->tamper_reported_us[kind];
        int r;

        rt->counters.restored++;
        log_line(LOG_WARNING, "%s", what);
        if (*last && now - *last < TAMPER_EVERY_US)
                return; /* the count in status goes on */
        *last = now;
        r = report_tamper(rt->report, what, outcome);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot record tampering");
}

static int on_settle(sd_event_source *s, uint64_t usec, void *userdata);

static void settle_in(struct runtime *rt, uint64_t usec)
{
        int r;

        rt->is_table_settled = false;
        if (!rt->on_settle)
                r = sd_event_add_time_relative(rt->event, &rt->on_settle, CLOCK_MONOTONIC, usec, 0, on_settle, rt);
        else
                r = sd_event_source_set_time_relative(rt->on_settle, usec);
        if (r >= 0)
                r = sd_event_source_set_priority(rt->on_settle, PRIORITY_TELEMETRY);
        if (r >= 0)
                r = sd_event_source_set_enabled(rt->on_settle, SD_EVENT_ONESHOT);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot schedule the removal of old maps, ignoring");
}

/* Only now is the table as we want it, so its hash is the one to expect. */
static void settle_table(struct runtime *rt)
{
        int r;

        r = nft_tidy(rt->nft, rt->current);
        rt->is_table_settled = r >= 0;
        if (r < 0)
                settle_in(rt, SETTLE_AGAIN_US);
        if (r < 0 && r != -ERESTART)
                log_errno(LOG_WARNING, r, "cannot remove old maps from the nftables table, trying again");
        r = nft_hash(rt->nft, rt->table_hash);
        if (r < 0) {
                *rt->table_hash = 0;
                log_errno(LOG_WARNING, r, "cannot read the nftables table '%s' back", rt->config->table);
        }
}

static int on_settle(sd_event_source *s, uint64_t usec, void *userdata)
{
        settle_table(userdata);
        return 0;
}

static void restore_table(struct runtime *rt)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        nft_distrust(rt->nft);
        r = nft_apply(rt->nft, rt->current, &d);
        if (r < 0) {
                log_errno(LOG_CRIT, r, "cannot restore the nftables table: %s",
                          diag_format_log(&d, where, sizeof(where)));
                health_tamper(rt, TAMPER_TABLE, "somebody changed the nftables table; it could not be restored",
                              OUTCOME_PASSED);
                return;
        }
        settle_in(rt, 0);
        health_tamper(rt, TAMPER_TABLE, "somebody changed the nftables table; it was restored", OUTCOME_DENIED);
        status_dirty(rt);
}

static int on_nft(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct runtime *rt = userdata;
        bool changed = false;
        int r;

        r = nft_monitor_read(rt->nft, &changed);
        if (r < 0 && r != -EAGAIN)
                log_errno(LOG_WARNING, r, "cannot read nftables events, ignoring");
        if (changed)
                restore_table(rt);
        return 0;
}

static void check_table(struct runtime *rt)
{
        char live[65] = "";
        int r;

        if (!rt->is_table_settled) {
                settle_table(rt);
                return;
        }
        r = nft_hash(rt->nft, live);
        if (r < 0 && r != -ENOENT) {
                log_errno(LOG_WARNING, r, "cannot read the nftables table '%s' back", rt->config->table);
                rt->self_test_passed = false;
        } else if (strcmp(live, rt->table_hash)) {
                rt->self_test_passed = false;
                restore_table(rt);
                settle_table(rt);
        }
}

void health_check_sensors(struct runtime *rt)
{
        char what[256] = "", text[320];
        int r;

        r = watch_verify(rt->watch, what, sizeof(what));
        if (r >= 0)
                return;
        rt->self_test_passed = false;
        r = r == -EUCLEAN ? watch_apply(rt->watch, rt->current, rt->generation) : watch_attach(rt->watch);
        snprintf(text, sizeof(text), "somebody interfered with the sensors (%s); %s", what,
                 r < 0 ? "it was not possible to repair them" : "they were repaired");
        health_tamper(rt, TAMPER_SENSORS, text, r < 0 ? OUTCOME_PASSED : OUTCOME_DENIED);
        status_dirty(rt);
}

void health_check_sleep(struct runtime *rt)
{
        uint64_t all_ms = clock_slept_ms(), slept_ms = all_ms - rt->slept_told_ms;
        char text[96];

        if (all_ms < rt->slept_told_ms + SLEEP_MIN_MS)
                return;
        rt->slept_told_ms = all_ms;
        rt->slept_ms += slept_ms;
        snprintf(text, sizeof(text), "the machine slept for %" PRIu64 " s", slept_ms / 1000);
        log_line(LOG_INFO, "%s", text);
        health_coverage(rt, COVERAGE_SLEEP, slept_ms, text);
}

void health_coverage(struct runtime *rt, enum coverage_event event, uint64_t gap_ms, const char *detail)
{
        struct coverage c = {.event = event, .mode = "none", .gap_ms = gap_ms, .detail = detail};
        const struct stored *p = rt->store ? rt->store->policy : NULL;
        const struct held *glass = rt->exemptions ? exemptions_glass(rt->exemptions) : NULL;
        struct watch_counters counters = {0};
        char browsers[BROWSERS_TEXT_MAX];
        struct checkpoint seen;
        int r;

        health_check_sleep(rt); /* comes first, else what is told now follows a hole */
        if (p) {
                c.mode = policy_mode_to_string(rt->current ? rt->current->mode : p->policy->mode);
                c.policy_expired = p->policy->expires <= store_time(rt->store, time(NULL));
        }
        if (watch_counters(rt->watch, &counters) >= 0)
                c.lost = counters.lost;
        c.heartbeat_s = rt->config->heartbeat;
        c.sensors = watch_sensors(rt->watch);
        c.browsers = browsers_describe(rt, browsers);
        c.table_hash = *rt->table_hash ? rt->table_hash : NULL;
        c.self_test_passed = rt->self_test_passed;
        c.canary = rt->canary.when ? canary_to_string(rt->canary.result) : NULL;
        if (status_seen(rt, &seen) == 0)
                c.seen = &seen;
        for (size_t i = 0; rt->exemptions && i < rt->exemptions->n; i++)
                c.exemptions += held_is_in_force(&rt->exemptions->list[i]);
        c.break_glass = glass ? glass->exemption->id : NULL;
        c.cause = event == COVERAGE_START ? rt->cause : NULL;
        r = report_coverage(rt->report, &c);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot record coverage");
}

/* After the sensors were looked at and repaired. */
static void check_canary(struct runtime *rt)
{
        if (canary_probe(rt) != CANARY_PASSED)
                return;
        rt->self_test_passed = false;
        health_tamper(rt, TAMPER_SENSORS, "a name that must be blocked got through: blocking does not work",
                      OUTCOME_PASSED);
}

int health_self_test(struct runtime *rt, struct diag *reterr)
{
        char what[256] = "", hash[65];
        int r;

        if (canary_probe(rt) == CANARY_PASSED)
                return diag_set(reterr, -EIO, NULL, 0, "self-test failed: a name that must be blocked got through");
        r = watch_verify(rt->watch, what, sizeof(what));
        if (r < 0)
                return diag_set(reterr, -EIO, NULL, 0, "self-test failed: %s", what);
        r = nft_hash(rt->nft, hash);
        return r < 0 ? diag_set(reterr, -EIO, NULL, 0, "self-test failed: the nftables table cannot be read back: %s",
                                strerror(-r))
                     : 0;
}

static int on_applied(sd_event_source *s, void *userdata)
{
        struct runtime *rt = userdata;

        browsers_apply(rt);
        settle_table(rt);
        rt->self_test_passed = *rt->table_hash != 0;
        health_check_sensors(rt);
        if (rt->canary.generation != rt->generation || rt->canary.result != CANARY_BLOCKED)
                check_canary(rt);
        health_coverage(rt, COVERAGE_POLICY, 0, rt->coverage_detail);
        status_dirty(rt);
        malloc_trim(0); /* loading left megabytes behind */
        return 0;
}

void health_applied(struct runtime *rt, const char *detail)
{
        int r;

        rt->coverage_detail = detail;
        rt->is_table_settled = false;
        if (rt->on_applied) {
                sd_event_source_set_enabled(rt->on_applied, SD_EVENT_ONESHOT);
                return;
        }
        r = sd_event_add_defer(rt->event, &rt->on_applied, on_applied, rt);
        if (r < 0) {
                log_errno(LOG_ERR, r, "cannot schedule the check of what was applied");
                return;
        }
        sd_event_source_set_priority(rt->on_applied, PRIORITY_TELEMETRY);
}

static int on_heartbeat(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct runtime *rt = userdata;
        int r;

        rt->self_test_passed = true;
        check_table(rt);
        health_check_sensors(rt);
        check_canary(rt);
        if (rt->went_back && rt->canary.result == CANARY_BLOCKED)
                reload_retry(rt);
        browsers_apply(rt);
        exempt_tick(rt);
        health_coverage(rt, COVERAGE_HEARTBEAT, 0, NULL);
        status_dirty(rt);
        lastrun_stamp(&rt->lastrun);
        r = lastrun_write(rt->config->state, &rt->lastrun);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot write '%s/last-run', ignoring", rt->config->state);
        sd_event_source_set_time_relative(s, rt->config->heartbeat * USEC_PER_SEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int add_monitor(struct runtime *rt)
{
        sd_event_source *s;
        int fd, r;

        fd = nft_monitor_fd(rt->nft);
        if (fd < 0)
                return log_errno(LOG_ERR, fd, "cannot listen to nftables changes");
        r = sd_event_add_io(rt->event, &s, fd, EPOLLIN, on_nft, rt);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot listen to nftables changes");
        sd_event_source_set_priority(s, PRIORITY_ENFORCEMENT);
        sd_event_source_set_ratelimit(s, USEC_PER_SEC, RESTORES_PER_SECOND);
        sd_event_source_set_floating(s, true);
        sd_event_source_unref(s);
        return 0;
}

int health_start(struct runtime *rt)
{
        int r;

        r = add_monitor(rt);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(rt->event, &rt->on_heartbeat, CLOCK_BOOTTIME,
                                       rt->config->heartbeat * USEC_PER_SEC, USEC_PER_SEC, on_heartbeat, rt);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot add the heartbeat");
        return sd_event_source_set_priority(rt->on_heartbeat, PRIORITY_TELEMETRY);
}
