/* SPDX-License-Identifier: GPL-3.0-or-later */
/* policy, catalogue, exemption, rollout: what agents are sent, changed beside the running server. */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "collector/api/offer.h"
#include "collector/command.h"
#include "trust/trust.h"

static int not_taken(int r)
{
        return fail_with("the database does not take it: %s", strerror(-r));
}

/* The part and, of a policy that changes keys, its link; the oldest link too many goes. */
struct oldest {
        char part[64];
        size_t n;
};

static int on_link(const char *part, const char *json, void *userdata)
{
        struct oldest *o = userdata;

        if (!text_starts_with(part, OFFER_LINK))
                return 0;
        if (o->n++ == 0)
                snprintf(o->part, sizeof(o->part), "%s", part);
        return 0;
}

static int policy_put(struct store *s, const char *part, const struct offer *o)
{
        struct oldest oldest = {0};
        char link[64];
        int r = store_bundle_put(s, part, o->json);

        if (r < 0 || !o->has_trust)
                return r;
        snprintf(link, sizeof(link), OFFER_LINK "%020llu", (unsigned long long)o->serial);
        r = store_bundle_put(s, link, o->json);
        if (r == 0)
                r = store_bundle_each(s, on_link, &oldest);
        return r == 0 && oldest.n > OFFER_LINKS_MAX ? store_bundle_remove(s, oldest.part) : r;
}

/* -EEXIST a rollout is under way */
static int no_rollout(struct store *s)
{
        _cleanup_free_ char *json = NULL;
        int r = store_bundle_get(s, OFFER_ROLLOUT, &json);

        return r == 0 ? -EEXIST : r == -ENOENT ? 0 : r;
}

static int part_command(int argc, char **argv, const char *part)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        _cleanup_(offer_done) struct offer o = {0};
        struct diag d = {0};
        int r;

        if (argc != 3)
                return fail_usage("%s needs DIR FILE", argv[0]);
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (offer_read(part, argv[2], &o, &d) < 0)
                return fail(&d);
        r = no_rollout(s);
        if (r == -EEXIST && strcmp(part, OFFER_POLICY) == 0)
                return fail_with("a rollout is under way: 'rollout %s finish' or 'back' ends it", argv[1]);
        r = policy_put(s, part, &o);
        if (r < 0)
                return not_taken(r);
        printf("%s: handed to the agents from now on; whether they take it stands under Devices\n", argv[2]);
        return audit(s, argv[0], argv[2]);
}

int command_policy(int argc, char **argv)
{
        return part_command(argc, argv, OFFER_POLICY);
}

int command_catalogue(int argc, char **argv)
{
        return part_command(argc, argv, OFFER_CATALOGUE);
}

/* ---- exemption ---- */

static int on_exemption(const char *part, const char *json, void *userdata)
{
        json_auto_t *pair = json_loads(json, 0, NULL);
        const char *text = json_string_value(json_object_get(pair, "file"));
        _cleanup_exemption_ struct exemption *e = NULL;
        char until[TIME_TEXT_MAX] = "for ever";

        if (!text_starts_with(part, OFFER_EXEMPTION) || !text ||
            exemption_parse(text, strlen(text), part, &e, NULL) < 0)
                return 0;
        if (e->until)
                time_format(e->until, until);
        printf("%s %s until %s: %s\n", exemption_kind_to_string(e->kind), e->id, until, e->reason);
        return 0;
}

int exemption_key_put(const struct config *c, const char *file)
{
        struct trust_secret secret;
        _cleanup_free_ char *text = NULL;
        struct diag d = {0};
        size_t size;
        int r = file_read(file, TRUST_KEY_MAX_BYTES, &text, &size);

        if (r < 0)
                return fail_with("%s: cannot be read: %s", file, strerror(-r));
        r = trust_secret_parse(text, size, file, NULL, &secret, &d);
        if (r == 0) {
                trust_secret_done(&secret);
                sodium_memzero(text, size);
                return fail_with(
                        "%s: has no password: who takes this file could sign. Make a key with 'onchannel key new "
                        "exemption --password --server'",
                        file);
        }
        if (r != -EKEYREJECTED)
                return fail(&d);
        r = file_write_atomic(c->exemption_key, text, size, 0600);
        return r < 0 ? fail_with("cannot write '%s': %s", c->exemption_key, strerror(-r)) : EXIT_SUCCESS;
}

