/* SPDX-License-Identifier: GPL-3.0-or-later */
/* GET /metrics on the page's listener, for Prometheus: "Exposition formats", text format 0.0.4, and OpenMetrics 1.0 for
 * those who ask. Nothing about a person, and no series a device: their number is the number of series. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/version.h"
#include "collector/api/private.h"
#include "collector/store/forwarding.h"

#define TOKEN_MAX   4096
#define SILENT_MS   (15 * 60 * 1000ull)
#define TEXT        "text/plain; version=0.0.4; charset=utf-8"
#define OPENMETRICS "application/openmetrics-text"

static const double commit_bounds[COMMIT_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                     0.1,   0.25,   0.5,   1,    2.5,   5};

void commit_count(struct counters *c, double seconds, int r)
{
        size_t i = 0;

        while (i < COMMIT_BUCKETS && seconds > commit_bounds[i])
                i++;
        c->commits[i]++;
        c->commit_seconds += seconds;
        c->commits_failed += r < 0;
}

struct metrics {
        struct later later;
        bool openmetrics;
        /* copied on the loop */
        struct counters counters;
        struct http_counters http[2];
        uint64_t connections[2], log_size;
        struct buf text;
};
static const char *const listeners[] = {"agents", "page"};

enum type {
        GAUGE,
        COUNTER,
        HISTOGRAM,
};

/* OpenMetrics names a counter's family without _total. */
static void family(struct metrics *m, const char *name, enum type type, const char *help)
{
        static const char *const types[] = {[GAUGE] = "gauge", [COUNTER] = "counter", [HISTOGRAM] = "histogram"};
        size_t n = strlen(name) - (m->openmetrics && type == COUNTER ? strlen("_total") : 0);

        buf_addf(&m->text, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)n, name, help, (int)n, name, types[type]);
}

static void one(struct metrics *m, const char *name, enum type type, double value, const char *help)
{
        family(m, name, type, help);
        buf_addf(&m->text, "%s %.15g\n", name, value);
}

static double seconds_of(const struct timeval *t)
{
        return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

/* proc(5): field 22 of stat counts ticks from the boot; 24 is pages in memory. */
static void add_process(struct metrics *m)
{
        _cleanup_free_ char *text = NULL;
        unsigned long long started = 0;
        long pages = 0;
        struct rusage use;
        struct timespec now, boot;
        size_t size;
        char *p;

        getrusage(RUSAGE_SELF, &use);
        one(m, "process_cpu_seconds_total", COUNTER, seconds_of(&use.ru_utime) + seconds_of(&use.ru_stime),
            "Processor time used.");
        if (file_read("/proc/self/stat", 4096, &text, &size) < 0 || !(p = strrchr(text, ')')) ||
            sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu %*u %ld",
                   &started, &pages) != 2)
                return;
        clock_gettime(CLOCK_REALTIME, &now);
        clock_gettime(CLOCK_BOOTTIME, &boot);
        one(m, "process_resident_memory_bytes", GAUGE, (double)pages * (double)sysconf(_SC_PAGESIZE),
            "Memory in use.");
        one(m, "process_start_time_seconds", GAUGE,
            (double)(now.tv_sec - boot.tv_sec) + (double)started / (double)sysconf(_SC_CLK_TCK),
            "When the program was started, since 1970.");
}

static void add_listeners(struct metrics *m)
{
        family(m, "onchannel_collector_connections", GAUGE, "Open connections; of agents: those connected.");
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++)
                buf_addf(&m->text, "onchannel_collector_connections{listener=\"%s\"} %llu\n", listeners[i],
                         (unsigned long long)m->connections[i]);
        family(m, "onchannel_collector_connections_accepted_total", COUNTER, "Connections accepted.");
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++)
                buf_addf(&m->text, "onchannel_collector_connections_accepted_total{listener=\"%s\"} %llu\n",
                         listeners[i], (unsigned long long)m->http[i].accepted);
        family(m, "onchannel_collector_handshakes_failed_total", COUNTER,
               "Connections that ended before TLS was up.");
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++)
                buf_addf(&m->text, "onchannel_collector_handshakes_failed_total{listener=\"%s\"} %llu\n",
                         listeners[i], (unsigned long long)m->http[i].not_secured);
        family(m, "onchannel_collector_requests_total", COUNTER,
               "Requests answered, by status; 4xx and 5xx: refused.");
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++)
                for (unsigned s = 0; s < HTTP_STATUS_MAX; s++)
                        if (m->http[i].answers[s])
                                buf_addf(&m->text,
                                         "onchannel_collector_requests_total{listener=\"%s\",status=\"%u\"} %llu\n",
                                         listeners[i], s, (unsigned long long)m->http[i].answers[s]);
}

