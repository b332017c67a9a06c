/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to store/: the rules of retention, as SQL over a record r. */
#include "base/buf.h"
#include "collector/store/store.h"

struct rules {
        unsigned months[STORE_RULES_MAX + 1]; /* of each rule */
        size_t n;
        unsigned shortest; /* 0: nothing goes, ever */
        unsigned longest; /* UINT_MAX: something stays for ever */
        int64_t this_month; /* 202611 */
};

/* `more` is a rule that is not set, but looked at as if it were; NULL. */
int rules_load(struct db *db, uint64_t now_ms, const struct store_rule *more, struct rules *ret);
/* Months from one to the other. */
unsigned rules_age(const struct rules *rules, int64_t month);
/* Records of months before this one may be too old. */
int64_t rules_before(const struct rules *rules);
/* The longest time of a rule that is over for records of the month; 0: none is. */
unsigned rules_stage(const struct rules *rules, int64_t month);
/* "(SELECT what FROM …)" of the rule k that holds for r, among those of a table or subselect. */
void rules_add_select(struct buf *b, enum db_kind kind, const char *what, const char *table);
/* A condition: r is older than its rule allows. */
void rules_add_expired(struct buf *b, enum db_kind kind, const struct rules *rules, const char *table);
#define RULES_TABLE "retention_rule"