static int exemption_key(struct store *s, const struct config *c, const char *file)
{
        if (strcmp(file, "none") == 0) {
                if (unlink(c->exemption_key) < 0 && errno != ENOENT)
                        return fail_with("cannot remove '%s': %s", c->exemption_key, strerror(errno));
                printf("The page signs no exemptions from now on.\n");
        } else if (exemption_key_put(c, file) == EXIT_SUCCESS) {
                printf("Admins who know its password sign exemptions on the page from now on.\n");
        } else {
                return EXIT_FAILURE;
        }
        return audit(s, "exemption key", file);
}

int command_exemption(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        _cleanup_free_ char *part = NULL;
        _cleanup_(offer_done) struct offer o = {0};
        struct diag d = {0};
        int r;

        if (argc != 3 && (argc != 4 || strcmp(argv[2], "key") != 0))
                return fail_usage("exemption needs DIR FILE, DIR list, or DIR key FILE");
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (argc == 4)
                return exemption_key(s, &config, argv[3]);
        if (strcmp(argv[2], "list") == 0) {
                r = store_bundle_each(s, on_exemption, NULL);
                return r < 0 ? fail_with("the database does not answer: %s", strerror(-r)) : EXIT_SUCCESS;
        }
        if (offer_read(OFFER_EXEMPTION, argv[2], &o, &d) < 0)
                return fail(&d);
        part = format_new(OFFER_EXEMPTION "%s", o.exemption->id);
        r = part ? store_bundle_put(s, part, o.json) : -ENOMEM;
        if (r < 0)
                return not_taken(r);
        printf("%s: handed to the devices that it names from now on\n", o.exemption->id);
        return audit(s, argv[0], o.exemption->id);
}

/* ---- rollout ---- */

static int share_parse(const char *text, unsigned *ret)
{
        char whole[8];
        uint64_t n, tenth = 0;
        const char *point = strchr(text, '.');

        snprintf(whole, sizeof(whole), "%.*s", (int)strcspn(text, ".%"), text);
        if (parse_u64(whole, 100, &n) < 0 ||
            (point && (point[1] < '0' || point[1] > '9' || (point[2] && point[2] != '%'))))
                return -EINVAL;
        if (point)
                tenth = (uint64_t)(point[1] - '0');
        *ret = (unsigned)(n * 10 + tenth);
        return *ret <= 1000 ? 0 : -EINVAL;
}

struct options {
        const char *back;
        bool json, has_share;
        struct rollout ring; /* per_mille, patterns */
};

static int options_parse(int argc, char **argv, struct options *ret)
{
        static const struct option longs[] = {{"share", required_argument, NULL, 's'},
                                              {"device", required_argument, NULL, 'd'},
                                              {"back", required_argument, NULL, 'b'},
                                              {"json", no_argument, NULL, 'j'},
                                              {0}};
        int c;

        opterr = 0;
        while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
                if (c == 's' && share_parse(optarg, &ret->ring.per_mille) < 0)
                        return fail_usage("--share is a percentage such as 5 or 0.5, not '%s'", optarg);
                if (c == 'd' && ret->ring.n_patterns == ROLLOUT_PATTERNS_MAX)
                        return fail_usage("--device at most %d times", ROLLOUT_PATTERNS_MAX);
                if (c == 'd' && !(ret->ring.patterns[ret->ring.n_patterns++] = strdup(optarg)))
                        return fail_with("no memory");
                if (c == '?')
                        return fail_usage("rollout does not know '%s', or it needs a value", argv[optind - 1]);
                ret->has_share |= c == 's';
                ret->json |= c == 'j';
                if (c == 'b')
                        ret->back = optarg;
        }
        return EXIT_SUCCESS;
}

