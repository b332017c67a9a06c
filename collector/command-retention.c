/* SPDX-License-Identifier: GPL-3.0-or-later */
/* retention, hold, erase: how long records stay. Each change is an audit entry. */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/api/filter.h"
#include "collector/command.h"

#define PURGE_ROWS    20000 /* removed one by one, a transaction */
#define REASON_MAX    200
#define RULE_TEXT_MAX 256

static int store_failed(struct store *s, int r)
{
        return fail_with("the database does not take it: %s (%s)", strerror(-r), db_error(store_db(s)));
}

/* ---- retention ---- */

static int purge_all(struct store *s)
{
        struct store_purge p;
        uint64_t gone = 0, held = 0;
        int r;

        do {
                r = store_purge(s, now_ms(), PURGE_ROWS, &p);
                if (r < 0)
                        return store_failed(s, r);
                gone += p.n_gone;
                held += p.n_held;
        } while (p.more || p.n_gone > 0);
        printf("%llu records removed", (unsigned long long)gone);
        printf(held ? ", %llu stay under a hold.\n" : ".\n", (unsigned long long)held);
        return EXIT_SUCCESS;
}

/* '*' and '?' alone: what both databases match alike. */
static bool pattern_ok(const char *text)
{
        return *text && strlen(text) < STORE_NAME_MAX && !strpbrk(text, "[]\\");
}

struct retention {
        struct store_rule rule;
        bool set, dry_run;
};

static int option_take(struct retention *q, int option)
{
        uint64_t months;

        switch (option) { /* switch: not an enum */
        case 'm':
                if (parse_u64(optarg, STORE_MONTHS_MAX, &months) < 0)
                        return fail_usage("--months must be 0 (for ever) to %d", STORE_MONTHS_MAX);
                q->rule.months = (unsigned)months;
                q->set = true;
                return EXIT_SUCCESS;
        case 'c':
                if (!filter_class_known(optarg))
                        return fail_usage("there is no class '%s': use, bypass, tamper or exemption-use", optarg);
                q->rule.class = optarg;
                return EXIT_SUCCESS;
        case 'h':
                if (!*optarg || optarg[strspn(optarg, "abcdefghijklmnopqrstuvwxyz0123456789-_.")])
                        return fail_usage("'%s' is not the id of a channel", optarg);
                q->rule.channel = optarg;
                return EXIT_SUCCESS;
        case 'd':
                if (!pattern_ok(optarg))
                        return fail_usage("'%s' is not a device's id, name or pattern of names with * and ?", optarg);
                q->rule.device = optarg;
                return EXIT_SUCCESS;
        case 'n':
                q->dry_run = true;
                return EXIT_SUCCESS;
        default: /* switch: not an enum */
                return fail_usage("retention does not take that");
        }
}

static int retention_parse(int argc, char **argv, struct retention *q)
{
        static const struct option options[] = {
                {"months", required_argument, NULL, 'm'},  {"class", required_argument, NULL, 'c'},
                {"channel", required_argument, NULL, 'h'}, {"device", required_argument, NULL, 'd'},
                {"dry-run", no_argument, NULL, 'n'},       {0},
        };
        int c, r = EXIT_SUCCESS;

        while (r == EXIT_SUCCESS && (c = getopt_long(argc, argv, "", options, NULL)) != -1)
                r = option_take(q, c);
        if (r == EXIT_SUCCESS && !q->set && (q->rule.class || q->rule.channel || q->rule.device))
                return fail_usage("a rule needs --months: for how long what it is about is kept");
        return r;
}

static void rule_text(const struct store_rule *rule, char *ret, size_t size)
{
        snprintf(ret, size, "class %s  channel %s  device %s", rule->class ?: "any", rule->channel ?: "any",
                 rule->device ?: "any");
}

static int rule_print(const struct store_rule *rule, void *userdata)
{
        char about[RULE_TEXT_MAX], months[32] = "for ever";

        if (rule->months)
                snprintf(months, sizeof(months), "%u months", rule->months);
        rule_text(rule, about, sizeof(about));
        printf("%-4lld %-12s %s\n", (long long)rule->number, months, about);
        ++*(unsigned *)userdata;
        return 0;
}

static int retention_show(struct store *s)
{
        unsigned n = 0;
        int r = store_rules(s, rule_print, &n);

        if (r < 0)
                return store_failed(s, r);
        printf(n ? "Months are those after the one in which a record came. The first rule that fits it holds; "
                   "without any "
                   "it is kept for ever.\n"
                 : "Records are kept for ever.\n");
        return EXIT_SUCCESS;
}

