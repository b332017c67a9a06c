/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Copies of datagrams from the kernel side: dropped queries get their answer, Initials of QUIC are read. */
#include "agent/runtime.h"

#include <errno.h>
#include <netinet/in.h>

#include "agent/classify/classify.h"
#include "agent/classify/heads.h"
#include "base/cleanup.h"
#include "base/log.h"

#define QUIC_PORT      443
#define NOTICE_DEFAULT "This channel is not approved."

/* A client over a connected socket, or with EDNS, takes REFUSED; one that has taken it takes no second answer. */
static bool may_wait_on(const struct watch_packet *p, const uint8_t *refusal)
{
        return !p->fact.flow.is_connected && refusal[11] == 0;
}

static void answer_query(struct runtime *rt, const struct watch_packet *p)
{
        const char *notice = rt->current && rt->current->notice ? rt->current->notice : NOTICE_DEFAULT;
        uint8_t answer[REFUSAL_MAX];
        int size, r;

        size = r = rt->refuse ? refusal_build(p->bytes, p->size, notice, answer) : -EOPNOTSUPP;
        if (r >= 0)
                r = refuse_send(rt->refuse, &p->fact, answer, (size_t)size);
        if (r >= 0 && may_wait_on(p, answer)) {
                refusal_deny(answer, (size_t)size);
                r = refuse_send(rt->refuse, &p->fact, answer, (size_t)size);
        }
        if (r < 0)
                log_errno(LOG_DEBUG, r, "cannot answer a dropped query, ignoring");
}

/* A socket with other peers lives on; its packets of this flow are dropped. */
static void end_socket(struct runtime *rt, struct fact *f)
{
        f->outcome = OUTCOME_DROPPED;
        if (f->flow.is_connected && rt->sockdestroy && sockdestroy_flow(rt->sockdestroy, &f->flow, f->tgid) >= 0)
                f->outcome = OUTCOME_RESET;
}

/* False: the connection is blocked. */
static bool name_flow(struct runtime *rt, const struct watch_packet *p, const char *name)
{
        const struct ruleset *rs = rt->current;
        struct fact f = p->fact;
        enum verdict verdict;
        int r;

        f.entry = rules_match_name(rs, name);
        if (f.entry == 0)
                return true;
        f.channel = rs->entries[f.entry].channel;
        f.tier = TIER_NAME;
        f.generation = rt->generation;
        f.outcome = OUTCOME_PASSED;
        verdict = rules_verdict(rs, f.channel, f.uid);
        r = watch_learn_flow(rt->watch, &f);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot remember a QUIC connection, ignoring");
        if (verdict == VERDICT_BLOCK)
                end_socket(rt, &f);
        rt->counters.facts++;
        rt->counters.reset += f.outcome == OUTCOME_RESET;
        classify_process(&f);
        r = report_fact(rt->report, &f, rs); /* it knows whether that is worth a record */
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot record a violation");
        status_dirty(rt);
        return verdict != VERDICT_BLOCK;
}

/* Whether the datagram may go its way. */
static bool read_datagram(struct runtime *rt, const struct watch_packet *p)
{
        char name[WIRE_NAME_SIZE];
        int r;

        if (!rt->hellos || !rt->current)
                return true;
        r = hellos_feed(rt->hellos, &p->fact.flow, p->bytes, p->size, name);
        if (r < 0) {
                log_errno(LOG_WARNING, r, "cannot read a QUIC datagram, ignoring");
                return false;
        }
        switch ((enum quic_result)r) {
        case QUIC_FOUND:
                if (!name_flow(rt, p, name))
                        return false;
                break;
        case QUIC_MALFORMED:
        case QUIC_TOO_LARGE:
                /* no honest client sends that, and nobody could say what it is: TCP is left */
                (void)watch_refuse_flow(rt->watch, &p->fact);
                return false;
        case QUIC_UNREADABLE: /* the end of a hello that was forgotten, perhaps; on other ports a server of this machine may answer */
                return p->fact.flow.remote_port != QUIC_PORT;
        case QUIC_MORE:
        case QUIC_HEADLESS:
        case QUIC_NO_NAME:
        case QUIC_NOT_QUIC:
        case QUIC_UNKNOWN_VERSION:
        case _QUIC_RESULT_MAX:
                break;
        }
        return !hellos_keep(rt->hellos, &p->fact.flow, p->bytes, p->size);
}

static void send_on(struct runtime *rt, const struct fact *f, const uint8_t *bytes, size_t size)
{
        int r = rt->refuse ? refuse_forward(rt->refuse, f, bytes, size) : -EOPNOTSUPP;

        if (r < 0)
                log_errno(LOG_DEBUG, r, "cannot send a QUIC datagram on, ignoring");
}

static void handle_datagram(struct runtime *rt, const struct watch_packet *p)
{
        if (!read_datagram(rt, p))
                return;
        for (size_t size = 1; rt->hellos && size > 0;) {
                _cleanup_free_ uint8_t *kept = NULL;

                size = hellos_take_kept(rt->hellos, &p->fact.flow, &kept);
                if (size > 0)
                        send_on(rt, &p->fact, kept, size);
        }
        send_on(rt, &p->fact, p->bytes, p->size);
}

/* The kernel side has passed what it read; this is what its sender had put there by the time it was copied. */
static void report_head(struct runtime *rt, const struct watch_packet *p, uint32_t entry)
{
        struct fact f = p->fact;
        int r;

        f.entry = entry;
        f.channel = rt->current->entries[entry].channel;
        f.tier = TIER_NAME;
        f.generation = rt->generation;
        end_socket(rt, &f);
        rt->counters.facts++;
        rt->counters.reset += f.outcome == OUTCOME_RESET;
        classify_process(&f);
        r = report_fact(rt->report, &f, rt->current);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot record a violation");
        status_dirty(rt);
}

/* The head of a stream that its sender can still change. Its name is the copy's; the original follows, when the other
 * side has that. */
static void handle_segment(struct runtime *rt, const struct watch_packet *p)
{
        size_t head = p->size > 12 ? (p->bytes[12] >> 4) * 4u : p->size; /* RFC 9293 3.1 */
        struct fact f = p->fact;
        uint32_t entry;
        int r;

        if (!rt->current || !rt->refuse || head > p->size)
                return;
        switch (head_read(rt->current, p->fact.uid, p->bytes + head, p->size - head, &entry)) {
        case HEAD_BLOCKED:
                report_head(rt, p, entry);
                return;
        case HEAD_REQUESTS:
                if (p->open)
                        return;
                break;
        case HEAD_PASSES:
                break;
        case HEAD_UNREAD:
        case _HEAD_MAX:
                end_socket(rt, &f);
                return;
        }
        r = refuse_forward_tcp(rt->refuse, &p->fact, p->bytes, p->size);
        if (r < 0)
                log_errno(LOG_DEBUG, r, "cannot send a segment on, ignoring");
}

void packets_handle(const struct watch_packet *p, void *userdata)
{
        if (p->fact.layer == LAYER_DNS)
                answer_query(userdata, p);
        else if (p->fact.layer == LAYER_QUIC)
                handle_datagram(userdata, p);
        else if (p->fact.layer == LAYER_TLS)
                handle_segment(userdata, p);
}
