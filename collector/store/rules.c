/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which rule holds for a record, and what would go by it. */
#include "collector/store/rules.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "collector/store/erase.h"
#include "collector/store/private.h"
#include "collector/store/schema.h"

/* ---- what is set ---- */

/* More conditions weigh more; of as many a channel, then a device, then a class; then the pattern with more characters
 * that are no '*' or '?'. */
static int64_t weight(const struct store_rule *rule)
{
        int64_t literal = 0, what = (rule->channel ? 4 : 0) + (rule->device ? 2 : 0) + (rule->class ? 1 : 0);

        for (const char *c = rule->device; c && *c; c++)
                literal += *c != '*' && *c != '?';
        return (__builtin_popcount((unsigned)what) * 8 + what) * STORE_NAME_MAX + literal;
}

#define SAME                                                                                                         \
        "coalesce(class, '') = coalesce($1, '') AND coalesce(channel, '') = coalesce($2, '')"                        \
        " AND coalesce(device, '') = coalesce($3, '')"

static int changed(struct db *db, int r)
{
        return r < 0 ? r : db_run(db, "DELETE FROM retention_swept", "");
}

int store_rule_set(struct store *s, const struct store_rule *rule)
{
        struct db *db = s->write;
        int64_t n = 0;
        int r = db_run(db, "DELETE FROM retention_rule WHERE " SAME, "ttt", rule->class, rule->channel, rule->device);

        if (r >= 0)
                r = db_number(db, "SELECT count(*) FROM retention_rule", &n, "");
        if (r >= 0 && n >= STORE_RULES_MAX)
                r = -E2BIG;
        if (r >= 0)
                r = db_run(db,
                           "INSERT INTO retention_rule (class, channel, device, months, weight)"
                           " VALUES ($1, $2, $3, $4, $5)",
                           "tttii", rule->class, rule->channel, rule->device, (int64_t)rule->months, weight(rule));
        r = changed(db, r);
        return r < 0 ? r : 0;
}

int store_rule_remove(struct store *s, int64_t number)
{
        int r = db_run(s->write, "DELETE FROM retention_rule WHERE number = $1", "i", number);

        r = r == 0 ? -ENOENT : changed(s->write, r);
        return r < 0 ? r : 0;
}

#define ORDER "weight DESC, CASE months WHEN 0 THEN 0 ELSE 1 END, months DESC, number"

int store_rules(struct store *s, store_rule_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->write,
                         "SELECT number, class, channel, device, months FROM retention_rule ORDER BY " ORDER, &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct store_rule rule = {db_int(&q, 0), db_text(&q, 1), db_text(&q, 2), db_text(&q, 3),
                                          (unsigned)db_int(&q, 4)};

                r = fn(&rule, userdata);
        }
        return r < 0 ? r : 0;
}

/* ---- what follows from it ---- */

static void rules_take(struct rules *rules, const struct store_rule *rule)
{
        rules->months[rules->n++] = rule->months;
        if (rule->months && (!rules->shortest || rule->months < rules->shortest))
                rules->shortest = rule->months;
        if (!rule->months)
                rules->longest = UINT_MAX;
        else if (rule->months > rules->longest)
                rules->longest = rule->months;
}

int rules_load(struct db *db, uint64_t now_ms, const struct store_rule *more, struct rules *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct rules rules = {.this_month = schema_month(now_ms)};
        bool for_all = false;
        int r = db_query(db, "SELECT months, class, channel, device FROM retention_rule LIMIT $1", &q, "i",
                         (int64_t)STORE_RULES_MAX);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                rules_take(&rules, &(struct store_rule){.months = (unsigned)db_int(&q, 0)});
                for_all = for_all || (!db_text(&q, 1) && !db_text(&q, 2) && !db_text(&q, 3));
        }
        if (r < 0)
                return r;
        if (more)
                rules_take(&rules, more);
        if (!for_all)
                rules.longest = UINT_MAX;
        *ret = rules;
        return 0;
}

static int64_t month_count(int64_t month)
{
        return month / 100 * 12 + month % 100 - 1;
}

static int64_t month_before(int64_t month, unsigned n)
{
        int64_t count = month_count(month) - n;

        return count / 12 * 100 + count % 12 + 1;
}

unsigned rules_age(const struct rules *rules, int64_t month)
{
        int64_t age = month_count(rules->this_month) - month_count(month);

        return age < 0 ? 0 : (unsigned)age;
}

