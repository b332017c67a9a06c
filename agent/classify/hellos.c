/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/classify/hellos.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

struct hello {
        struct fact_flow flow;
        uint64_t used;
        struct quic_flow *quic; /* NULL: free */
        unsigned kept; /* datagrams that must not leave before the whole hello is known */
        unsigned taken; /* of these */
        struct {
                uint8_t *bytes;
                size_t size;
        } datagram[KEPT_MAX];
};

struct hellos {
        struct quic *quic; /* from the first datagram on: libcrypto takes 3 MiB when it wakes up */
        uint64_t clock;
        struct hello table[HELLOS_MAX];
};

int hellos_new(struct hellos **ret)
{
        struct hellos *h = calloc(1, sizeof(*h));

        if (!h)
                return -ENOMEM;
        *ret = h;
        return 0;
}

static void forget(struct hello *x)
{
        for (unsigned i = 0; i < x->kept; i++)
                free(TAKE_PTR(x->datagram[i].bytes));
        x->kept = x->taken = 0;
}

struct hellos *hellos_free(struct hellos *h)
{
        if (!h)
                return NULL;
        for (size_t i = 0; i < HELLOS_MAX; i++) {
                free(h->table[i].quic);
                forget(&h->table[i]);
        }
        quic_free(h->quic);
        free(h);
        return NULL;
}

static bool is_same_peer(const struct fact_flow *a, const struct fact_flow *b)
{
        return a->remote_port == b->remote_port && a->family == b->family &&
               memcmp(a->remote, b->remote, sizeof(a->remote)) == 0;
}

static bool is_same(const struct fact_flow *a, const struct fact_flow *b)
{
        return a->cookie == b->cookie && a->local_port == b->local_port && is_same_peer(a, b);
}

/* Of a connection that another socket has begun: nobody honest has two before the handshake is over (RFC 9000 9). */
static bool is_anothers(const struct hellos *h, const struct fact_flow *f, const uint8_t *data, size_t size)
{
        for (size_t i = 0; i < HELLOS_MAX; i++) {
                const struct hello *x = &h->table[i];

                if (x->quic && is_same_peer(&x->flow, f) && !is_same(&x->flow, f) &&
                    quic_flow_is_of(x->quic, data, size))
                        return true;
        }
        return false;
}

/* The flow's place, or the one to put it. */
static struct hello *find(struct hellos *h, const struct fact_flow *f)
{
        struct hello *oldest = &h->table[0];

        for (size_t i = 0; i < HELLOS_MAX; i++) {
                struct hello *x = &h->table[i];

                if (x->quic && is_same(&x->flow, f))
                        return x;
                if (x->used < oldest->used)
                        oldest = x;
        }
        return oldest;
}

int hellos_feed(struct hellos *h, const struct fact_flow *f, const uint8_t *data, size_t size,
                char ret_name[static WIRE_NAME_SIZE])
{
        struct hello *x = find(h, f);
        int r = h->quic ? 0 : quic_new(&h->quic);

        if (r < 0)
                return r;
        if (is_anothers(h, f, data, size))
                return QUIC_MALFORMED;
        if (!x->quic)
                x->quic = malloc(sizeof(*x->quic));
        if (!x->quic)
                return -ENOMEM;
        if (x->used == 0 || !is_same(&x->flow, f)) {
                x->flow = *f;
                quic_flow_init(x->quic, h->quic);
                forget(x);
        }
        x->used = ++h->clock;
        struct quic_cid dcid = x->quic->dcid;
        r = quic_flow_feed(x->quic, data, size, ret_name);
        if (memcmp(&dcid, &x->quic->dcid, sizeof(dcid)) != 0)
                forget(x); /* of another connection, or from before a Retry */
        return r;
}

bool hellos_keep(struct hellos *h, const struct fact_flow *f, const uint8_t *data, size_t size)
{
        struct hello *x = find(h, f);

        if (!x->quic || !is_same(&x->flow, f) || quic_flow_is_whole(x->quic))
                return false;
        if (x->kept < KEPT_MAX && (x->datagram[x->kept].bytes = malloc(size))) {
                memcpy(x->datagram[x->kept].bytes, data, size);
                x->datagram[x->kept++].size = size;
        }
        return true;
}

size_t hellos_take_kept(struct hellos *h, const struct fact_flow *f, uint8_t **ret)
{
        struct hello *x = find(h, f);

        if (!is_same(&x->flow, f))
                return 0;
        if (x->taken == x->kept) {
                forget(x);
                return 0;
        }
        *ret = TAKE_PTR(x->datagram[x->taken].bytes);
        return x->datagram[x->taken++].size;
}
