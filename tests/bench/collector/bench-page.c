/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A page of violations in a store of many: bench-page sqlite|postgres|PATH|URL [ROWS]. Makes the rows (not their bytes),
 * in a database that is removed afterwards, or in that of PATH or URL, where they stay for the next time; then
 * asks for first, deep and last pages under the filters of the page, each 5 times, and prints median and slowest:
 * `name value unit`, and the plans of three searches: all walk an index in the order of the page, from the page's
 * place on, so that the cost is that of the rows looked at, whatever the table holds. */
#include <errno.h>
#include "collector/store/schema.h"
#include "collector/store/store.h"
#include "tests/bench/collector/collector.h"

#define DEVICES 5000
#define USERS   8000
#define RARE    1000003 /* one row in so many is a rare one */
#define BATCH   500
#define STEP_MS 100
#define START   1700000000000ull
#define TIMES   5

struct made {
        struct store_row rows[BATCH];
        char user[BATCH][24], program[BATCH][48];
        uint8_t hash[CHAIN_HASH_SIZE], salt[CHAIN_SALT_SIZE];
};

static uint64_t mix(uint64_t x) /* splitmix64: the same rows each time */
{
        x += 0x9e3779b97f4a7c15u;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
}

/* Skewed, as life is: half of the rows are of an eighth of the values. */
static uint64_t skewed(uint64_t x, uint64_t n)
{
        return x % 2 ? (x >> 1) % n : (x >> 1) % (n / 8);
}

static void row_make(struct made *m, unsigned i, uint64_t number, uint64_t seq)
{
        static const char *const channels[] = {"whatsapp", "telegram", "discord",  "signal",  "viber", "line",
                                               "wechat",   "threema",  "session",  "element", "zalo",  "kakaotalk",
                                               "imo",      "skype",    "snapchat", "icq"};
        static const char *const layers[] = {"dns", "tls", "connect", "quic", "http", "exec"};
        static const char *const outcomes[] = {"reset", "dropped", "refused", "denied"};
        uint64_t x = mix(number);
        bool rare = number % RARE == 7;

        snprintf(m->user[i], sizeof(m->user[i]), "user-%llu", (unsigned long long)skewed(x, USERS));
        snprintf(m->program[i], sizeof(m->program[i]), "/opt/p%llu/program-%llu", (unsigned long long)(x >> 20 & 3),
                 (unsigned long long)skewed(x >> 8, 400));
        m->rows[i] = (struct store_row){.seq = seq,
                                        .time_ms = START + number * STEP_MS,
                                        .kind = "violation",
                                        .channel = rare ? "rare" : channels[skewed(x >> 16, 16)],
                                        .channel_name = "Name",
                                        .class = rare           ? "tamper"
                                                 : x >> 40 & 15 ? "use"
                                                                : "bypass",
                                        .tier = x >> 44 & 3 ? "name" : "program",
                                        .layer = layers[(x >> 32) % 6],
                                        .outcome = outcomes[(x >> 36) % 4],
                                        .verdict = "block",
                                        .user = rare ? "rare" : m->user[i],
                                        .uid = 1000,
                                        .program = m->program[i],
                                        .remote = "192.0.2.7",
                                        .port = 443,
                                        .count = 1,
                                        .policy_serial = 42,
                                        .entry = "suffix example.com",
                                        .hash = m->hash,
                                        .salt = m->salt,
                                        .body = "{}",
                                        .body_size = 2};
}

static void devices_make(struct store *s, int64_t *numbers)
{
        static const uint8_t token[STORE_HASH_SIZE] = {1};

        DEMAND(store_token_add(s, token, DEVICES, UINT64_MAX / 4) == 0);
        for (unsigned i = 0; i < DEVICES; i++) {
                uint8_t key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
                char id[DEVICE_ID_MAX], name[32];
                struct store_device d;

                device_key_new(key, secret);
                device_id_format(key, id);
                snprintf(name, sizeof(name), "ws-%u", i);
                DEMAND(store_device_enrol(s, &(struct store_enrol){id, name, key, token, token, 1}) == 0);
                DEMAND(store_device_get(s, id, &d) == 0);
                numbers[i] = d.number;
        }
        DEMAND(store_commit(s) == 0);
}