static void add_ingest(struct metrics *m)
{
        static const char *const results[] = {
                [BATCH_KEPT] = "kept", [BATCH_KNOWN] = "known", [BATCH_GAP] = "gap", [BATCH_FORK] = "fork"};
        const struct counters *c = &m->counters;
        uint64_t n = 0;

        _Static_assert(ELEMENTSOF(results) == _BATCH_RESULT_MAX, "enum batch_result");
        family(m, "onchannel_collector_batches_total", COUNTER,
               "Batches of records with a right signature, by what became of them.");
        for (size_t i = 0; i < ELEMENTSOF(results); i++)
                buf_addf(&m->text, "onchannel_collector_batches_total{result=\"%s\"} %llu\n", results[i],
                         (unsigned long long)c->batches[i]);
        one(m, "onchannel_collector_records_total", COUNTER, (double)c->records, "Records taken into the store.");
        family(m, "onchannel_collector_commit_duration_seconds", HISTOGRAM,
               "How long the store takes to make a transaction durable.");
        for (size_t i = 0; i < COMMIT_BUCKETS; i++)
                buf_addf(&m->text, "onchannel_collector_commit_duration_seconds_bucket{le=\"%.4g\"} %llu\n",
                         commit_bounds[i], (unsigned long long)(n += c->commits[i]));
        n += c->commits[COMMIT_BUCKETS];
        buf_addf(&m->text,
                 "onchannel_collector_commit_duration_seconds_bucket{le=\"+Inf\"} %llu\n"
                 "onchannel_collector_commit_duration_seconds_sum %.9g\n"
                 "onchannel_collector_commit_duration_seconds_count %llu\n",
                 (unsigned long long)n, c->commit_seconds, (unsigned long long)n);
        one(m, "onchannel_collector_commits_failed_total", COUNTER, (double)c->commits_failed,
            "Transactions that the store did not take.");
        one(m, "onchannel_collector_log_entries", GAUGE, (double)m->log_size,
            "Entries of the evidence log below its checkpoint.");
}

static int add_store(struct metrics *m)
{
        struct store *s = m->later.api->store;
        struct store_totals t;
        uint64_t n[_FINDING_MAX];
        int r = store_totals(s, clock_utc_ms() - SILENT_MS, &t);

        for (enum finding i = 0; i < _FINDING_MAX && r == 0; i++)
                r = store_finding_count(s, finding_kind(i), &n[i]);
        one(m, "onchannel_collector_store_up", GAUGE, r == 0, "1: the database answers.");
        if (r < 0)
                return r;
        one(m, "onchannel_collector_store_bytes", GAUGE, (double)t.bytes, "Size of the database.");
        one(m, "onchannel_collector_devices", GAUGE, (double)t.devices, "Devices enrolled and not retired.");
        one(m, "onchannel_collector_devices_silent", GAUGE, (double)t.silent,
            "Of these, not heard of for 15 minutes.");
        one(m, "onchannel_collector_log_pending_batches", GAUGE, (double)t.unlogged,
            "Batches that are in no evidence log yet.");
        family(m, "onchannel_collector_findings", GAUGE, "What collectors concluded, by kind.");
        for (enum finding i = 0; i < _FINDING_MAX; i++)
                buf_addf(&m->text, "onchannel_collector_findings{kind=\"%s\"} %llu\n", finding_kind(i),
                         (unsigned long long)n[i]);
        return 0;
}