int64_t rules_before(const struct rules *rules)
{
        return month_before(rules->this_month, rules->shortest);
}

unsigned rules_stage(const struct rules *rules, int64_t month)
{
        unsigned stage = 0, age = rules_age(rules, month);

        for (size_t i = 0; i < rules->n; i++)
                if (rules->months[i] < age && rules->months[i] > stage)
                        stage = rules->months[i];
        return stage;
}

void rules_add_select(struct buf *b, enum db_kind kind, const char *what, const char *table)
{
        /* a pattern has '*' and '?' alone: command-retention.c */
        static const char *const like[_DB_KIND_MAX] = {
                [DB_SQLITE] = "d.name GLOB k.device",
                [DB_POSTGRES] =
                        "d.name LIKE translate(replace(replace(k.device, '_', '\\_'), '%', '\\%'), '*?', '%_')",
        };

        buf_addf(b,
                 "(SELECT %s FROM %s k WHERE (k.class IS NULL OR k.class = r.class)"
                 " AND (k.channel IS NULL OR k.channel = r.channel) AND (k.device IS NULL OR EXISTS (SELECT 1"
                 " FROM device d WHERE d.number = r.device AND (d.id = k.device OR %s))) ORDER BY " ORDER " LIMIT 1)",
                 what, table, like[kind]);
}

static int64_t month_start_ms(int64_t month)
{
        struct tm tm = {.tm_year = (int)(month / 100) - 1900, .tm_mon = (int)(month % 100) - 1, .tm_mday = 1};

        return (int64_t)timegm(&tm) * 1000;
}

void rules_add_expired(struct buf *b, enum db_kind kind, const struct rules *rules, const char *table)
{
        _cleanup_buf_ struct buf when = {0};

        buf_add_string(&when, "CASE k.months");
        for (size_t i = 0; i < rules->n; i++)
                buf_addf(&when, " WHEN %u THEN %lld", rules->months[i],
                         rules->months[i]
                                 ? (long long)month_start_ms(month_before(rules->this_month, rules->months[i]))
                                 : 0);
        buf_add_string(&when, " END");
        buf_add_string(b, "r.received_ms < coalesce(");
        rules_add_select(b, kind, (const char *)when.data ?: "",
                         table); /* without memory: b fails as well, or it is no SQL */
        buf_add_string(b, ", 0)");
}

/* ---- what would go ---- */

/* With another rule, number 0, in place of the one about the same. */
#define RULES_AND_ONE                                                                                                \
        "(SELECT number, class, channel, device, months, weight FROM retention_rule WHERE NOT (" SAME ")"            \
        " UNION ALL SELECT 0, $1, $2, $3, $4, $5)"

static int due_query(struct db *db, const struct rules *rules, const char *table, struct buf *b)
{
        buf_add_string(b, "SELECT x.rule, x.month, count(*) - count(x.held), count(x.held) FROM (SELECT ");
        rules_add_select(b, db_kind(db), "k.number", table);
        buf_addf(b,
                 " AS rule, r.month, CASE WHEN " HELD " THEN 1 END AS held FROM record r"
                 " WHERE r.month < %lld AND r.erased_ms IS NULL AND ",
                 (long long)rules_before(rules));
        rules_add_expired(b, db_kind(db), rules, table);
        buf_add_string(b, ") x GROUP BY x.rule, x.month ORDER BY x.month, x.rule");
        return buf_error(b);
}

int store_due(struct store *s, uint64_t now_ms, const struct store_rule *more, store_due_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        _cleanup_buf_ struct buf b = {0};
        struct db *db = s->write;
        struct rules rules;
        int r = rules_load(db, now_ms, more, &rules);

        if (r < 0 || !rules.shortest)
                return r;
        r = due_query(db, &rules, more ? RULES_AND_ONE : RULES_TABLE, &b);
        if (r == 0 && more)
                r = db_query(db, (const char *)b.data, &q, "tttii", more->class, more->channel, more->device,
                             (int64_t)more->months, weight(more));
        else if (r == 0)
                r = db_query(db, (const char *)b.data, &q, "");
        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct store_due due = {db_int(&q, 0), db_int(&q, 1), (uint64_t)db_int(&q, 2),
                                        (uint64_t)db_int(&q, 3)};

                r = fn(&due, userdata);
        }
        return r < 0 ? r : 0;
}