static void rows_make(struct store *s, uint64_t n)
{
        static int64_t numbers[DEVICES];
        static uint64_t next[DEVICES];
        static uint8_t heads[DEVICES][CHAIN_HASH_SIZE];
        struct made *m = calloc(1, sizeof(*m));
        uint64_t month_ms = 30ull * 86400 * 1000;

        DEMAND(m);
        devices_make(s, numbers);
        for (uint64_t done = 0; done < n; done += BATCH) {
                /* months of receipt as many as a year's */
                uint64_t received_ms = START + done * 12 / n * month_ms;
                unsigned d = (unsigned)skewed(mix(done), DEVICES);
                struct chain_seal seal = {.first = next[d] + 1, .n = BATCH};
                struct store_device device;

                DEMAND(schema_partition(store_db(s), schema_month(received_ms)) == 0);
                if (next[d] == 0) { /* where its chain starts */
                        _cleanup_rows_ struct db_rows q = {0};

                        DEMAND(db_query(store_db(s), "SELECT head FROM device WHERE number = $1", &q, "i",
                                        numbers[d]) == 0 &&
                               db_next(&q) == 1 && db_bytes(&q, 0, heads[d], CHAIN_HASH_SIZE) == 0);
                }
                for (unsigned i = 0; i < BATCH; i++)
                        row_make(m, i, done + i, ++next[d]);
                memcpy(seal.prev, heads[d], CHAIN_HASH_SIZE);
                memset(seal.head, (int)(done / BATCH), CHAIN_HASH_SIZE);
                memcpy(heads[d], seal.head, CHAIN_HASH_SIZE);
                device.number = numbers[d];
                DEMAND(store_append(s, &(struct store_batch){.device = device.number,
                                                             .boot = "boot",
                                                             .received_ms = received_ms,
                                                             .seal = &seal,
                                                             .rows = m->rows}) == 0);
                if (done / BATCH % 40 == 0)
                        DEMAND(store_commit(s) == 0);
        }
        DEMAND(store_commit(s) == 0);
        free(m);
}

/* Made once at the end, indexes cost a tenth of what they cost row by row. */
struct indexes {
        char *sql[32], name[32][64];
        size_t n;
};

static void indexes_drop(struct db *db, struct indexes *x)
{
        _cleanup_rows_ struct db_rows q = {0};
        bool is_postgres = db_kind(db) == DB_POSTGRES;

        DEMAND(db_query(db,
                        is_postgres
                                ? "SELECT replace(indexdef, ' ON ONLY ', ' ON '), indexname::text FROM pg_indexes"
                                  " WHERE tablename = 'record' AND indexname LIKE 'record%'"
                                : "SELECT sql, name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'record'",
                        &q, "") == 0);
        while (db_next(&q) > 0) {
                DEMAND(x->n < ELEMENTSOF(x->sql) && db_copy(&q, 1, x->name[x->n], sizeof(x->name[0])) == 0);
                DEMAND((x->sql[x->n++] = strdup(db_text(&q, 0))));
        }
        db_rows_done(&q);
        for (size_t i = 0; i < x->n; i++) {
                char sql[96];

                snprintf(sql, sizeof(sql), "DROP INDEX %s", x->name[i]);
                DEMAND(db_script(db, sql) == 0);
        }
}

static void indexes_make(struct db *db, struct indexes *x)
{
        for (size_t i = 0; i < x->n; i++) {
                DEMAND(db_script(db, x->sql[i]) == 0);
                free(x->sql[i]);
        }
}