static int add_forwarding(struct metrics *m)
{
        static const struct {
                const char *name, *help;
                enum type type;
        } families[] = {
                {"onchannel_collector_forward_sent_total", "Records that the receiver took.", COUNTER},
                {"onchannel_collector_forward_refused_total", "Records that the receiver refused for ever.", COUNTER},
                {"onchannel_collector_forward_behind_records", "Records kept and not forwarded yet.", GAUGE},
                {"onchannel_collector_forward_failing", "1: the receiver does not take records now.", GAUGE},
                {"onchannel_collector_forward_latest_timestamp_seconds", "When it took the latest record.", GAUGE},
        };
        const struct api *a = m->later.api;
        struct forward_state states[API_RECEIVERS_MAX];
        size_t n;

        for (n = 0; a->receivers[n]; n++) {
                int r = forward_state_get(store_reader(a->store), a->receivers[n], &states[n]);

                if (r < 0)
                        return r;
        }
        for (size_t f = 0; f < ELEMENTSOF(families) && n > 0; f++) {
                family(m, families[f].name, families[f].type, families[f].help);
                for (size_t i = 0; i < n; i++) {
                        const struct forward_state *s = &states[i];
                        const double values[] = {(double)s->sent, (double)s->refused, (double)s->behind,
                                                 *s->problem != 0, (double)s->sent_ms / 1000};

                        buf_addf(&m->text, "%s{receiver=\"%s\"} %.15g\n", families[f].name, a->receivers[i],
                                 values[f]);
                }
        }
        return 0;
}

/* A database that is away does not hide the rest: store_up says so. */
static json_t *metrics_run(struct later *l)
{
        struct metrics *m = (struct metrics *)l;

        family(m, "onchannel_collector_build_info", GAUGE, "The version that runs.");
        buf_addf(&m->text, "onchannel_collector_build_info{version=\"%s\"} 1\n", onchannel_version);
        add_process(m);
        add_listeners(m);
        add_ingest(m);
        if (add_store(m) == 0)
                (void)add_forwarding(m);
        if (m->openmetrics)
                buf_add_string(&m->text, "# EOF\n");
        l->r = buf_error(&m->text);
        return json_object();
}

static void metrics_reply(struct later *l)
{
        struct metrics *m = (struct metrics *)l;
        struct http_response response = {
                .status = 200,
                .type = m->openmetrics ? OPENMETRICS "; version=1.0.0; charset=utf-8" : TEXT,
                .headers = {{"cache-control", "no-store"}},
                .blob = http_blob_new(m->text.data, m->text.size),
                .size = m->text.size,
        };

        if (!response.blob) {
                http_respond_error(l->req, 503, "no memory");
                return;
        }
        response.body = response.blob->data;
        http_respond(l->req, &response);
}

static void metrics_ended(struct later *l)
{
        buf_done(&((struct metrics *)l)->text);
}

/* RFC 6750 2.1. The file is read anew each time, so that a rotated token is taken at once. */
static bool is_allowed(const struct api *a, const char *given)
{
        uint8_t want[crypto_generichash_BYTES], have[crypto_generichash_BYTES];
        _cleanup_free_ char *token = NULL;
        size_t size;
        int r = file_read(a->metrics_token, TOKEN_MAX, &token, &size);

        if (r < 0) {
                log_errno(LOG_ERR, r, "metrics_token '%s' cannot be read", a->metrics_token);
                return false;
        }
        token[strcspn(token, "\r\n")] = 0;
        if (!*token || !given || strncasecmp(given, "Bearer ", strlen("Bearer ")) != 0)
                return false;
        given += strlen("Bearer ");
        crypto_generichash(want, sizeof(want), (const uint8_t *)token, strlen(token), NULL, 0);
        crypto_generichash(have, sizeof(have), (const uint8_t *)given, strlen(given), NULL, 0);
        return sodium_memcmp(want, have, sizeof(want)) == 0;
}

void page_metrics(struct http_request *req)
{
        static const struct http_header ask = {"www-authenticate", "Bearer"};
        const char *accept = req->field[HTTP_ACCEPT];
        struct api *a = api_of(req);
        struct metrics *m;

        if (!a->metrics_token) {
                reply_error(req, 404, "collector.ini names no metrics_token");
                return;
        }
        if (!is_allowed(a, req->field[HTTP_AUTHORIZATION])) {
                reply_json_with(req, 401, json_pack("{s:s}", "error", "the bearer token is missing or wrong"), &ask);
                return;
        }
        m = calloc(1, sizeof(*m));
        if (!m) {
                reply_errno(req, -ENOMEM, NULL);
                return;
        }
        m->openmetrics = accept && strstr(accept, OPENMETRICS);
        m->counters = a->counters;
        m->http[0] = *http_server_counters(a->agents);
        m->http[1] = *http_server_counters(a->page);
        m->connections[0] = http_server_n_connections(a->agents);
        m->connections[1] = http_server_n_connections(a->page);
        m->log_size = a->turn.log_size;
        m->later.run = metrics_run;
        m->later.reply = metrics_reply;
        m->later.ended = metrics_ended;
        m->later.needs_no_store = true;
        reply_later(req, &m->later);
}
