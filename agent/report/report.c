/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/report/report.h"
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include "agent/report/write.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "base/version.h"
#include "spool/spool.h"

#define RETRY_MS          1000
#define SYNC_US           1000000 /* attempts that a power cut may take */
#define TIMER_ACCURACY_US 10000
/* Behind enforcement and control: nothing waits for a record. */
#define PRIORITY_RECORD (SD_EVENT_PRIORITY_NORMAL + 20)
#define PRIORITY_SEAL   (SD_EVENT_PRIORITY_NORMAL + 30)

DEFINE_CLEANUP(struct report, report_free)

/* ---- timers ---- */

static int on_seal(sd_event_source *source, void *userdata)
{
        report_seal(userdata); /* what a full disk refuses now is sealed with the next record */
        return 0;
}

static int on_sync(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct report *r = userdata;

        (void)journal_sync(r->journal); /* what fails now is tried with the next attempt */
        keep_look(r);
        return 0;
}

static int arm_sync(struct report *r)
{
        int k = sd_event_source_get_enabled(r->sync, NULL);

        if (k != 0)
                return k < 0 ? k : 0;
        k = sd_event_source_set_time_relative(r->sync, SYNC_US);
        return k < 0 ? k : sd_event_source_set_enabled(r->sync, SD_EVENT_ONESHOT);
}

static int arm_timer(struct report *r)
{
        uint64_t deadline = collapse_deadline(&r->collapse);
        int k;

        if (deadline == UINT64_MAX)
                return sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
        if (deadline < r->retry_ms)
                deadline = r->retry_ms;
        k = sd_event_source_set_time(r->timer, deadline * 1000);
        if (k < 0)
                return k;
        return sd_event_source_set_enabled(r->timer, SD_EVENT_ONESHOT);
}

/* ---- life ---- */

static int open_spool(struct report *r)
{
        _cleanup_free_ char *dir = NULL;
        int k;

        dir = format_new("%s/spool", r->state_dir);
        if (!dir)
                return -ENOMEM;
        k = dir_make(dir, 0700);
        if (k < 0)
                return k;
        if (r->group >= 0 && (chown(dir, (uid_t)-1, (gid_t)r->group) < 0 || chmod(dir, 0750) < 0) && errno != EROFS)
                return -errno;
        return spool_open(&(struct spool_options){.dir = dir,
                                                  .max_bytes = r->spool_max_bytes,
                                                  .device_id = r->device_id,
                                                  .boot_id = r->boot_id,
                                                  .public_key = r->public_key,
                                                  .secret = r->secret,
                                                  .group = r->group},
                          &r->spool);
}

/* The old one stays where that fails. */
static int reopen_spool(struct report *r)
{
        struct spool *old = r->spool;
        int k;

        spool_unlock(old);
        k = open_spool(r);
        if (k < 0)
                return k;
        spool_free(old);
        (void)keep_sealed(r); /* what cannot be sealed now waits */
        return 0;
}

/* The disk was read-only when the agent started: once it is not, the spool is opened as then. */
static int take_disk(struct report *r)
{
        keep_look(r);
        return spool_is_outlived(r->spool) ? reopen_spool(r) : 0;
}

/* What was handed over is forgotten once it is sealed. */
static int seal_collected(struct report *r, uint64_t now_ms)
{
        int k = r->collapse.unsealed ? report_seal(r) : 0;

        collapse_tidy(&r->collapse, now_ms);
        return k;
}

static void flush_collected(struct report *r)
{
        collapse_flush(&r->collapse, report_write_collected, r);
        seal_collected(r, clock_monotonic_ms());
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct report *r = userdata;
        uint64_t now_ms = clock_monotonic_ms();
        int k, q;

        (void)take_disk(r); /* what waits, waits on */
        k = collapse_expire(&r->collapse, now_ms, report_write_collected, r);
        q = seal_collected(r, now_ms);
        r->retry_ms = k < 0 || q < 0 ? now_ms + RETRY_MS : 0;
        return arm_timer(r);
}

static int add_timer(struct report *r, sd_event *event, sd_event_time_handler_t handler, int priority,
                     sd_event_source **ret)
{
        int k = sd_event_add_time(event, ret, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US, handler, r);

        if (k >= 0)
                k = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
        return k < 0 ? k : sd_event_source_set_priority(*ret, priority);
}

static int add_sources(struct report *r, sd_event *event)
{
        int k = add_timer(r, event, on_timer, PRIORITY_RECORD, &r->timer);

        if (k >= 0)
                k = add_timer(r, event, on_sync, PRIORITY_SEAL, &r->sync);
        if (k >= 0)
                k = sd_event_add_defer(event, &r->seal, on_seal, r);
        if (k >= 0)
                k = sd_event_source_set_enabled(r->seal, SD_EVENT_OFF);
        return k < 0 ? k : sd_event_source_set_priority(r->seal, PRIORITY_SEAL);
}

