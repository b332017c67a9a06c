/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/report/journal.h"
#include "base/cleanup.h"

static void queue_init(struct collected_queue *q, uint64_t delay_ms)
{
        q->head = NULL;
        q->tail = &q->head;
        q->delay_ms = delay_ms;
}

static void queue_push(struct collected_queue *q, struct collected *e, uint64_t now_ms)
{
        e->deadline_ms = now_ms + q->delay_ms;
        e->next_in_queue = NULL;
        *q->tail = e;
        q->tail = &e->next_in_queue;
}

static struct collected *queue_pop(struct collected_queue *q)
{
        struct collected *e = q->head;

        q->head = e->next_in_queue;
        if (!q->head)
                q->tail = &q->head;
        return e;
}

void collapse_init(struct collapse *c, uint64_t settle_ms, uint64_t window_ms)
{
        *c = (struct collapse){0};
        queue_init(&c->settling, settle_ms);
        queue_init(&c->window, window_ms);
}

static uint32_t hash_text(uint32_t h, const char *s)
{
        for (; s && *s; s++)
                h = (h ^ (uint8_t)*s) * 16777619u; /* FNV-1a, 32 bits */
        return h;
}

static size_t bucket_of(const struct violation *v)
{
        uint32_t h = hash_text(2166136261u, v->program);

        h = hash_text(h, v->channel) ^ v->uid * 2654435761u;
        return (h ^ (uint32_t)v->layer << 4 ^ (uint32_t)v->tier ^ h >> 16) & (COLLAPSE_BUCKETS - 1);
}

static bool same_text(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

/* The outcome is part of it: an attempt that got through is not folded into denied ones. */
static bool same_violation(const struct violation *a, const struct violation *b)
{
        return a->uid == b->uid && a->layer == b->layer && a->tier == b->tier && a->outcome == b->outcome &&
               same_text(a->channel, b->channel) && same_text(a->program, b->program) &&
               same_text(a->exemption, b->exemption);
}

struct collected *collapse_find(const struct collapse *c, const struct violation *v)
{
        for (struct collected *e = c->buckets[bucket_of(v)]; e; e = e->next_in_bucket)
                if (!e->is_closed && same_violation(&e->violation, v))
                        return e;
        return NULL;
}

const size_t violation_texts[VIOLATION_TEXTS] = {
#define TEXT_MEMBER(m) offsetof(struct violation, m)
        TEXT_MEMBER(id),
        TEXT_MEMBER(channel),
        TEXT_MEMBER(channel_name),
        TEXT_MEMBER(category),
        TEXT_MEMBER(class),
        TEXT_MEMBER(verdict),
        TEXT_MEMBER(entry),
        TEXT_MEMBER(entry_source),
        TEXT_MEMBER(user),
        TEXT_MEMBER(program),
        TEXT_MEMBER(program_name),
        TEXT_MEMBER(program_package),
        TEXT_MEMBER(program_sha256),
        TEXT_MEMBER(remote_address),
        TEXT_MEMBER(protocol),
        TEXT_MEMBER(exemption),
        TEXT_MEMBER(detail),
#undef TEXT_MEMBER
};

/* One block holds the struct and, behind it, all its texts. */
static struct collected *collected_new(const struct violation *v)
{
        size_t size = sizeof(struct collected);
        struct collected *e;
        char *p;

        for (size_t i = 0; i < VIOLATION_TEXTS; i++) {
                const char *text = *(const char *const *)((const char *)v + violation_texts[i]);

                size += text ? strlen(text) + 1 : 0;
        }
        e = malloc(size);
        if (!e)
                return NULL;
        *e = (struct collected){.violation = *v, .slot = -1};
        p = (char *)(e + 1);
        for (size_t i = 0; i < VIOLATION_TEXTS; i++) {
                const char **text = (const char **)((char *)&e->violation + violation_texts[i]);

                if (*text) {
                        char *end = stpcpy(p, *text);

                        *text = p;
                        p = end + 1;
                }
        }
        return e;
}

size_t collapse_count(const struct collapse *c, uint32_t uid)
{
        const struct collected_queue *queues[] = {&c->settling, &c->window};
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(queues); i++)
                for (const struct collected *e = queues[i]->head; e; e = e->next_in_queue)
                        n += e->violation.uid == uid;
        return n;
}