static int rollout_put(struct store *s, const struct rollout *x)
{
        _cleanup_free_ char *json = rollout_format(x);

        return json ? store_bundle_put(s, OFFER_ROLLOUT, json) : -ENOMEM;
}

static int rollout_start(struct store *s, const char *file, struct options *o)
{
        _cleanup_(offer_done) struct offer ring = {0}, back = {0};
        _cleanup_free_ char *kept = NULL;
        struct diag d = {0};
        int r;

        if (!file || !o->back || (o->ring.per_mille == 0 && o->ring.n_patterns == 0))
                return fail_usage("rollout start needs a policy, --back, and --share or --device");
        if (no_rollout(s) == -EEXIST)
                return fail_with("a rollout is under way already");
        if (offer_read(OFFER_POLICY, file, &ring, &d) < 0 || offer_read(OFFER_POLICY, o->back, &back, &d) < 0)
                return fail(&d);
        if (ring.has_trust || back.has_trust)
                return fail_with(
                        "%s: [trust] changes keys, which a device never forgets: that cannot be turned back, and "
                        "so is not tried in a ring. Hand it to everyone with 'policy', as a policy of its own",
                        ring.has_trust ? file : o->back);
        r = offer_kept(s, OFFER_POLICY, &kept, &o->ring.base);
        if (r < 0 && r != -ENOENT)
                return not_taken(r);
        o->ring.serial = ring.serial;
        o->ring.back = back.serial;
        o->ring.since_ms = now_ms();
        if (ring.serial <= o->ring.base)
                return fail_with("%s: serial %llu is not above %llu, which everyone has: agents would refuse it",
                                 file, (unsigned long long)ring.serial, (unsigned long long)o->ring.base);
        if (back.serial <= ring.serial)
                return fail_with("%s: serial %llu is not above %llu, the rollout's: agents would not turn back to it",
                                 o->back, (unsigned long long)back.serial, (unsigned long long)ring.serial);
        r = store_bundle_put(s, OFFER_RING, ring.json);
        if (r == 0)
                r = store_bundle_put(s, OFFER_BACK, back.json);
        if (r == 0)
                r = rollout_put(s, &o->ring);
        if (r < 0)
                return not_taken(r);
        printf("Serial %llu goes to the first ring.\n", (unsigned long long)ring.serial);
        return audit(s, "rollout start", file);
}

static int rollout_widen(struct store *s, struct rollout *x, struct options *o)
{
        int r;

        if (!o->has_share && o->ring.n_patterns == 0)
                return fail_usage("rollout widen needs --share or --device");
        if (o->has_share && o->ring.per_mille < x->per_mille)
                return fail_with(
                        "the share is %u.%u %% already; what agents have taken they keep: 'back' takes it away",
                        x->per_mille / 10, x->per_mille % 10);
        if (o->has_share)
                x->per_mille = o->ring.per_mille;
        for (size_t i = 0; i < o->ring.n_patterns && x->n_patterns < ROLLOUT_PATTERNS_MAX; i++)
                x->patterns[x->n_patterns++] = TAKE_PTR(o->ring.patterns[i]);
        r = rollout_put(s, x);
        return r < 0 ? not_taken(r) : audit(s, "rollout widen", NULL);
}

/* Everyone gets one of the two; the rollout is over. */
static int rollout_end(struct store *s, const char *part, const char *action)
{
        _cleanup_free_ char *json = NULL;
        uint64_t serial;
        int r = offer_kept(s, part, &json, &serial);

        if (r == 0)
                r = store_bundle_put(s, OFFER_POLICY, json);
        if (r == 0)
                r = store_bundle_remove(s, OFFER_RING);
        if (r == 0)
                r = store_bundle_remove(s, OFFER_BACK);
        if (r == 0)
                r = store_bundle_remove(s, OFFER_ROLLOUT);
        if (r < 0)
                return not_taken(r);
        printf("Serial %llu goes to everyone.\n", (unsigned long long)serial);
        return audit(s, action, NULL);
}

