/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The [trust] section: keys and signatures from this policy on. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "policy/internal.h"

int policy_revoked_key_parse(const char *value, struct trust_revoked *ret)
{
        char id[TRUST_KEY_ID_TEXT];
        const size_t n = strcspn(value, " ");

        if (n != sizeof(id) - 1)
                return -EINVAL;
        memcpy(id, value, n);
        id[n] = 0;
        ret->from = 0;
        if (value[n] && (time_parse(value + n + 1, &ret->from) < 0 || ret->from <= 0))
                return -EINVAL;
        return trust_key_id_parse(id, ret->id);
}

bool policy_hands_over(const struct policy *p)
{
        const struct policy_trust *t = &p->trust;

        return t->next_keys || t->next_catalogue_keys || t->next_exemption_keys || t->revoke_keys ||
               t->policy_signatures || t->catalogue_signatures || t->exemption_signatures;
}

static int add_keys(struct trust_ring *ring, enum trust_role role, char *const *list)
{
        struct trust_key key;
        int r = 0;

        for (; list && *list && r >= 0; list++) {
                r = trust_key_from_base64(*list, &key);
                if (r >= 0)
                        r = trust_ring_add(ring, role, &key);
        }
        return r;
}

static int revoke_keys(struct trust_ring *ring, char *const *list)
{
        struct trust_revoked v;
        int r = 0;

        for (; list && *list && r >= 0; list++) {
                r = policy_revoked_key_parse(*list, &v);
                if (r >= 0)
                        r = trust_ring_revoke(ring, v.id, v.from);
        }
        return r;
}

int policy_hand_over(const struct policy *p, struct trust_ring *ring, const char *file, struct diag *reterr)
{
        const struct policy_trust *t = &p->trust;
        char *const *const keys[] = {[TRUST_ROLE_POLICY] = t->next_keys,
                                     [TRUST_ROLE_CATALOGUE] = t->next_catalogue_keys,
                                     [TRUST_ROLE_EXEMPTION] = t->next_exemption_keys};
        const uint64_t signatures[] = {[TRUST_ROLE_POLICY] = t->policy_signatures,
                                       [TRUST_ROLE_CATALOGUE] = t->catalogue_signatures,
                                       [TRUST_ROLE_EXEMPTION] = t->exemption_signatures};
        struct trust_ring after = *ring;
        int r = 0;

        _Static_assert(ELEMENTSOF(keys) == _TRUST_ROLE_MAX && ELEMENTSOF(signatures) == _TRUST_ROLE_MAX,
                       "every role");
        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX && r >= 0; role++) {
                r = add_keys(&after, role, keys[role]);
                if (signatures[role])
                        after.signatures[role] = (unsigned)signatures[role];
        }
        if (r >= 0)
                r = revoke_keys(&after, t->revoke_keys);
        if (r < 0)
                return diag_set(reterr, r, file, p->trust_line, "more than %d keys of one role or %d revoked ones",
                                TRUST_KEYS_MAX, TRUST_REVOKED_MAX);
        if (policy_hands_over(p) && !trust_ring_can_sign(&after, TRUST_ROLE_POLICY, INT64_MAX))
                return diag_set(reterr, -EPERM, file, p->trust_line,
                                "nobody could sign the next policy: it would need %u of the keys that are left",
                                trust_ring_needs(&after, TRUST_ROLE_POLICY));
        *ring = after;
        return 0;
}

bool policy_revokes_exemption(const struct policy *p, const char *id)
{
        for (char **s = p->trust.revoke_exemptions; s && *s; s++)
                if (!strcmp(*s, id))
                        return true;
        return false;
}