/* What the page's forms of search do, in the database's own words. */
static void plans_print(struct store *s, const char *kind)
{
        static const char *const searches[] = {
                "SELECT * FROM record r WHERE r.kind = 'violation' AND (r.time_ms, r.device, r.seq) <"
                " (1700000500000, 1, 1) ORDER BY r.time_ms DESC, r.device DESC, r.seq DESC LIMIT 100",
                "SELECT * FROM record r WHERE r.class IS NOT NULL AND r.device = 7 AND (r.time_ms, r.device, r.seq) <"
                " (1700000500000, 1, 1) ORDER BY r.time_ms DESC, r.device DESC, r.seq DESC LIMIT 100",
                "SELECT * FROM record r WHERE r.user_name = 'user-100' AND (r.time_ms, r.device, r.seq) <"
                " (1700000500000, 1, 1) AND r.channel || '' = 'signal'"
                " ORDER BY r.time_ms DESC, r.device DESC, r.seq DESC LIMIT 100",
        };
        bool is_postgres = strcmp(kind, "postgres") == 0;

        for (size_t i = 0; i < ELEMENTSOF(searches); i++) {
                _cleanup_free_ char *sql =
                        format_new("EXPLAIN %s%s", is_postgres ? "(ANALYZE, COSTS OFF, TIMING OFF) " : "QUERY PLAN ",
                                   searches[i]);
                _cleanup_rows_ struct db_rows q = {0};

                printf("%s\n", searches[i]);
                DEMAND(sql && db_query(store_reader(s), sql, &q, "") == 0);
                for (int k = 0; k < 14 && db_next(&q) > 0; k++)
                        printf("    %s\n", db_text(&q, is_postgres ? 0 : 3));
        }
}

static int row_count(const struct store_row *row, void *userdata)
{
        ++*(unsigned *)userdata;
        return 0;
}

struct asked {
        double ms[TIMES]; /* ascending */
        unsigned rows;
};

static int number_compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

/* As the page asks: rows and their number. */
static void ask(struct store *s, const struct store_filter *f, struct asked *ret)
{
        for (int i = 0; i < TIMES; i++) {
                double start = now_s();
                struct store_cursor end;
                uint64_t n;
                bool more, exact;

                ret->rows = 0;
                DEMAND(store_violations(s, f, row_count, &ret->rows, &end, &more) == 0);
                DEMAND(store_count(s, f, 10000, &n, &exact) == 0);
                ret->ms[i] = (now_s() - start) * 1000;
        }
        qsort(ret->ms, TIMES, sizeof(*ret->ms), number_compare);
}

static int value_count(const char *value, void *userdata)
{
        ++*(unsigned *)userdata;
        return 0;
}

static int device_count(const struct store_device *d, void *userdata)
{
        ++*(unsigned *)userdata;
        return 0;
}

/* What the page asks besides. */
static void lists_measure(struct store *s, const char *kind)
{
        static const char *const names[] = {
                [FACET_CHANNEL] = "channels", [FACET_DEVICE] = "devices", [FACET_USER] = "users"};

        for (int i = 0; i <= _FACET_MAX; i++) {
                unsigned n = 0;
                double start = now_s();

                DEMAND((i < _FACET_MAX ? store_facet(s, i, "", value_count, &n)
                                       : store_devices(s, device_count, &n)) == 0);
                printf("page-%s-list-%s %.1f ms (%u values)\n", kind, i < _FACET_MAX ? names[i] : "status",
                       (now_s() - start) * 1000, n);
        }
}