static void report_print(const json_t *o)
{
        const json_t *ring = json_object_get(o, "ring"), *refused = json_object_get(ring, "refused");
        const json_t *violations = json_object_get(ring, "violations");
        json_int_t share = json_integer_value(json_object_get(o, "per_mille"));
        size_t i;
        json_t *one;

#define NUMBER(object, name) ((long long)json_integer_value(json_object_get(object, name)))
        printf("serial %lld, ring of %lld.%lld %%", NUMBER(o, "serial"), (long long)share / 10,
               (long long)share % 10);
        json_array_foreach(json_object_get(o, "devices"), i, one) printf(" and %s", json_string_value(one));
        printf("; everyone else has %lld; the way back is %lld\n", NUMBER(o, "base"), NUMBER(o, "back"));
        printf("%lld devices: %lld applied it, %lld have not answered yet", NUMBER(ring, "devices"),
               NUMBER(ring, "applied"), NUMBER(ring, "waiting") + NUMBER(ring, "silent"));
        printf(NUMBER(ring, "silent") > 0 ? " (%lld of them silent)\n" : "\n", NUMBER(ring, "silent"));
        json_array_foreach(refused, i, one)
        {
                const json_t *names = json_object_get(one, "devices");

                printf("%zu refused it: %s (%s%s)\n", json_array_size(names),
                       json_string_value(json_object_get(one, "reason")), json_string_value(json_array_get(names, 0)),
                       json_array_size(names) > 1 ? ", …" : "");
        }
        if (json_is_object(violations))
                printf("since then it blocked %lld attempts and would have blocked %lld\n",
                       NUMBER(violations, "blocked"), NUMBER(violations, "would_block"));
#undef NUMBER
}

static int rollout_status(struct store *s, const char *kept, bool json)
{
        json_auto_t *o = NULL;
        int r = kept ? rollout_report(s, &(struct rollout_kept){.json = kept}, &o) : 0;

        if (r < 0)
                return fail_with("the database does not answer: %s", strerror(-r));
        if (json)
                json_dumpf(o ?: json_null(), stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        else if (o)
                report_print(o);
        printf("%s", json ? "\n" : o ? "" : "No rollout is under way.\n");
        return EXIT_SUCCESS;
}

static int rollout_run(struct store *s, const char *verb, const char *file, struct options *o)
{
        _cleanup_(rollout_done) struct rollout x = {0};
        _cleanup_free_ char *kept = NULL;
        int r;

        if (strcmp(verb, "start") == 0)
                return rollout_start(s, file, o);
        r = store_bundle_get(s, OFFER_ROLLOUT, &kept);
        if (strcmp(verb, "status") == 0)
                return rollout_status(s, kept, o->json);
        if (r == 0)
                r = rollout_parse(kept, &x);
        if (r == -ENOENT)
                return fail_with("no rollout is under way");
        if (r < 0)
                return fail_with("the rollout cannot be read: %s", strerror(-r));
        if (strcmp(verb, "widen") == 0)
                return rollout_widen(s, &x, o);
        if (strcmp(verb, "finish") == 0)
                return rollout_end(s, OFFER_RING, "rollout finish");
        if (strcmp(verb, "back") == 0)
                return rollout_end(s, OFFER_BACK, "rollout back");
        return fail_usage("rollout knows start, status, widen, finish and back, not '%s'", verb);
}

int command_rollout(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct options o = {0};
        int r = options_parse(argc, argv, &o);

        if (r == EXIT_SUCCESS && (argc - optind < 2 || argc - optind > 3))
                r = fail_usage("rollout needs DIR and start, status, widen, finish or back");
        if (r == EXIT_SUCCESS)
                r = collector_open(argv[optind], &config, &s);
        if (r == EXIT_SUCCESS)
                r = rollout_run(s, argv[optind + 1], argc - optind > 2 ? argv[optind + 2] : NULL, &o);
        rollout_done(&o.ring);
        return r;
}
