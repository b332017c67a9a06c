/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the files of this folder share. */
#include "rules/rules.h"

struct rules_string {
        struct rules_string *next;
        char text[];
};

/* Entry indices, sorted by what is looked up; entry numbers themselves never move. */
struct rules_storage {
        struct rules_string *strings;
        uint32_t *names; /* by name, exact before suffix */
        size_t n_names;
        uint32_t *prefixes; /* by family, address, length */
        size_t n_prefixes;
        uint32_t *programs; /* kinds that match as a whole: by kind, value */
        size_t n_programs;
        uint32_t *patterns; /* path and argv, in order of entries */
        size_t n_patterns;
};

void rules_storage_free(struct rules_storage *s);
/* A copy that the storage owns; NULL when memory is short or text is NULL. */
const char *rules_storage_add(struct rules_storage *s, const char *text);

/* Sort the entries of a rule set whose entries are complete. */
int rules_index(struct ruleset *r);

/* Decide r->channels, r->exemptions and r->next_change; channels have id and category. */
int rules_decide(const struct rules_input *in, struct ruleset *r, struct diag *reterr);

/* Let those through whom in->grants exempt. */
int rules_grant(const struct rules_input *in, struct ruleset *r);

/* -EPERM when something protected would be blocked, now or after an `until`. */
int rules_check_protected(const struct rules_input *in, const struct ruleset *r, struct diag *reterr);

int rules_reserve_exemptions(struct ruleset *r, size_t n); /* room for n more */
bool rules_list_has(char *const *list, const char *name); /* NULL-terminated, or NULL */

/* What the policy says of a channel for those whom no section names. */
enum verdict rules_default_verdict(const struct policy *p, enum category category);
/* The [channel ID] section, in force or not; NULL none. */
const struct policy_channel *rules_find_section(const struct policy *p, const char *id);
static inline bool rules_section_is_in_force(const struct policy_channel *s, time_t now)
{
        return s->until == 0 || now < s->until;
}
