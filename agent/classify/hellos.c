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
        uint8_t *held; /* a datagram that must not leave before the hello's beginning is known */
        size_t held_size;
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

struct hellos *hellos_free(struct hellos *h)
{
        if (!h)
                return NULL;
        for (size_t i = 0; i < HELLOS_MAX; i++) {
                free(h->table[i].quic);
                free(h->table[i].held);
        }
        quic_free(h->quic);
        free(h);
        return NULL;
}

static bool is_same(const struct fact_flow *a, const struct fact_flow *b)
{
        return a->cookie == b->cookie && a->remote_port == b->remote_port && a->local_port == b->local_port &&
               a->family == b->family && memcmp(a->remote, b->remote, sizeof(a->remote)) == 0;
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
        if (!x->quic)
                x->quic = malloc(sizeof(*x->quic));
        if (!x->quic)
                return -ENOMEM;
        if (x->used == 0 || !is_same(&x->flow, f)) {
                x->flow = *f;
                quic_flow_init(x->quic, h->quic);
                free(TAKE_PTR(x->held));
        }
        x->used = ++h->clock;
        r = quic_flow_feed(x->quic, data, size, ret_name);
        if (r == QUIC_HEADLESS && !x->held && (x->held = malloc(size))) {
                memcpy(x->held, data, size);
                x->held_size = size;
        }
        return r;
}

size_t hellos_take_held(struct hellos *h, const struct fact_flow *f, uint8_t **ret)
{
        struct hello *x = find(h, f);

        if (!x->held || !is_same(&x->flow, f))
                return 0;
        *ret = TAKE_PTR(x->held);
        return x->held_size;
}
