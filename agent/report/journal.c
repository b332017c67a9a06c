/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/report/journal.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

#define SLOT_MAGIC 0x32304c4e524a434full /* "OCJRNL02" */
#define PAGE_MAGIC 0x313053534f4c434full /* "OCLOSS01" */
#define PAGE_BYTES 4096

struct slot_counts { /* written again with each attempt */
        uint64_t count, first_ms, last_ms;
        uint64_t seq; /* of the record that these attempts become, 0 none yet */
        uint64_t last_event_ns;
};

struct slot_facts { /* never change */
        uint64_t policy_serial;
        uint32_t layer, tier, outcome, uid, pid, remote_port, notified;
        uint32_t text_size; /* of what follows: for each text a byte 0, or 1 and the text with its NUL */
};

struct slot {
        uint64_t magic;
        struct slot_counts counts;
        uint8_t hash[crypto_generichash_BYTES_MIN]; /* of facts and texts */
        struct slot_facts facts;
        char texts[];
};

#define TEXTS_MAX (JOURNAL_SLOT_BYTES - sizeof(struct slot))

struct page {
        uint64_t magic;
        struct journal_losses losses, told;
        uint64_t seq; /* of the record that tells them, 0 none */
};

struct journal {
        int fd;
        bool read_only;
        int next; /* where to look for a free slot */
        bool dirty;
        bool used[REPORT_OPEN_MAX];
};

static void slot_hash(const struct slot *s, uint8_t ret[static crypto_generichash_BYTES_MIN])
{
        crypto_generichash(ret, crypto_generichash_BYTES_MIN, (const uint8_t *)&s->facts,
                           sizeof(s->facts) + s->facts.text_size, NULL, 0);
}

/* One write: a kill leaves it whole or not there. */
static bool put(struct journal *j, const void *data, size_t size, off_t at)
{
        ssize_t n = j->read_only ? -1 : pwrite(j->fd, data, size, at);

        j->read_only = j->read_only || (n < 0 && errno == EROFS);
        j->dirty = true;
        return n == (ssize_t)size;
}

int journal_sync(struct journal *j)
{
        if (!j || !j->dirty)
                return 0;
        if (fdatasync(j->fd) < 0) {
                j->read_only = j->read_only || errno == EROFS; /* until Linux 6.13 only this tells, of ext4 */
                return -errno;
        }
        j->dirty = false;
        return 0;
}

static off_t offset_of(int slot)
{
        return PAGE_BYTES + (off_t)slot * JOURNAL_SLOT_BYTES;
}

static int put_texts(struct slot *s, const struct violation *v)
{
        char *p = s->texts;

        for (size_t i = 0; i < VIOLATION_TEXTS; i++) {
                const char *text = *(const char *const *)((const char *)v + violation_texts[i]);
                size_t size = text ? strlen(text) + 1 : 0;

                if (size + 1 > TEXTS_MAX - (size_t)(p - s->texts))
                        return -E2BIG;
                *p++ = text != NULL;
                p = text ? (char *)memcpy(p, text, size) + size : p;
        }
        s->facts.text_size = (uint32_t)(p - s->texts);
        return 0;
}

static struct slot_counts counts_of(const struct collected *e)
{
        const struct violation *v = &e->violation;

        return (struct slot_counts){.count = v->count,
                                    .first_ms = v->first_ms,
                                    .last_ms = v->last_ms,
                                    .seq = e->seq,
                                    .last_event_ns = e->last_event_ns};
}

static int write_slot(struct journal *j, int at, const struct collected *e)
{
        _cleanup_free_ struct slot *s = calloc(1, JOURNAL_SLOT_BYTES);
        const struct violation *v = &e->violation;
        size_t size;

        if (!s || put_texts(s, v) < 0)
                return -1;
        s->magic = SLOT_MAGIC;
        s->counts = counts_of(e);
        s->facts = (struct slot_facts){.policy_serial = e->policy_serial,
                                       .layer = v->layer,
                                       .tier = v->tier,
                                       .outcome = v->outcome,
                                       .uid = v->uid,
                                       .pid = v->pid,
                                       .remote_port = v->remote_port,
                                       .notified = v->notified,
                                       .text_size = s->facts.text_size};
        slot_hash(s, s->hash);
        size = sizeof(*s) + s->facts.text_size;
        return put(j, s, size, offset_of(at)) ? at : -1;
}

int journal_add(struct journal *j, const struct collected *e)
{
        int at = -1;

        for (int i = 0; j && at < 0 && i < REPORT_OPEN_MAX; i++)
                if (!j->used[(j->next + i) % REPORT_OPEN_MAX])
                        at = (j->next + i) % REPORT_OPEN_MAX;
        if (at < 0 || write_slot(j, at, e) < 0)
                return -1;
        j->used[at] = true;
        j->next = at + 1;
        return at;
}

