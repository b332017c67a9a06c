/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Durable violations per second into a real collector over mTLS: bench-ingest COLLECTOR sqlite|postgres
 * [DEVICES [BATCHES [RECORDS]]]. Makes a collector in a temporary folder, enrols devices, prepares
 * all batches, then posts them, one connection a device. Prints `name value unit`. */
#include "collector/store/store.h"
#include "tests/bench/collector/collector.h"

struct sender {
        struct client_device device;
        struct buf *batches; /* compressed */
        unsigned sent;
        CURL *curl;
        struct request request;
        struct reply reply;
};

static void sender_init(struct sender *s, const struct collector *c, unsigned number, const char *token)
{
        _cleanup_(reply_done) struct reply r = {0};
        char url[128], name[32];

        snprintf(url, sizeof(url), "%s/v1/enrol", c->url);
        snprintf(name, sizeof(name), "bench-%u", number);
        client_device_init(&s->device, name);
        s->curl = curl_easy_init();
        DEMAND(client_enrol(s->curl, (struct request){.url = url, .ca = c->ca}, &s->device, token, &r) == 200);
}

static void sender_next(struct sender *s, CURLM *multi, const char *url, const char *ca)
{
        const struct buf *b = &s->batches[s->sent];

        reply_done(&s->reply);
        s->request = (struct request){.url = url,
                                      .ca = ca,
                                      .as = &s->device,
                                      .headers = {"Content-Type: application/x-ndjson", "Content-Encoding: zstd"},
                                      .body = b->data,
                                      .size = b->size};
        client_prepare(s->curl, &s->request, &s->reply);
        curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
        DEMAND(curl_multi_add_handle(multi, s->curl) == CURLM_OK);
}

static void senders_run(struct sender *senders, unsigned n, unsigned n_batches, const struct collector *c)
{
        CURLM *multi = curl_multi_init();
        char url[128];
        unsigned left = n;

        snprintf(url, sizeof(url), "%s/v1/reports", c->url);
        for (unsigned i = 0; i < n; i++)
                sender_next(&senders[i], multi, url, c->ca);
        while (left > 0) {
                CURLMsg *m;
                int running, queued;

                curl_multi_perform(multi, &running);
                while ((m = curl_multi_info_read(multi, &queued))) {
                        struct sender *s;
                        CURL *curl = m->easy_handle;
                        CURLcode code = m->data.result;

                        curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&s);
                        curl_multi_remove_handle(multi, curl);
                        client_finish(curl, &s->request, &s->reply);
                        if (code != CURLE_OK || s->reply.status != 200) {
                                fprintf(stderr, "batch refused: %s, status %ld, %s\n", curl_easy_strerror(code),
                                        s->reply.status, s->reply.body.data ? (char *)s->reply.body.data : "");
                                exit(1);
                        }
                        if (++s->sent < n_batches)
                                sender_next(s, multi, url, c->ca);
                        else
                                left--;
                }
                curl_multi_poll(multi, NULL, 0, 1000, NULL);
        }
        curl_multi_cleanup(multi);
}

/* What a violation takes: on the wire, of a full batch and alone, and in the store with all indexes. */
static void sizes_print(const char *name, const struct collector *c, const struct sender *s, unsigned n_records,
                        unsigned n)
{
        _cleanup_(store_freep) struct store *store = NULL;
        _cleanup_buf_ struct buf text = {0}, one = {0};
        struct client_device device = s->device;
        struct store_totals t;
        char where[160];
        int64_t wal;

        client_batch(&device, 1, 1700000000000ull, &text);
        client_compress(&text, &one);
        snprintf(where, sizeof(where), "%s%s", *c->postgres.url ? c->postgres.url : c->dir,
                 *c->postgres.url ? "" : "/collector.db");
        DEMAND(store_open(where, 0, &store, NULL) == 0 && store_totals(store, 0, &t) == 0);
        printf("%s-batch-of-one %zu bytes\n", name, one.size);
        printf("%s-wire %.0f bytes/violation\n", name, (double)s->batches[0].size / n_records);
        printf("%s-stored %.0f bytes/violation\n", name, (double)t.bytes / n_records / s->sent / n);
        if (*c->postgres.url) {
                DEMAND(db_number(store_reader(store), "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::BIGINT",
                                 &wal, "") == 1);
                printf("%s-wal %.0f bytes/violation\n", name, (double)wal / n_records / s->sent / n);
        }
}

static unsigned argument(int argc, char **argv, int i, unsigned missing)
{
        uint64_t v = missing;

        DEMAND(argc <= i || (parse_u64(argv[i], 100000, &v) == 0 && v > 0));
        return (unsigned)v;
}

int main(int argc, char **argv)
{
        struct collector c = {.program = argc > 1 ? argv[1] : NULL};
        const char *kind = argc > 2 ? argv[2] : "";
        unsigned n = argument(argc, argv, 3, 8), n_batches = argument(argc, argv, 4, 20),
                 n_records = argument(argc, argv, 5, 500);
        struct sender *senders = calloc(n, sizeof(*senders));
        char token[256];
        char name[64];
        struct cpu before;
        double start;

        if (!c.program || (strcmp(kind, "sqlite") != 0 && strcmp(kind, "postgres") != 0)) {
                fprintf(stderr, "usage: bench-ingest COLLECTOR sqlite|postgres [DEVICES [BATCHES [RECORDS]]]\n");
                return 2;
        }
        DEMAND(senders && sodium_init() >= 0);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        collector_store(&c, kind);
        snprintf(name, sizeof(name), "collector-%s", kind);
        collector_start(&c, token, sizeof(token), n);
        start = now_s();
        for (unsigned i = 0; i < n; i++)
                sender_init(&senders[i], &c, i, token);
        printf("%s-enrol %.1f devices/s\n", name, n / (now_s() - start));
        for (unsigned i = 0; i < n; i++) {
                senders[i].batches = calloc(n_batches, sizeof(struct buf));
                DEMAND(senders[i].batches);
                for (unsigned k = 0; k < n_batches; k++) {
                        _cleanup_buf_ struct buf text = {0};

                        client_batch(&senders[i].device, n_records, 1700000000000ull + k * 1000000ull, &text);
                        client_compress(&text, &senders[i].batches[k]);
                }
        }
        before = cpu_now(&c);
        senders_run(senders, n, n_batches, &c);
        printf("%s-ingest %.0f violations/s\n", name, (double)n * n_batches * n_records / (now_s() - before.wall));
        cpu_print(name, &c, before);
        if (*c.postgres.url)
                memory_print(name, &c);
        sizes_print(name, &c, senders, n_records, n);
        for (unsigned i = 0; i < n; i++) {
                curl_easy_cleanup(senders[i].curl);
                client_device_done(&senders[i].device);
                reply_done(&senders[i].reply);
                for (unsigned k = 0; k < n_batches; k++)
                        buf_done(&senders[i].batches[k]);
                free(senders[i].batches);
        }
        free(senders);
        collector_stop(&c);
        return 0;
}