static int due_print(const struct store_due *due, void *userdata)
{
        uint64_t *total = userdata;
        char rule[32] = "this rule", month[32] = "held until now";

        if (due->rule)
                snprintf(rule, sizeof(rule), "rule %lld", (long long)due->rule);
        if (due->month)
                snprintf(month, sizeof(month), "%lld-%02lld", (long long)due->month / 100,
                         (long long)due->month % 100);
        printf("%-10s %s  %llu records", rule, month, (unsigned long long)due->n_gone);
        printf(due->n_held ? ", %llu more stay under a hold\n" : "\n", (unsigned long long)due->n_held);
        *total += due->n_gone;
        return 0;
}

static int retention_preview(struct store *s, const struct store_rule *more)
{
        uint64_t total = 0;
        int r = store_due(s, now_ms(), more, due_print, &total);

        if (r < 0)
                return store_failed(s, r);
        printf("%llu records would be removed. Nothing was changed.\n", (unsigned long long)total);
        return EXIT_SUCCESS;
}

static int retention_set(struct store *s, const struct store_rule *rule)
{
        char detail[RULE_TEXT_MAX + 32], about[RULE_TEXT_MAX];
        int r = store_rule_set(s, rule);

        if (r == -E2BIG)
                return fail_with("there are %d rules already", STORE_RULES_MAX);
        if (r < 0)
                return store_failed(s, r);
        rule_text(rule, about, sizeof(about));
        snprintf(detail, sizeof(detail), "months %u  %s", rule->months, about);
        r = audit(s, "retention", detail);
        return r == EXIT_SUCCESS ? retention_show(s) : r;
}

static int retention_remove(struct store *s, const char *text)
{
        uint64_t number = 0;
        char detail[48];
        int r;

        if (parse_u64(text, INT64_MAX, &number) < 0)
                return fail_usage("retention remove needs the rule's number");
        r = store_rule_remove(s, (int64_t)number);
        if (r == -ENOENT)
                return fail_with("there is no rule %s", text);
        if (r < 0)
                return store_failed(s, r);
        snprintf(detail, sizeof(detail), "rule %llu removed", (unsigned long long)number);
        r = audit(s, "retention", detail);
        return r == EXIT_SUCCESS ? retention_show(s) : r;
}

int command_retention(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct retention q = {0};
        const char *verb;
        int r = retention_parse(argc, argv, &q), n = argc - optind;

        if (r != EXIT_SUCCESS)
                return r;
        verb = n >= 2 ? argv[optind + 1] : "";
        if (n != 1 && !(n == 2 && strcmp(verb, "run") == 0) && !(n == 3 && strcmp(verb, "remove") == 0))
                return fail_usage("retention needs DIR, DIR run or DIR remove NUMBER");
        if (*verb && (q.set || (q.dry_run && n == 3)))
                return fail_usage("retention %s does not take that option", verb);
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (q.dry_run)
                return retention_preview(s, q.set ? &q.rule : NULL);
        if (n == 2)
                return purge_all(s);
        if (n == 3)
                return retention_remove(s, argv[optind + 2]);
        return q.set ? retention_set(s, &q.rule) : retention_show(s);
}

/* ---- what a hold or an erasure is about ---- */

struct selection {
        struct store_selection what;
        const char *reason;
};

static int selection_parse(int argc, char **argv, struct selection *ret)
{
        static const struct option options[] = {
                {"user", required_argument, NULL, 'u'},
                {"device", required_argument, NULL, 'd'},
                {"channel", required_argument, NULL, 'c'},
                {"from", required_argument, NULL, 'f'},
                {"to", required_argument, NULL, 't'},
                {"reason", required_argument, NULL, 'r'},
                {0},
        };
        struct store_selection *w = &ret->what;
        time_t t;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'u')
                        w->user = optarg;
                else if (c == 'd')
                        w->device = optarg;
                else if (c == 'c')
                        w->channel = optarg;
                else if (c == 'r')
                        ret->reason = optarg;
                else if (c == '?')
                        return fail_usage("%s does not take that", argv[0]);
                else if (time_or_date_parse(optarg, &t) < 0)
                        return fail_usage("'%s' is not a time: 2026-11-21 or 2026-11-21T00:00:00Z", optarg);
                else
                        *(c == 'f' ? &w->from_ms : &w->to_ms) = (uint64_t)t * 1000;
        }
        return EXIT_SUCCESS;
}

