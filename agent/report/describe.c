/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include "agent/report/internal.h"
#include "base/clock.h"

#define NS_PER_MS 1000000
#define CLOSE_NS  200000 /* between a look at one clock and a look at the other */
#define TRIES     8

/* CLOCK_BOOTTIME to UTC; 0 or a time to come: now. Whoever had the processor between the two looks would make what follows
 * earlier than what was before it. */
static uint64_t utc_from_boottime(uint64_t boottime_ns)
{
        uint64_t utc, boottime, then;

        for (int i = 0; i < TRIES; i++) {
                boottime = clock_ns(CLOCK_BOOTTIME);
                utc = clock_ns(CLOCK_REALTIME);
                if (clock_ns(CLOCK_BOOTTIME) - boottime < CLOSE_NS)
                        break;
        }
        then = boottime_ns == 0 || boottime_ns > boottime || boottime - boottime_ns > utc ? boottime : boottime_ns;
        return (utc - (boottime - then)) / NS_PER_MS;
}

/* What the policy says about this attempt; a program has a verdict of its own. */
static enum verdict verdict_of(const struct fact *f, const struct ruleset *rs)
{
        enum verdict v = rules_verdict(rs, f->channel, f->uid);

        if (f->layer == LAYER_EXEC && v == VERDICT_BLOCK)
                v = rs->channels[f->channel].programs;
        /* the kernel decided before this rule set: what was denied is told as denied */
        if (v != VERDICT_BLOCK && f->outcome != OUTCOME_PASSED && f->outcome != OUTCOME_ALLOWED)
                v = VERDICT_BLOCK;
        return v;
}

static const char *protocol_name(uint8_t protocol)
{
        return protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : NULL;
}

static void describe_flow(const struct fact_flow *flow, struct description *d, struct violation *v)
{
        if (flow->family != AF_INET && flow->family != AF_INET6)
                return;
        v->remote_address = inet_ntop(flow->family, flow->remote, d->remote, sizeof(d->remote));
        v->remote_port = flow->remote_port;
        v->protocol = protocol_name(flow->protocol);
}

int describe(const struct fact *f, const struct ruleset *rs, struct description *d, struct violation *ret)
{
        const struct rule_channel *channel;
        const struct rule_entry *entry = NULL;
        const char *exemption;
        enum verdict verdict;

        if (!rs || f->channel == 0 || f->channel >= rs->n_channels || f->entry >= rs->n_entries)
                return -ESTALE;
        channel = &rs->channels[f->channel];
        if (f->entry > 0)
                entry = &rs->entries[f->entry];
        if (entry && entry->kind == ENTRY_PROBE) /* a program asked whether it may */
                return 0;
        verdict = verdict_of(f, rs);
        exemption = rules_exempted_by(rs, f->channel, f->uid);
        if (verdict == VERDICT_ALLOW && !exemption)
                return 0;

        *ret = (struct violation){
                .channel = channel->id,
                .channel_name = channel->name,
                .category = category_to_string(channel->category),
                .class = violation_class_to_string(channel->class),
                .verdict = verdict_to_string(verdict),
                .layer = f->layer,
                .tier = f->tier,
                .outcome = f->outcome,
                .uid = f->uid,
                .pid = f->tgid,
                .program = f->path[0] ? f->path : NULL,
                .program_name = f->comm[0] ? f->comm : NULL,
                .count = 1,
        };
        if (verdict == VERDICT_ALLOW) {
                ret->exemption = exemption;
                ret->class = violation_class_to_string(CLASS_EXEMPTION_USE);
                ret->outcome = OUTCOME_ALLOWED;
        }
        ret->first_ms = ret->last_ms = utc_from_boottime(f->boottime_ns);
        if (entry) {
                snprintf(d->entry, sizeof(d->entry), "%s %s", entry_kind_to_string(entry->kind), entry->value);
                snprintf(d->entry_source, sizeof(d->entry_source), "%s:%u", channel->file, entry->line);
                ret->entry = d->entry;
                ret->entry_source = d->entry_source;
        }
        describe_flow(&f->flow, d, ret);
        return 1;
}