int collapse_add(struct collapse *c, const struct violation *v, uint64_t now_ms, struct collected **ret)
{
        struct collected *e, **bucket = &c->buckets[bucket_of(v)];

        if (c->n >= REPORT_OPEN_MAX)
                return -ENOSPC;
        e = collected_new(v);
        if (!e)
                return -ENOMEM;
        e->next_in_bucket = *bucket;
        *bucket = e;
        queue_push(&c->settling, e, now_ms);
        c->n++;
        *ret = e;
        return 0;
}

static void take_out(struct collapse *c, struct collected *e)
{
        struct collected **p = &c->buckets[bucket_of(&e->violation)];

        while (*p != e)
                p = &(*p)->next_in_bucket;
        *p = e->next_in_bucket;
        c->n--;
        freep(&e);
}

static void forget(struct collapse *c, struct collected *e)
{
        journal_forget(c->journal, e->slot);
        take_out(c, e);
}

static int hand_over(struct collapse *c, struct collected *e, collapse_handler handler, void *userdata)
{
        int r = 0;

        if (e->violation.count > 0 && !e->seq) {
                r = handler(e, userdata);
                c->is_refused = r < 0;
        }
        return r;
}

void collapse_recorded(struct collapse *c, struct collected *e, uint64_t seq)
{
        e->seq = seq;
        e->next_unsealed = c->unsealed;
        c->unsealed = e;
}

uint64_t collapse_deadline(const struct collapse *c)
{
        uint64_t settled = c->settling.head ? c->settling.head->deadline_ms : UINT64_MAX;
        uint64_t closed = c->window.head ? c->window.head->deadline_ms : UINT64_MAX;

        return settled < closed ? settled : closed;
}

int collapse_expire(struct collapse *c, uint64_t now_ms, collapse_handler handler, void *userdata)
{
        while (c->settling.head && c->settling.head->deadline_ms <= now_ms) {
                int r = hand_over(c, c->settling.head, handler, userdata);

                if (r < 0)
                        return r;
                queue_push(&c->window, queue_pop(&c->settling), now_ms);
        }
        for (struct collected *e = c->window.head; e && e->deadline_ms <= now_ms; e = e->next_in_queue) {
                int r = hand_over(c, e, handler, userdata);

                if (r < 0)
                        return r;
        }
        return 0;
}

void collapse_tidy(struct collapse *c, uint64_t now_ms)
{
        while (c->window.head && c->window.head->deadline_ms <= now_ms && c->window.head->violation.count == 0)
                forget(c, queue_pop(&c->window));
}

/* Those that are not taken come before what is collected from now on. */
void collapse_flush(struct collapse *c, collapse_handler handler, void *userdata)
{
        while (c->settling.head)
                queue_push(&c->window, queue_pop(&c->settling), 0);
        for (struct collected *e = c->window.head; e; e = e->next_in_queue) {
                (void)hand_over(c, e, handler, userdata);
                e->is_closed = true;
                e->deadline_ms = 0;
        }
}

uint64_t collapse_overdue(const struct collapse *c, uint64_t now_ms)
{
        const struct collected_queue *queues[] = {&c->settling, &c->window};
        uint64_t n = 0;

        for (size_t i = 0; c->is_refused && i < ELEMENTSOF(queues); i++)
                for (const struct collected *e = queues[i]->head; e && e->deadline_ms <= now_ms; e = e->next_in_queue)
                        n += e->violation.count > 0 && !e->seq;
        return n;
}

void collapse_done(struct collapse *c)
{
        while (c->window.head)
                take_out(c, queue_pop(&c->window));
        while (c->settling.head)
                take_out(c, queue_pop(&c->settling));
}