int report_new(const struct report_options *o, sd_event *event, struct report **ret)
{
        _cleanup_(report_freep) struct report *r = NULL;
        int k;

        r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        collapse_init(&r->collapse, o->settle_ms ? o->settle_ms : REPORT_SETTLE_MS,
                      o->window_ms ? o->window_ms : REPORT_WINDOW_MS);
        r->state_dir = strdup(o->state_dir);
        r->runtime_dir = o->runtime_dir ? strdup(o->runtime_dir) : NULL;
        r->spool_max_bytes = o->spool_max_bytes;
        r->group = o->group;
        r->device_name = strdup(o->device_name);
        r->boot_id = strdup(o->boot_id);
        r->ack_path = format_new("%s/uplink/ack", o->state_dir);
        if (!r->state_dir || !r->runtime_dir != !o->runtime_dir || !r->device_name || !r->boot_id || !r->ack_path)
                return -ENOMEM;
        k = device_key_take(o->state_dir, r->public_key, r->secret, &r->is_new_device);
        if (k < 0)
                return k;
        device_id_format(r->public_key, r->device_id);
        os_release_read("/etc/os-release", r->os_name, r->os_version);
        r->context = (struct record_context){
                .device_uid = r->device_id,
                .device_name = r->device_name,
                .boot_id = r->boot_id,
                .agent_version = onchannel_version,
                .os_name = r->os_name,
                .os_version = r->os_version[0] ? r->os_version : NULL,
        };
        k = open_spool(r);
        if (k >= 0)
                k = add_sources(r, event);
        if (k >= 0)
                k = keep_open(r);
        if (k >= 0)
                k = arm_timer(r);
        if (k < 0)
                return k;
        report_read_ack(r); /* absent or unreadable: nothing is freed */
        *ret = TAKE_PTR(r);
        return 0;
}

struct report *report_free(struct report *r)
{
        if (!r)
                return NULL;
        r->timer = sd_event_source_disable_unref(r->timer);
        r->seal = sd_event_source_disable_unref(r->seal);
        r->sync = sd_event_source_disable_unref(r->sync);
        if (r->spool) {
                flush_collected(r);
                report_seal(r);
        }
        collapse_done(&r->collapse);
        journal_free(r->journal);
        spool_free(r->spool);
        sodium_memzero(r->secret, sizeof(r->secret));
        char **texts[] = {&r->device_name,  &r->boot_id,     &r->ack_path,      &r->state_dir,        &r->runtime_dir,
                          &r->organisation, &r->policy_hash, &r->policy_signer, &r->catalogue_version};
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                freep(texts[i]);
        freep(&r);
        return NULL;
}

static int replace_text(char **p, const char *text)
{
        char *copy = text ? strdup(text) : NULL;

        if (text && !copy)
                return -ENOMEM;
        freep(p);
        *p = copy;
        return 0;
}

int report_set_policy(struct report *r, const struct record_context *policy)
{
        int k;

        if (r->has_policy) /* else it is of the agent before this one, as a rule under the same policy */
                flush_collected(r); /* under the policy that decided them */
        r->has_policy = true;
        k = arm_timer(r);
        if (k >= 0)
                k = replace_text(&r->organisation, policy->policy_organisation);
        if (k >= 0)
                k = replace_text(&r->policy_hash, policy->policy_hash);
        if (k >= 0)
                k = replace_text(&r->policy_signer, policy->policy_signer);
        if (k >= 0)
                k = replace_text(&r->catalogue_version, policy->catalogue_version);
        r->context.policy_organisation = r->organisation;
        r->context.policy_hash = r->policy_hash;
        r->context.policy_signer = r->policy_signer;
        r->context.catalogue_version = r->catalogue_version;
        r->context.policy_serial = policy->policy_serial;
        return k;
}

void report_set_notice_handler(struct report *r, void (*handler)(const struct report_notice *, void *),
                               void *userdata)
{
        r->notice_handler = handler;
        r->notice_userdata = userdata;
}

/* ---- what happened ---- */

static void notify(struct report *r, const struct ruleset *rs, const struct violation *v)
{
        if (!v->notified)
                return;
        r->notice_handler(&(struct report_notice){.uid = v->uid,
                                                  .violation_id = v->id,
                                                  .channel_name = v->channel_name,
                                                  .channel = v->channel,
                                                  .program = v->program,
                                                  .text = rs->notice ? rs->notice : "",
                                                  .help = rs->help,
                                                  .violation = v},
                          r->notice_userdata);
}