static void measure(struct store *s, const char *kind, uint64_t n)
{
        char device[32];
        const struct {
                const char *name;
                struct store_filter filter;
        } filters[] = {
                {"all", {0}},
                {"device", {.device = device}},
                {"user", {.user = "user-100"}},
                {"user-rare", {.user = "rare"}},
                {"channel", {.channel = "whatsapp"}},
                {"channel-rare", {.channel = "rare"}},
                {"class", {.class = "use"}},
                {"layer", {.layer = "tls"}},
                {"outcome", {.outcome = "denied"}},
                {"tier", {.tier = "program"}},
                {"program", {.program = "program-3"}},
                {"program-path", {.program = "/opt/p1/program-3"}},
                {"user-channel", {.user = "user-100", .channel = "signal"}},
                {"device-class", {.device = device, .class = "bypass"}},
                {"channel-layer-outcome", {.channel = "viber", .layer = "quic", .outcome = "refused"}},
                {"class-channel-none", {.class = "tamper", .channel = "whatsapp"}},
                {"layer-outcome-none", {.layer = "tls", .outcome = "reset", .program = "/opt/p9/program-3"}},
                {"user-time",
                 {.user = "user-100", .from_ms = START + n * STEP_MS / 4, .to_ms = START + n * STEP_MS / 2}},
        };
        static const struct {
                const char *name;
                unsigned percent;
        } depths[] = {{"first", 100}, {"deep", 50}, {"last", 1}};
        double slowest = 0, median = 0;

        lists_measure(s, kind);
        snprintf(device, sizeof(device), "ws-%llu",
                 (unsigned long long)skewed(mix(0), DEVICES)); /* of the first batch */
        for (size_t i = 0; i < ELEMENTSOF(filters); i++)
                for (size_t k = 0; k < ELEMENTSOF(depths); k++) {
                        struct store_filter f = filters[i].filter;
                        struct asked a = {0};

                        f.limit = 100;
                        f.has_before = k > 0;
                        f.before = (struct store_cursor){START + n * STEP_MS / 100 * depths[k].percent, 1, 1};
                        ask(s, &f, &a);
                        printf("page-%s-%s-%s %.1f ms, at most %.1f (%u rows)\n", kind, filters[i].name,
                               depths[k].name, a.ms[TIMES / 2], a.ms[TIMES - 1], a.rows);
                        median = a.ms[TIMES / 2] > median ? a.ms[TIMES / 2] : median;
                        slowest = a.ms[TIMES - 1] > slowest ? a.ms[TIMES - 1] : slowest;
                }
        printf("page-%s-slowest %.1f ms, at most %.1f, of %llu rows\n", kind, median, slowest, (unsigned long long)n);
}

static void store_fill(struct store *s, uint64_t n)
{
        bool is_postgres = db_kind(store_db(s)) == DB_POSTGRES;
        struct indexes indexes = {0};

        /* the rows are only there to be read: they need not survive the machine */
        DEMAND(db_script(store_db(s), is_postgres ? "SET synchronous_commit = off" : "PRAGMA synchronous = OFF") ==
               0);
        indexes_drop(store_db(s), &indexes);
        rows_make(s, n);
        indexes_make(store_db(s), &indexes);
        if (is_postgres)
                DEMAND(db_script(store_db(s), "VACUUM ANALYZE") == 0);
}

int main(int argc, char **argv)
{
        struct collector c = {0};
        uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
        bool keep = argc > 1 && strchr(argv[1], '/');
        struct store *s;
        char where[256];
        const char *kind;
        int64_t have = 0;
        double start;

        if (argc < 2 || n < BATCH) {
                fprintf(stderr, "usage: bench-page sqlite|postgres|PATH|URL [ROWS]\n");
                return 2;
        }
        DEMAND(folder_new(c.dir, sizeof(c.dir), "onchannel-bench") && sodium_init() >= 0);
        if (!keep)
                collector_store(&c, argv[1]);
        snprintf(where, sizeof(where), "%s%s",
                 keep              ? argv[1]
                 : *c.postgres.url ? c.postgres.url
                                   : c.dir,
                 keep || *c.postgres.url ? "" : "/collector.db");
        DEMAND(store_open(where, STORE_CREATE | STORE_MIGRATE, &s, NULL) == 0);
        kind = db_kind(store_db(s)) == DB_POSTGRES ? "postgres" : "sqlite";
        DEMAND(db_number(store_db(s), "SELECT count(*) FROM (SELECT 1 FROM record LIMIT 1) x", &have, "") == 1);
        start = now_s();
        if (!have) {
                store_fill(s, n);
                printf("page-%s-made %.0f rows/s\n", kind, (double)n / (now_s() - start));
        }
        fflush(stdout);
        measure(s, kind, n);
        plans_print(s, kind);
        store_free(s);
        if (*c.postgres.url)
                postgres_stop(&c.postgres);
        nftw(c.dir, postgres_remove, 16, FTW_DEPTH | FTW_PHYS);
        return 0;
}