static int selection_check(const struct selection *q, const char *command)
{
        const struct store_selection *w = &q->what;

        if (!w->user && !w->device && !w->channel)
                return fail_usage("%s needs --user, --device or --channel", command);
        if (!q->reason || !*q->reason || strlen(q->reason) > REASON_MAX)
                return fail_usage("%s needs --reason, a few words for the audit", command);
        return EXIT_SUCCESS;
}

/* ---- hold ---- */

static int hold_print(const struct store_hold *h, void *userdata)
{
        char since[TIME_TEXT_MAX], released[TIME_TEXT_MAX];

        printf("%-4lld %s  user %s  device %s  channel %s  since %s  by %s  %s\n", (long long)h->number,
               h->released_ms ? "released" : "in force", h->what.user ?: "any", h->what.device ?: "any",
               h->what.channel ?: "any", time_format((time_t)(h->time_ms / 1000), since), h->who, h->reason);
        if (h->released_ms)
                printf("     released %s\n", time_format((time_t)(h->released_ms / 1000), released));
        return 0;
}

static int hold_add(struct store *s, const struct selection *q)
{
        struct store_hold h = {.reason = q->reason, .who = "command line", .what = q->what, .time_ms = now_ms()};
        char detail[REASON_MAX + 64];
        int64_t number = 0;
        int r = selection_check(q, "hold add");

        if (r != EXIT_SUCCESS)
                return r;
        r = store_hold_add(s, &h, &number);
        if (r < 0)
                return store_failed(s, r);
        printf("Hold %lld: what it is about is neither removed nor erased until it is released.\n",
               (long long)number);
        snprintf(detail, sizeof(detail), "%lld: %s", (long long)number, q->reason);
        return audit(s, "hold", detail);
}

static int hold_release(struct store *s, const char *text)
{
        uint64_t number = 0;
        int r;

        if (parse_u64(text, INT64_MAX, &number) < 0)
                return fail_usage("hold release needs the hold's number");
        r = store_hold_release(s, (int64_t)number, now_ms());
        if (r == -ENOENT)
                return fail_with("there is no hold %s in force", text);
        if (r < 0)
                return store_failed(s, r);
        printf("Hold %s is released.\n", text);
        return audit(s, "hold-release", text);
}

int command_hold(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct selection q = {0};
        const char *verb;
        int r = selection_parse(argc, argv, &q), n = argc - optind;

        if (r != EXIT_SUCCESS)
                return r;
        verb = n >= 2 ? argv[optind + 1] : "";
        if (!(n == 2 && (strcmp(verb, "list") == 0 || strcmp(verb, "add") == 0)) &&
            !(n == 3 && strcmp(verb, "release") == 0))
                return fail_usage("hold needs DIR list, DIR add or DIR release NUMBER");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (strcmp(verb, "add") == 0)
                return hold_add(s, &q);
        if (strcmp(verb, "release") == 0)
                return hold_release(s, argv[optind + 2]);
        r = store_holds(s, hold_print, NULL);
        return r < 0 ? store_failed(s, r) : EXIT_SUCCESS;
}

/* ---- erase ---- */

int command_erase(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct selection q = {0};
        uint64_t erased = 0, held = 0;
        char detail[REASON_MAX + 64];
        int r = selection_parse(argc, argv, &q);

        if (r == EXIT_SUCCESS)
                r = selection_check(&q, "erase");
        if (r != EXIT_SUCCESS)
                return r;
        if (optind + 1 != argc)
                return fail_usage("erase needs one folder");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        r = store_erase(s, &q.what, now_ms(), &erased, &held);
        if (r == -ENOENT)
                return fail_with("there is no device '%s'", q.what.device);
        if (r < 0)
                return store_failed(s, r);
        printf("%llu records erased: their places and hashes stay, so that the rest can be verified.\n",
               (unsigned long long)erased);
        if (held)
                printf("%llu more are under a hold and stay.\n", (unsigned long long)held);
        /* not whom it was about: that is what was erased */
        snprintf(detail, sizeof(detail), "%llu records, %llu held: %s", (unsigned long long)erased,
                 (unsigned long long)held, q.reason);
        r = audit(s, "erase", detail);
        if (r == EXIT_SUCCESS && store_scrub(s) < 0)
                return fail_with("the database's write-ahead log still holds them: run this once more");
        return r;
}
