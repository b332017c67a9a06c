/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records into the spool. */
#include "agent/report/write.h"
#include <errno.h>
#include <string.h>
#include <sys/timex.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "spool/spool.h"

int report_seal(struct report *r)
{
        (void)journal_sync(r->journal);
        if (r->journal) /* else it was not read yet */
                keep_look(r);
        return keep_sealed(r);
}

static int append(struct report *r, const char *line, size_t size)
{
        int k = spool_append(r->spool, line, size);

        if (k < 0 || !r->seal)
                return k;
        return sd_event_source_set_enabled(r->seal, SD_EVENT_ONESHOT);
}

void report_lose(struct report *r, uint64_t attempts)
{
        r->losses.refused += attempts;
        keep_losses(r);
}

static struct record_place next_place(const struct report *r)
{
        const struct spool_state *state = spool_state(r->spool);

        return (struct record_place){state->next_seq, state->head, clock_utc_ms(), clock_boottime_ms()};
}

static int encode(const struct report *r, const struct violation *v, uint64_t policy_serial, char **ret,
                  size_t *ret_size)
{
        const struct record_place at = next_place(r);
        struct record_context context = r->context;

        if (policy_serial != context.policy_serial) { /* decided by an earlier policy */
                context.policy_serial = policy_serial;
                context.policy_hash = context.policy_signer = NULL;
        }
        return record_violation_encode(&context, v, &at, ret, ret_size);
}

int report_write(struct report *r, const struct violation *v, uint64_t policy_serial)
{
        _cleanup_free_ char *line = NULL;
        size_t size;
        int k;

        k = encode(r, v, policy_serial, &line, &size);
        if (k >= 0)
                k = append(r, line, size);
        if (k < 0)
                report_lose(r, v->count);
        return k;
}

int report_write_collected(struct collected *e, void *userdata)
{
        struct report *r = userdata;
        _cleanup_free_ char *line = NULL;
        size_t size;
        int k;

        if (r->in_runtime)
                keep_look(r);
        if (r->in_runtime) /* what STATE has of these attempts is old: no record of them before that is new */
                return -EROFS;
        k = encode(r, &e->violation, e->policy_serial, &line, &size);
        if (k < 0) {
                r->losses.refused += e->violation.count;
                keep_has_record(r, e);
                keep_losses(r);
                return 0;
        }
        e->seq = spool_state(r->spool)->next_seq;
        journal_update(r->journal, e);
        k = append(r, line, size);
        if (k >= 0) {
                collapse_recorded(&r->collapse, e, e->seq);
                return 0;
        }
        e->seq = 0;
        journal_update(r->journal, e);
        return k;
}

/* ---- what is no collected attempt ---- */

int report_tamper(struct report *r, const char *what, enum outcome outcome)
{
        return report_tamper_at(r, LAYER_AGENT, what, outcome);
}

/* What no person's program did: at once, and never collapsed. */
static int write_finding(struct report *r, struct violation *v)
{
        char id[UUID_TEXT_MAX];
        int k;

        v->first_ms = v->last_ms = clock_utc_ms();
        v->tier = TIER_NONE;
        v->count = 1;
        v->id = id;
        uuid_v7(v->first_ms, id);
        k = report_write(r, v, r->context.policy_serial);
        return k < 0 ? k : report_seal(r);
}

int report_tamper_at(struct report *r, enum layer layer, const char *what, enum outcome outcome)
{
        return write_finding(r, &(struct violation){.class = violation_class_to_string(CLASS_TAMPER),
                                                    .verdict = verdict_to_string(VERDICT_BLOCK),
                                                    .layer = layer,
                                                    .outcome = outcome,
                                                    .detail = what});
}

int report_glass(struct report *r, const char *id, const char *what)
{
        return write_finding(r, &(struct violation){.class = violation_class_to_string(CLASS_EXEMPTION_USE),
                                                    .verdict = verdict_to_string(VERDICT_ALLOW),
                                                    .layer = LAYER_AGENT,
                                                    .outcome = OUTCOME_ALLOWED,
                                                    .exemption = id,
                                                    .detail = what});
}

int report_request(struct report *r, struct access_request *q)
{
        const struct record_place at = next_place(r);
        _cleanup_free_ char *line = NULL;
        char id[UUID_TEXT_MAX], user[USER_NAME_MAX];
        size_t size;
        int k;

        uuid_v7(clock_utc_ms(), id);
        user_name(q->uid, user);
        q->id = id;
        q->user = *user ? user : NULL;
        k = record_request_encode(&r->context, q, &at, &line, &size);
        q->id = q->user = NULL;
        if (k >= 0)
                k = append(r, line, size);
        return k < 0 ? k : report_seal(r);
}

uint64_t report_queue(const struct report *r)
{
        const struct spool_state *state = spool_state(r->spool);

        return state->next_seq - 1 - state->acknowledged;
}

int report_coverage(struct report *r, struct coverage *c)
{
        const struct record_place at = next_place(r);
        _cleanup_free_ char *line = NULL;
        struct journal_losses told = {0};
        struct timex clock = {0};
        size_t size;
        int k;

        c->queue = report_queue(r);
        c->refused = told.refused = r->losses.refused;
        c->unresolved = told.unresolved = r->losses.unresolved;
        c->clock_synchronised = adjtimex(&clock) >= 0 && !(clock.status & STA_UNSYNC);
        k = record_coverage_encode(&r->context, c, &at, &line, &size);
        if (k < 0)
                return k;
        journal_put_losses(r->journal, &r->losses, &told, at.seq);
        k = append(r, line, size);
        if (k >= 0) {
                r->losses.refused -= told.refused;
                r->losses.unresolved -= told.unresolved;
                k = report_seal(r);
                if (k < 0) /* the journal says both */
                        return k;
        }
        keep_losses(r);
        return k;
}
