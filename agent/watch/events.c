/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ring-buffer records into facts; what was lost on the way. */
#include <errno.h>
#include <string.h>
#include "agent/watch/internal.h"
#include "base/clock.h"
#include "bpf/onchannel.skel.h"

_Static_assert(OC_TIER_PROGRAM == TIER_PROGRAM && OC_TIER_NAME == TIER_NAME && OC_TIER_ADDRESS == TIER_ADDRESS,
               "tiers in the events have the records' numbers");
_Static_assert(_DROP_REASON_MAX <= ELEMENTSOF(((struct watch_counters *)NULL)->drops), "every reason has a counter");

static bool layer_of(const struct event_head *h, size_t size, enum layer *ret)
{
        static const struct {
                size_t size;
                enum layer layer;
        } types[_EVENT_TYPE_MAX] = {
                [EVENT_EXEC] = {sizeof(struct event_exec), LAYER_EXEC},
                [EVENT_DNS] = {sizeof(struct event_name), LAYER_DNS},
                [EVENT_TLS] = {sizeof(struct event_name), LAYER_TLS},
                [EVENT_CONNECT] = {sizeof(struct event_connect), LAYER_CONNECT},
                [EVENT_HTTP] = {sizeof(struct event_name), LAYER_HTTP},
                [EVENT_QUERY] = {sizeof(struct event_packet), LAYER_DNS},
                [EVENT_DATAGRAM] = {sizeof(struct event_packet), LAYER_QUIC},
                [EVENT_SEGMENT] = {sizeof(struct event_packet), LAYER_TLS},
                [EVENT_QUIC] = {sizeof(struct event_name), LAYER_QUIC},
        };

        if (size < sizeof(*h) || h->type >= _EVENT_TYPE_MAX || types[h->type].size == 0 ||
            size < types[h->type].size || h->size != types[h->type].size)
                return false;
        *ret = types[h->type].layer;
        return true;
}

static enum outcome outcome_of(uint16_t action)
{
        static const enum outcome table[_ACTION_MAX] = {
                [ACTION_PASSED] = OUTCOME_PASSED, [ACTION_DENIED] = OUTCOME_DENIED,
                [ACTION_KILLED] = OUTCOME_KILLED, [ACTION_DROPPED] = OUTCOME_DROPPED,
                [ACTION_MARKED] = OUTCOME_DENIED,
        };
        return action < _ACTION_MAX ? table[action] : OUTCOME_PASSED;
}

static struct fact_flow flow_of(const struct event_flow *e)
{
        struct fact_flow f = {.family = e->family,
                              .protocol = e->protocol,
                              .local_port = e->local_port,
                              .remote_port = e->remote_port,
                              .cookie = e->cookie,
                              .netns = e->netns,
                              .is_connected = e->flags & OC_FLOW_CONNECTED,
                              .is_mptcp = e->flags & OC_FLOW_MPTCP};

        memcpy(f.local, e->local, sizeof(f.local));
        memcpy(f.remote, e->remote, sizeof(f.remote));
        return f;
}

/* These look the same behind their head. */
_Static_assert(offsetof(struct event_name, path) == offsetof(struct event_connect, path) &&
                       offsetof(struct event_name, flow) == offsetof(struct event_connect, flow) &&
                       offsetof(struct event_name, path) == offsetof(struct event_packet, path) &&
                       offsetof(struct event_name, flow) == offsetof(struct event_packet, flow),
               "one reader serves all");

static void fact_of(const void *data, enum layer layer, struct fact *f)
{
        const struct event_head *h = data;
        const struct event_exec *exec = data;
        const struct event_name *socket = data;

        memset(f, 0, sizeof(*f));
        f->layer = layer;
        f->tier = h->tier;
        f->outcome = outcome_of(h->action);
        f->channel = h->channel;
        f->entry = h->entry;
        f->generation = h->generation;
        f->uid = h->uid;
        f->tgid = h->tgid;
        f->boottime_ns = h->ktime_ns;
        memcpy(f->comm, h->comm, OC_COMM_SIZE);
        if (layer == LAYER_EXEC) {
                memcpy(f->path, exec->path, OC_PATH_SIZE);
                f->exe_dev = exec->exe.dev;
                f->exe_ino = exec->exe.ino;
                f->exe_ctime_ns = exec->exe.ctime_ns;
                f->exe_may_differ = exec->exe.dev & OC_EXE_FOREIGN;
        } else {
                memcpy(f->path, socket->path, OC_PATH_SIZE);
                f->flow = flow_of(&socket->flow);
        }
}

static void count_sequence(struct watch *w, const struct event_head *h)
{
        if (h->cpu >= w->n_cpus)
                return;
        struct watch_sequence *s = &w->sequences[h->cpu];
        if (s->received++ == 0)
                s->first = s->last = h->sequence;
        /* an interrupted program's record may come after a later one */
        if ((int32_t)(h->sequence - s->last) > 0)
                s->last = h->sequence;
        if ((int32_t)(h->sequence - s->first) < 0)
                s->first = h->sequence;
}

static bool is_packet(const struct event_head *h)
{
        return h->type == EVENT_QUERY || h->type == EVENT_DATAGRAM || h->type == EVENT_SEGMENT;
}

static int go_on(struct watch *w)
{
        return --w->budget > 0 && clock_ns(CLOCK_MONOTONIC) < w->until_ns ? 0 : -EAGAIN;
}

int watch_on_packet(void *userdata, void *data, size_t size)
{
        const struct event_packet *e = data;
        struct watch *w = userdata;
        struct watch_packet p;
        enum layer layer;

        if (layer_of(data, size, &layer) && is_packet(data) && e->size <= OC_PACKET_MAX) {
                fact_of(data, layer, &p.fact);
                p.fact.flow.tcp_local = e->sequence;
                p.fact.flow.tcp_remote = e->acknowledged;
                p.bytes = e->bytes;
                p.size = e->size;
                p.open = e->open;
                if (w->packet_handler)
                        w->packet_handler(&p, w->packet_userdata);
        }
        w->received++;
        return go_on(w);
}

int watch_on_record(void *userdata, void *data, size_t size)
{
        struct watch *w = userdata;
        enum layer layer;
        struct fact f;

        w->received++;
        if (layer_of(data, size, &layer) && !is_packet(data)) {
                count_sequence(w, data);
                fact_of(data, layer, &f);
                w->handler(&f, w->userdata);
        }
        return go_on(w);
}

int watch_counters(struct watch *w, struct watch_counters *ret)
{
        struct watch_counters c = {.received = w->received};
        int fd = bpf_map__fd(w->bpf->maps.oc_drops);
        _cleanup_free_ uint64_t *by_cpu = calloc((size_t)w->n_cpus, sizeof(*by_cpu));
        uint64_t gaps = 0;

        if (!by_cpu)
                return -ENOMEM;
        for (uint32_t reason = 0; reason < _DROP_REASON_MAX; reason++) {
                if (bpf_map_lookup_elem(fd, &reason, by_cpu) < 0)
                        return -errno;
                for (int i = 0; i < w->n_cpus; i++)
                        c.drops[reason] += by_cpu[i];
                c.lost += c.drops[reason];
        }
        for (int i = 0; i < w->n_cpus; i++) {
                const struct watch_sequence *s = &w->sequences[i];
                if (s->received)
                        gaps += (uint64_t)(s->last - s->first) + 1 - s->received;
        }
        /* a record that found the ring full left a gap as well */
        if (gaps > c.drops[DROP_RING_FULL])
                c.lost += gaps - c.drops[DROP_RING_FULL];
        *ret = c;
        return 0;
}
