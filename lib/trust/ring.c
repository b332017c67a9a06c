/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "trust/ring.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"

static const char *const role_names[] = {
        [TRUST_ROLE_POLICY] = "policy",
        [TRUST_ROLE_CATALOGUE] = "catalogue",
        [TRUST_ROLE_EXEMPTION] = "exemption",
};
_Static_assert(ELEMENTSOF(role_names) == _TRUST_ROLE_MAX, "a role without a name");

const char *trust_role_to_string(enum trust_role r)
{
        return role_names[r];
}

static const struct trust_key *find_key(const struct trust_ring *ring, enum trust_role role,
                                        const uint8_t id[static 8])
{
        for (size_t i = 0; i < ring->n_keys[role]; i++)
                if (memcmp(ring->keys[role][i].id, id, sizeof(ring->keys[role][i].id)) == 0)
                        return &ring->keys[role][i];
        return NULL;
}

int trust_ring_add(struct trust_ring *ring, enum trust_role role, const struct trust_key *key)
{
        size_t n = ring->n_keys[role];

        for (size_t i = 0; i < n; i++)
                if (memcmp(&ring->keys[role][i], key, sizeof(*key)) == 0)
                        return 0;
        if (n == TRUST_KEYS_MAX)
                return -E2BIG;
        ring->keys[role][n] = *key;
        ring->n_keys[role]++;
        return 0;
}

int trust_ring_revoke(struct trust_ring *ring, const uint8_t id[static 8], time_t from)
{
        for (size_t i = 0; i < ring->n_revoked; i++) {
                struct trust_revoked *v = &ring->revoked[i];

                if (memcmp(v->id, id, sizeof(v->id)) != 0)
                        continue;
                if (from < v->from)
                        v->from = from;
                return 0;
        }
        if (ring->n_revoked == TRUST_REVOKED_MAX)
                return -E2BIG;
        memcpy(ring->revoked[ring->n_revoked].id, id, sizeof(ring->revoked[0].id));
        ring->revoked[ring->n_revoked++].from = from;
        return 0;
}

bool trust_ring_is_revoked(const struct trust_ring *ring, const uint8_t id[static 8], time_t now)
{
        for (size_t i = 0; i < ring->n_revoked; i++)
                if (memcmp(ring->revoked[i].id, id, sizeof(ring->revoked[i].id)) == 0)
                        return ring->revoked[i].from <= now;
        return false;
}

unsigned trust_ring_needs(const struct trust_ring *ring, enum trust_role role)
{
        return ring->signatures[role] ? ring->signatures[role] : 1;
}

bool trust_ring_can_sign(const struct trust_ring *ring, enum trust_role role, time_t now)
{
        unsigned n = 0;

        for (size_t i = 0; i < ring->n_keys[role]; i++)
                n += !trust_ring_is_revoked(ring, ring->keys[role][i].id, now);
        return n >= trust_ring_needs(ring, role);
}

/* Why a signature by this key counts for nothing. */
static int refuse_key(const struct trust_ring *ring, enum trust_role role, const uint8_t id[static 8], time_t now,
                      const char *file, struct diag *reterr)
{
        char text[TRUST_KEY_ID_TEXT];

        trust_key_id_format(id, text);
        if (ring->n_keys[role] == 0)
                return diag_set(reterr, -ENOKEY, file, 0, "no key '%s.pub' is installed to verify it with",
                                role_names[role]);
        if (trust_ring_is_revoked(ring, id, now))
                return diag_set(reterr, -ENOKEY, file, 0, "signed by key %s, which is revoked", text);
        for (enum trust_role other = 0; other < _TRUST_ROLE_MAX; other++)
                if (find_key(ring, other, id))
                        return diag_set(reterr, -ENOKEY, file, 0, "signed by key %s, which is no %s key but a %s key",
                                        text, role_names[role], role_names[other]);
        return diag_set(reterr, -ENOKEY, file, 0, "signed by key %s, which is not trusted here", text);
}

static bool is_counted(const struct trust_signature *list, size_t n, const struct trust_signature *s)
{
        for (size_t i = 0; i < n; i++)
                if (memcmp(list[i].key_id, s->key_id, sizeof(s->key_id)) == 0)
                        return true;
        return false;
}

/* Leaves those in place that count. */
static size_t drop_worthless(const struct trust_ring *ring, struct trust_signature *list, size_t n, time_t now,
                             uint8_t ret_stranger[static 8])
{
        size_t kept = 0;

        for (size_t i = 0; i < n; i++) {
                if (trust_ring_is_revoked(ring, list[i].key_id, now))
                        memcpy(ret_stranger, list[i].key_id, sizeof(list[i].key_id));
                else if (!is_counted(list, kept, &list[i]))
                        list[kept++] = list[i];
        }
        return kept;
}

int trust_ring_verify(const struct trust_ring *ring, enum trust_role role, const struct trust_file *f, time_t now,
                      struct trust_verdict *ret, struct diag *reterr)
{
        struct trust_signature list[TRUST_SIGNATURES_MAX];
        struct trust_verdict v = {0};
        uint8_t stranger[8] = {0};
        size_t n;
        int r;

        r = trust_verify(ring->keys[role], ring->n_keys[role], f, list, &n, stranger, reterr);
        if (r < 0)
                return r;
        n = drop_worthless(ring, list, n, now, stranger);
        if (n == 0)
                return refuse_key(ring, role, stranger, now, f->name, reterr);
        if (n < trust_ring_needs(ring, role))
                return diag_set(reterr, -EUSERS, f->name, 0, "%zu of the %u signatures that a %s needs here", n,
                                trust_ring_needs(ring, role), role_names[role]);
        for (size_t i = 0; i < n; i++) {
                const time_t t = trust_comment_cut(list[i].comment);

                if (t > v.signed_at)
                        v.signed_at = t;
                if (strcmp(list[i].comment, list[0].comment) != 0)
                        return diag_set(reterr, -EINVAL, f->name, 0,
                                        "its signatures say different things: '%s' and '%s'", list[0].comment,
                                        list[i].comment);
        }
        trust_key_id_format(list[0].key_id, v.signer);
        memcpy(v.comment, list[0].comment, sizeof(v.comment));
        v.n_signers = (unsigned)n;
        *ret = v;
        return 0;
}

time_t trust_time(time_t built, time_t signed_at, time_t clock)
{
        const time_t t = built > signed_at ? built : signed_at;

        return t > clock ? t : clock;
}

int trust_order_check(const struct trust_order *o, const char *file, struct diag *reterr)
{
        if (o->serial < o->floor)
                return diag_set(reterr, -ESTALE, file, 0,
                                "serial %" PRIu64 " is older than %" PRIu64 ", which was accepted before", o->serial,
                                o->floor);
        if (!o->held_serial || o->serial != o->held_serial)
                return 0;
        if (!strcmp(o->hash, o->held_hash))
                return diag_set(reterr, -EALREADY, file, 0, "already in force");
        return diag_set(reterr, -ESTALE, file, 0,
                        "serial %" PRIu64 " is in force with other contents: a changed file needs a higher serial",
                        o->serial);
}