void journal_update(struct journal *j, const struct collected *e)
{
        struct slot_counts c = counts_of(e);

        /* a disk that takes no new bytes still takes these again; what fails now is tried with the next attempt */
        if (j && e->slot >= 0)
                (void)put(j, &c, sizeof(c), offset_of(e->slot) + (off_t)offsetof(struct slot, counts));
}

void journal_forget(struct journal *j, int slot)
{
        static const uint64_t nothing;

        if (!j || slot < 0)
                return;
        (void)put(j, &nothing, sizeof(nothing), offset_of(slot));
        j->used[slot] = false;
}

/* The texts, each ended within its room. */
static int take_texts(const struct slot *s, struct violation *v)
{
        const char *p = s->texts, *end = p + s->facts.text_size;

        for (size_t i = 0; i < VIOLATION_TEXTS; i++) {
                const char *nul, **text = (const char **)((char *)v + violation_texts[i]);

                if (p >= end || (uint8_t)*p > 1)
                        return -EBADMSG;
                if (*p++ == 0)
                        continue;
                nul = memchr(p, '\0', (size_t)(end - p));
                if (!nul)
                        return -EBADMSG;
                *text = p;
                p = nul + 1;
        }
        return p == end && v->id && v->channel && v->class && v->verdict ? 0 : -EBADMSG;
}

int journal_slot_parse(const uint8_t *bytes, size_t size, struct journal_slot *ret)
{
        const struct slot *s = (const struct slot *)bytes;
        uint8_t hash[sizeof(s->hash)];
        struct violation v;

        if (size < sizeof(*s) || size > JOURNAL_SLOT_BYTES || s->magic != SLOT_MAGIC ||
            s->facts.text_size > size - sizeof(*s))
                return -EBADMSG;
        slot_hash(s, hash);
        if (memcmp(hash, s->hash, sizeof(hash)) != 0 || s->facts.layer >= _LAYER_MAX || s->facts.tier >= _TIER_MAX ||
            s->facts.outcome >= _OUTCOME_MAX)
                return -EBADMSG;
        v = (struct violation){.layer = s->facts.layer,
                               .tier = s->facts.tier,
                               .outcome = s->facts.outcome,
                               .uid = s->facts.uid,
                               .pid = s->facts.pid,
                               .remote_port = (uint16_t)s->facts.remote_port,
                               .notified = s->facts.notified != 0,
                               .count = s->counts.count,
                               .first_ms = s->counts.first_ms,
                               .last_ms = s->counts.last_ms};
        if (take_texts(s, &v) < 0)
                return -EBADMSG;
        *ret = (struct journal_slot){.violation = v,
                                     .policy_serial = s->facts.policy_serial,
                                     .last_event_ns = s->counts.last_event_ns,
                                     .seq = s->counts.seq};
        return 0;
}

void journal_restore(struct journal *j, journal_handler handler, void *userdata)
{
        _cleanup_free_ uint8_t *bytes = aligned_alloc(_Alignof(struct slot), JOURNAL_SLOT_BYTES);
        struct journal_slot s;

        for (int i = 0; j && bytes && i < REPORT_OPEN_MAX; i++) {
                ssize_t n = pread(j->fd, bytes, JOURNAL_SLOT_BYTES, offset_of(i));

                if (n <= 0)
                        break;
                if (journal_slot_parse(bytes, (size_t)n, &s) < 0)
                        continue; /* a free one has no magic */
                j->used[i] = handler(&s, i, userdata) >= 0;
                if (!j->used[i])
                        journal_forget(j, i);
        }
}

bool journal_put_losses(struct journal *j, const struct journal_losses *l, const struct journal_losses *told,
                        uint64_t seq)
{
        struct page p = {.magic = PAGE_MAGIC, .losses = *l, .seq = seq};

        if (told)
                p.told = *told;
        return j && put(j, &p, sizeof(p), 0);
}

void journal_get_losses(struct journal *j, uint64_t next_seq, struct journal_losses *ret)
{
        struct page p = {0};

        if (pread(j->fd, &p, sizeof(p), 0) != sizeof(p) || p.magic != PAGE_MAGIC)
                p = (struct page){0};
        if (p.seq && next_seq > p.seq) {
                p.losses.refused -= p.told.refused;
                p.losses.unresolved -= p.told.unresolved;
        }
        p.losses.refused += p.losses.unkept;
        p.losses.unkept = 0;
        *ret = p.losses;
        journal_put_losses(j, ret, NULL, 0);
}

int journal_open(const char *path, struct journal **ret)
{
        struct journal *j = calloc(1, sizeof(*j));

        if (!j)
                return -ENOMEM;
        j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        j->read_only = j->fd < 0 && errno == EROFS;
        if (j->read_only)
                j->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (j->fd < 0) {
                int r = -errno;

                free(j);
                return r;
        }
        *ret = j;
        return 0;
}

bool journal_is_read_only(const struct journal *j)
{
        return j->read_only;
}

struct journal *journal_free(struct journal *j)
{
        if (j)
                fd_close(&j->fd);
        free(j);
        return NULL;
}