/* Also in the journal, or at least how many there are. */
static int keep_attempt(struct report *r, struct collected *e)
{
        uint64_t before = r->losses.unkept;

        if (e->slot >= 0) {
                journal_update(r->journal, e);
        } else {
                r->losses.unkept++;
                e->slot = journal_add(r->journal, e);
                if (e->slot >= 0)
                        r->losses.unkept -= e->violation.count;
        }
        if (r->losses.unkept != before)
                keep_losses(r);
        if (r->journal && journal_is_read_only(r->journal))
                keep_look(r);
        return arm_sync(r);
}

static void count_attempt(struct violation *v, const struct violation *attempt)
{
        if (v->count++ == 0) {
                v->first_ms = attempt->first_ms;
                v->last_ms = attempt->last_ms;
        }
        if (attempt->first_ms < v->first_ms)
                v->first_ms = attempt->first_ms;
        if (attempt->last_ms > v->last_ms)
                v->last_ms = attempt->last_ms;
}

/* Whoever gives their programs one name after the other fills neither the table nor the record. */
static struct collected *find_collected(const struct report *r, struct violation *v)
{
        struct collected *e = collapse_find(&r->collapse, v);

        if (e || r->collapse.n < REPORT_OPEN_USER || collapse_count(&r->collapse, v->uid) < REPORT_OPEN_USER)
                return e;
        v->program = v->program_name = v->program_package = v->program_sha256 = NULL;
        return collapse_find(&r->collapse, v);
}

int report_fact(struct report *r, const struct fact *f, const struct ruleset *rs)
{
        struct collected *e = NULL;
        struct description d;
        struct violation v;
        int k;

        k = describe(f, rs, &d, &v);
        if (k == -ESTALE) {
                r->losses.unresolved++;
                keep_losses(r);
        }
        if (k <= 0)
                return k;
        e = find_collected(r, &v);
        if (e && e->doubtful_event_ns == f->boottime_ns)
                return 0; /* the agent before this one was killed between counting it and taking it from the ring */
        if (e && e->seq && report_seal(r) < 0) { /* what comes now is not in that record */
                e->is_closed = true;
                e = NULL;
        }
        if (e) {
                count_attempt(&e->violation, &v);
                e->last_event_ns = f->boottime_ns;
                return keep_attempt(r, e);
        }

        uuid_v7(v.first_ms, d.id);
        v.id = d.id;
        user_name(v.uid, d.user);
        v.user = d.user[0] ? d.user : NULL;
        v.notified = r->notice_handler && v.outcome != OUTCOME_PASSED && v.outcome != OUTCOME_ALLOWED;
        k = collapse_add(&r->collapse, &v, clock_monotonic_ms(), &e);
        notify(r, rs, &v);
        if (k < 0)
                return report_write(r, &v, rs->policy_serial);
        e->policy_serial = rs->policy_serial;
        e->last_event_ns = f->boottime_ns;
        k = keep_attempt(r, e);
        return k < 0 ? k : arm_timer(r);
}

int report_mend(struct report *r, bool bytes, uint64_t *ret_lost)
{
        uint64_t next;
        int k, q;

        *ret_lost = 0;
        k = take_disk(r);
        if (k < 0)
                return k;
        k = device_key_mend(r->state_dir, r->public_key, r->secret);
        next = spool_state(r->spool)->next_seq;
        q = spool_mend(r->spool, bytes);
        if (q == -EBADMSG) { /* what cannot be saved is given up: the chain goes on from the records before it */
                q = reopen_spool(r);
                if (q >= 0)
                        *ret_lost = next - spool_state(r->spool)->next_seq;
        }
        return k < 0 || q < 0 ? (k < 0 ? k : q) : k > 0 || q > 0;
}

int report_read_ack(struct report *r)
{
        uint64_t seq;
        int k = file_read_number(r->ack_path, &seq);

        if (k < 0)
                return k;
        return spool_acknowledge(r->spool, seq);
}

void report_get_state(const struct report *r, struct report_state *ret)
{
        const struct spool_state *state = spool_state(r->spool);

        *ret = (struct report_state){.device_id = r->device_id,
                                     .next_seq = state->next_seq,
                                     .head = state->head,
                                     .acknowledged = state->acknowledged,
                                     .queue = report_queue(r),
                                     .spool_bytes = state->bytes,
                                     .damaged_bytes = state->damaged_bytes,
                                     .torn_bytes = state->torn_bytes,
                                     .is_new_device = r->is_new_device,
                                     .refused = r->losses.refused +
                                                collapse_overdue(&r->collapse, clock_monotonic_ms())};
}
