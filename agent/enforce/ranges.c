/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "agent/enforce/ranges.h"

typedef unsigned __int128 address;

struct span {
        address first;
        address last;
        uint16_t target;
};

struct sweep {
        struct span open[129]; /* nested prefixes, one of each length 0..128 at most */
        size_t n_open;
        address cursor; /* everything below is emitted */
        struct span *out;
        size_t n_out;
};

static unsigned address_bits(int family)
{
        return family == AF_INET ? 32 : 128;
}

static struct span span_of(const struct range_prefix *p)
{
        unsigned bits = address_bits(p->prefix->family), host = bits - p->prefix->length;
        struct span s = {.target = p->target};

        for (unsigned i = 0; i < bits / 8; i++)
                s.first = s.first << 8 | p->prefix->address[i];
        s.last = s.first | (host == 128 ? ~(address)0 : ((address)1 << host) - 1);
        return s;
}

static int compare_prefixes(const void *x, const void *y)
{
        const struct range_prefix *a = x, *b = y;
        int c;

        if (a->prefix->family != b->prefix->family)
                return a->prefix->family < b->prefix->family ? -1 : 1;
        c = memcmp(a->prefix->address, b->prefix->address, sizeof(a->prefix->address));
        if (c != 0)
                return c;
        if (a->prefix->length != b->prefix->length)
                return a->prefix->length < b->prefix->length ? -1 : 1;
        /* equal prefixes keep their order; they point into one array */
        return a->prefix < b->prefix ? -1 : a->prefix > b->prefix;
}

static void emit(struct sweep *s, address last, uint16_t target)
{
        struct span *previous = s->n_out > 0 ? &s->out[s->n_out - 1] : NULL;

        if (target == 0)
                return;
        if (previous && previous->target == target && previous->last + 1 == s->cursor)
                previous->last = last;
        else
                s->out[s->n_out++] = (struct span){s->cursor, last, target};
}

/* Close the open prefixes that end before `until`; all of them when it is NULL. */
static void sweep_close(struct sweep *s, const address *until)
{
        while (s->n_open > 0) {
                const struct span *top = &s->open[s->n_open - 1];

                if (until && top->last >= *until)
                        return;
                if (s->cursor <= top->last) {
                        emit(s, top->last, top->target);
                        s->cursor = top->last + 1;
                        if (s->cursor == 0) { /* the highest address: what is open ends there as well */
                                s->n_open = 0;
                                return;
                        }
                }
                s->n_open--;
        }
}

static void sweep_open(struct sweep *s, struct span p)
{
        const struct span *top;

        sweep_close(s, &p.first);
        top = s->n_open > 0 ? &s->open[s->n_open - 1] : NULL;
        if (top && top->first == p.first && top->last == p.last)
                return;
        if (top && s->cursor < p.first)
                emit(s, p.first - 1, top->target);
        s->cursor = p.first;
        s->open[s->n_open++] = p;
}

static void address_write(address a, int family, uint8_t ret[static 16])
{
        memset(ret, 0, 16);
        for (unsigned i = address_bits(family) / 8; i-- > 0; a >>= 8)
                ret[i] = (uint8_t)a;
}

int ranges_flatten(struct range_prefix *prefixes, size_t n_prefixes, int family, struct range **ret, size_t *ret_n)
{
        _cleanup_free_ struct span *spans = calloc(2 * n_prefixes + 1, sizeof(*spans));
        _cleanup_free_ struct range *ranges = NULL;
        struct sweep s = {.out = spans};

        if (!spans)
                return -ENOMEM;
        if (n_prefixes > 0)
                qsort(prefixes, n_prefixes, sizeof(*prefixes), compare_prefixes);
        for (size_t i = 0; i < n_prefixes; i++)
                if (prefixes[i].prefix->family == family)
                        sweep_open(&s, span_of(&prefixes[i]));
        sweep_close(&s, NULL);

        if (s.n_out > 0) {
                ranges = calloc(s.n_out, sizeof(*ranges));
                if (!ranges)
                        return -ENOMEM;
        }
        for (size_t i = 0; i < s.n_out; i++) {
                address_write(spans[i].first, family, ranges[i].first);
                address_write(spans[i].last, family, ranges[i].last);
                ranges[i].target = spans[i].target;
        }
        *ret = TAKE_PTR(ranges);
        *ret_n = s.n_out;
        return 0;
}
