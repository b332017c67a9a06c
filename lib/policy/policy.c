/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "policy/internal.h"

const char *const policy_verdict_words[] = {
        [VERDICT_ALLOW] = "allow",
        [VERDICT_WATCH] = "watch",
        [VERDICT_BLOCK] = "block",
};
_Static_assert(ELEMENTSOF(policy_verdict_words) == _VERDICT_MAX, "a verdict without a name");

const char *const policy_mode_words[] = {
        [POLICY_MODE_ENFORCE] = "enforce",
        [POLICY_MODE_MONITOR] = "monitor",
};
_Static_assert(ELEMENTSOF(policy_mode_words) == _POLICY_MODE_MAX, "a mode without a name");

const char *const policy_quic_words[] = {
        [QUIC_INSPECT] = "inspect",
        [QUIC_BLOCK] = "block",
        [QUIC_ALLOW] = "allow",
};
_Static_assert(ELEMENTSOF(policy_quic_words) == _QUIC_MODE_MAX, "a QUIC mode without a name");

const char *verdict_to_string(enum verdict v)
{
        return policy_verdict_words[v];
}

int verdict_from_string(const char *s, enum verdict *ret)
{
        for (size_t i = 0; i < ELEMENTSOF(policy_verdict_words); i++)
                if (strcmp(s, policy_verdict_words[i]) == 0) {
                        *ret = (enum verdict)i;
                        return 0;
                }
        return -EINVAL;
}

const char *policy_mode_to_string(enum policy_mode m)
{
        return policy_mode_words[m];
}

const char *quic_mode_to_string(enum quic_mode m)
{
        return policy_quic_words[m];
}

static void strings_free(char **strings)
{
        for (char **s = strings; s && *s; s++)
                free(*s);
        free(strings);
}

struct policy *policy_free(struct policy *p)
{
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n_groups; i++) {
                free(p->groups[i].name);
                strings_free(p->groups[i].devices);
                strings_free(p->groups[i].tags);
                strings_free(p->groups[i].users);
                strings_free(p->groups[i].unixgroups);
        }
        for (size_t i = 0; i < p->n_channels; i++) {
                free(p->channels[i].id);
                free(p->channels[i].group);
                free(p->channels[i].archive);
                free(p->channels[i].reason);
        }
        strings_free(p->trust.next_keys);
        strings_free(p->trust.next_catalogue_keys);
        strings_free(p->trust.next_exemption_keys);
        strings_free(p->trust.revoke_keys);
        strings_free(p->trust.revoke_exemptions);
        free(p->groups);
        free(p->channels);
        free(p->organisation);
        free(p->notice);
        free(p->help);
        free(p);
        return NULL;
}

int policy_comment_new(const struct policy *p, char **ret)
{
        char expires[TIME_TEXT_MAX];
        char *comment = format_new("onchannel policy serial=%" PRIu64 " expires=%s", p->serial,
                                   time_format(p->expires, expires));

        if (!comment)
                return -ENOMEM;
        *ret = comment;
        return 0;
}

int policy_comment_check(const struct policy *p, const char *comment, const char *file, struct diag *reterr)
{
        _cleanup_free_ char *expected = NULL;
        int r;

        r = policy_comment_new(p, &expected);
        if (r < 0)
                return r;
        if (strcmp(comment, expected) != 0)
                return diag_set(
                        reterr, -EBADMSG, file, 0,
                        "trusted comment '%s' of the signature does not agree with the policy, which needs '%s'",
                        comment, expected);
        return 0;
}
