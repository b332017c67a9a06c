/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/control/notices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

struct notice {
        char *json;
        uint64_t number; /* over all users, from 1 */
};

struct box {
        uid_t uid;
        unsigned n; /* ever added */
        struct notice ring[NOTICES_PER_USER];
};

struct notices {
        struct box *boxes[NOTICES_USERS_MAX];
        size_t n_boxes;
        uint64_t last;
};

static void box_free(struct box *b)
{
        for (size_t i = 0; i < NOTICES_PER_USER; i++)
                free(b->ring[i].json);
        free(b);
}

int notices_new(struct notices **ret)
{
        struct notices *n = calloc(1, sizeof(*n));

        if (!n)
                return -ENOMEM;
        *ret = n;
        return 0;
}

struct notices *notices_free(struct notices *n)
{
        if (!n)
                return NULL;
        for (size_t i = 0; i < n->n_boxes; i++)
                box_free(n->boxes[i]);
        free(n);
        return NULL;
}

static uint64_t box_last(const struct box *b)
{
        return b->n ? b->ring[(b->n - 1) % NOTICES_PER_USER].number : 0;
}

static struct box *box_find(const struct notices *n, uid_t uid)
{
        for (size_t i = 0; i < n->n_boxes; i++)
                if (n->boxes[i]->uid == uid)
                        return n->boxes[i];
        return NULL;
}

static struct box *box_new(struct notices *n, uid_t uid)
{
        struct box *b = calloc(1, sizeof(*b));
        size_t oldest = 0;

        if (!b)
                return NULL;
        b->uid = uid;
        if (n->n_boxes < NOTICES_USERS_MAX)
                return n->boxes[n->n_boxes++] = b;
        for (size_t i = 1; i < n->n_boxes; i++)
                if (box_last(n->boxes[i]) < box_last(n->boxes[oldest]))
                        oldest = i;
        box_free(n->boxes[oldest]);
        return n->boxes[oldest] = b;
}

int notices_add(struct notices *n, uid_t uid, const char *json)
{
        char *copy = strdup(json);
        struct box *b = box_find(n, uid);
        struct notice *slot;

        if (!copy)
                return -ENOMEM;
        if (!b && !(b = box_new(n, uid))) {
                free(copy);
                return -ENOMEM;
        }
        slot = &b->ring[b->n++ % NOTICES_PER_USER];
        free(slot->json);
        *slot = (struct notice){.json = copy, .number = ++n->last};
        return 0;
}

static int by_number(const void *a, const void *b)
{
        const struct notice *x = *(const struct notice *const *)a, *y = *(const struct notice *const *)b;

        return x->number < y->number ? -1 : x->number > y->number;
}

char *notices_list(const struct notices *n, uid_t uid)
{
        _cleanup_free_ const struct notice **all = calloc(n->n_boxes * NOTICES_PER_USER + 1, sizeof(*all));
        _cleanup_buf_ struct buf text = {0};
        size_t count = 0, first;

        if (!all)
                return NULL;
        for (size_t i = 0; i < n->n_boxes; i++)
                for (size_t k = 0; (uid == 0 || uid == n->boxes[i]->uid) && k < NOTICES_PER_USER; k++)
                        if (n->boxes[i]->ring[k].json)
                                all[count++] = &n->boxes[i]->ring[k];
        qsort(all, count, sizeof(*all), by_number);
        first = count > NOTICES_PER_USER ? count - NOTICES_PER_USER : 0;
        buf_add_string(&text, "[");
        for (size_t i = first; i < count; i++) {
                if (i > first)
                        buf_add_string(&text, ",");
                buf_add_string(&text, all[i]->json);
        }
        buf_add_string(&text, "]");
        return buf_error(&text) < 0 ? NULL : buf_take(&text);
}
