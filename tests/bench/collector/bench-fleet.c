/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Many agents at once: bench-fleet COLLECTOR sqlite|postgres POLICY [AGENTS]. Each holds a connection of its own over
 * mTLS and waits for a policy; then one is handed out; then the collector is killed and started again, and all come
 * back at once, each with records, and send until they are acknowledged. Prints `name value unit`.
 * POLICY.minisig is beside POLICY. */
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include "collector/net/pki.h"
#include "collector/store/store.h"
#include "tests/bench/collector/collector.h"

#define RECORDS    3 /* of an agent in the storm */
#define SPREAD_MS  10000 /* over which an agent's first try after a loss is spread, here */
#define RETRY_MS   2000
#define CONNECTING 200 /* at once, while all connect for the first time */

enum phase {
        PHASE_HOLD, /* asks for a policy that is not there yet */
        PHASE_STORM, /* sends a batch */
};

struct agent {
        struct client_device device;
        CURL *curl;
        struct request request;
        struct reply reply;
        char interface[16];
        struct buf batch;
        uint64_t at_ms; /* when it starts, or tries again; 0: under way or done */
        bool done;
};

struct fleet {
        struct collector *collector;
        struct agent *agents;
        unsigned n, n_done, n_running, tries;
        CURLM *multi;
        int epoll_fd;
        uint64_t timeout_ms; /* when libcurl wants to be called; UINT64_MAX: not */
        enum phase phase;
        char etag[192];
        char name[96]; /* of what is measured */
};

static uint64_t now_ms(void)
{
        return (uint64_t)(now_s() * 1000);
}

/* ---- libcurl on epoll: curl_multi_perform() would look at each of 10,000 handles each time ---- */

static int on_socket(CURL *curl, curl_socket_t fd, int what, void *userdata, void *known)
{
        struct fleet *f = userdata;
        struct epoll_event e = {.data.fd = fd};

        if (what == CURL_POLL_REMOVE) {
                epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
                return 0;
        }
        e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
        if (epoll_ctl(f->epoll_fd, EPOLL_CTL_MOD, fd, &e) < 0)
                epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &e);
        return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *userdata)
{
        ((struct fleet *)userdata)->timeout_ms = timeout_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)timeout_ms;
        return 0;
}

static void agent_start(struct fleet *f, struct agent *a)
{
        static char url[128];
        bool hold = f->phase == PHASE_HOLD;

        snprintf(url, sizeof(url), "%s/v1/%s", f->collector->url, hold ? "policy?wait=300" : "reports");
        reply_done(&a->reply);
        a->request = (struct request){.url = url, .ca = f->collector->ca, .as = &a->device};
        if (hold) {
                a->request.headers[0] = f->etag;
        } else {
                a->request.headers[0] = "Content-Type: application/x-ndjson";
                a->request.headers[1] = "Content-Encoding: zstd";
                a->request.body = a->batch.data;
                a->request.size = a->batch.size;
        }
        client_prepare(a->curl, &a->request, &a->reply);
        curl_easy_setopt(a->curl, CURLOPT_TIMEOUT, 600L);
        curl_easy_setopt(a->curl, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(a->curl, CURLOPT_FORBID_REUSE, 1L);
        curl_easy_setopt(a->curl, CURLOPT_INTERFACE, a->interface);
        curl_easy_setopt(a->curl, CURLOPT_PRIVATE, a);
        DEMAND(curl_multi_add_handle(f->multi, a->curl) == CURLM_OK);
        a->at_ms = 0;
        f->n_running++;
        f->tries++;
}

static void agent_finish(struct fleet *f, struct agent *a, CURLcode code)
{
        curl_multi_remove_handle(f->multi, a->curl);
        client_finish(a->curl, &a->request, &a->reply);
        f->n_running--;
        if (code == CURLE_OK && a->reply.status == 200) {
                a->done = true;
                f->n_done++;
        } else {
                DEMAND(code != CURLE_OK || a->reply.status == 503 || a->reply.status == 304);
                a->at_ms = now_ms() + randombytes_uniform(RETRY_MS) + 1;
        }
}

static void fleet_turn(struct fleet *f, int wait_ms)
{
        struct epoll_event events[256];
        CURLMsg *m;
        int running, queued, n = epoll_wait(f->epoll_fd, events, ELEMENTSOF(events), wait_ms);

        for (int i = 0; i < n; i++)
                curl_multi_socket_action(f->multi, events[i].data.fd,
                                         (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                                                 (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                                 (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
                                         &running);
        if (now_ms() >= f->timeout_ms) {
                f->timeout_ms = UINT64_MAX;
                curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        while ((m = curl_multi_info_read(f->multi, &queued))) {
                struct agent *a;
                CURLcode code = m->data.result;

                curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&a);
                agent_finish(f, a, code);
        }
}

/* ---- making agents: their certificates and rows, without 10,000 enrolments ---- */

static void fleet_make(struct fleet *f, struct store *s, struct pki_authority *ca)
{
        static const uint8_t token[STORE_HASH_SIZE] = {1};

        DEMAND(store_token_add(s, token, f->n, UINT64_MAX / 4) == 0);
        for (unsigned i = 0; i < f->n; i++) {
                struct agent *a = &f->agents[i];
                uint8_t hash[STORE_HASH_SIZE];
                _cleanup_buf_ struct buf text = {0};
                char name[32];

                snprintf(name, sizeof(name), "agent-%u", i);
                snprintf(a->interface, sizeof(a->interface), "127.0.0.%u", 2 + i % 16);
                client_device_init(&a->device, name);
                a->curl = curl_easy_init();
                DEMAND(a->curl &&
                       pki_sign_request(ca, a->device.csr, a->device.id, &a->device.certificate, hash, NULL) == 0);
                DEMAND(store_device_enrol(s, &(struct store_enrol){.id = a->device.id,
                                                                   .name = name,
                                                                   .public_key = a->device.public_key,
                                                                   .token_hash = token,
                                                                   .certificate_hash = hash,
                                                                   .now_ms = (uint64_t)time(NULL) * 1000}) == 0);
                client_batch(&a->device, RECORDS, 1700000000000ull, &text);
                client_compress(&text, &a->batch);
        }
        DEMAND(store_commit(s) == 0);
}

static double resident_mib(pid_t pid)
{
        char path[64], line[128];
        double kib = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
        file = fopen(path, "r");
        while (file && fgets(line, sizeof(line), file))
                if (sscanf(line, "VmRSS: %lf", &kib) == 1)
                        break;
        if (file)
                fclose(file);
        return kib / 1024;
}

/* ---- the three acts ---- */

static size_t connected(const struct fleet *f)
{
        size_t n = 0;

        for (unsigned i = 0; i < f->n; i++) {
                curl_off_t t = 0;

                if (!f->agents[i].at_ms && !f->agents[i].done)
                        curl_easy_getinfo(f->agents[i].curl, CURLINFO_PRETRANSFER_TIME_T, &t);
                n += t > 0;
        }
        return n;
}

static void act_hold(struct fleet *f, const char *name)
{
        struct cpu before = cpu_now(f->collector);
        unsigned next = 0;
        uint64_t look_ms = 0;
        size_t n = 0;

        f->phase = PHASE_HOLD;
        while (n < f->n) {
                while (next < f->n && next < n + CONNECTING)
                        agent_start(f, &f->agents[next++]);
                fleet_turn(f, 50);
                for (unsigned i = 0; i < next; i++)
                        if (f->agents[i].at_ms && f->agents[i].at_ms <= now_ms())
                                agent_start(f, &f->agents[i]);
                DEMAND(f->n_done == 0);
                if (now_ms() >= look_ms) {
                        n = connected(f);
                        look_ms = now_ms() + 100;
                }
        }
        printf("%s-connect %.0f agents/s\n", name, f->n / (now_s() - before.wall));
        snprintf(f->name, sizeof(f->name), "%s-connect", name);
        cpu_print(f->name, f->collector, before);
        for (double until = now_s() + 3; now_s() < until;) /* the last requests arrive */
                fleet_turn(f, 100);
        fflush(stdout);
        printf("%s-held %u agents\n", name, f->n);
        printf("%s-held-resident %.1f MiB\n", name, resident_mib(f->collector->pid));
}

static void act_push(struct fleet *f, const char *name, const char *policy)
{
        char output[4096];
        struct cpu before = cpu_now(f->collector);

        collector_command(f->collector, (char *[]){"collector", "policy", f->collector->dir, (char *)policy, NULL},
                          output, sizeof(output));
        while (f->n_done < f->n) {
                fleet_turn(f, 50);
                DEMAND(now_s() < before.wall + 60);
        }
        printf("%s-push %.2f s\n", name, now_s() - before.wall);
        snprintf(f->name, sizeof(f->name), "%s-push", name);
        cpu_print(f->name, f->collector, before);
        fflush(stdout);
        printf("%s-push-resident %.1f MiB\n", name, resident_mib(f->collector->pid));
}

static void act_storm(struct fleet *f, const char *name)
{
        int status;
        struct cpu before;

        kill(f->collector->pid, SIGKILL);
        DEMAND(waitpid(f->collector->pid, &status, 0) == f->collector->pid);
        collector_serve(f->collector);
        before = cpu_now(f->collector);
        f->phase = PHASE_STORM;
        f->n_done = f->tries = 0;
        for (unsigned i = 0; i < f->n; i++) {
                f->agents[i].done = false;
                f->agents[i].at_ms = now_ms() + randombytes_uniform(SPREAD_MS) + 1;
        }
        while (f->n_done < f->n) {
                uint64_t now = now_ms();

                for (unsigned i = 0; i < f->n && f->n_running < CONNECTING; i++)
                        if (f->agents[i].at_ms && f->agents[i].at_ms <= now)
                                agent_start(f, &f->agents[i]);
                fleet_turn(f, 20);
                DEMAND(now_s() < before.wall + 600);
        }
        printf("%s-storm-rate %.0f agents/s\n", name, f->n / (now_s() - before.wall));
        printf("%s-storm-settled %.1f s\n", name, now_s() - before.wall);
        printf("%s-storm-tries %.2f each\n", name, (double)f->tries / f->n);
        snprintf(f->name, sizeof(f->name), "%s-storm", name);
        cpu_print(f->name, f->collector, before);
}

static double stored_bytes(const char *where)
{
        _cleanup_(store_freep) struct store *s = NULL;
        struct store_totals t;

        DEMAND(store_open(where, 0, &s, NULL) == 0 && store_totals(s, 0, &t) == 0);
        return (double)t.bytes;
}

static void check_kept(struct fleet *f, const char *where, const char *name)
{
        _cleanup_(store_freep) struct store *s = NULL;
        int64_t n = 0;

        DEMAND(store_open(where, 0, &s, NULL) == 0);
        for (unsigned i = 0; i < f->n; i++) {
                struct store_device d;

                DEMAND(store_device_get(s, f->agents[i].device.id, &d) == 0 && d.next_seq == RECORDS + 1);
        }
        DEMAND(db_number(store_reader(s), "SELECT count(*) FROM record", &n, "") == 1);
        printf("%s-storm-kept %lld records of %u\n", name, (long long)n, f->n * RECORDS);
        DEMAND(n == (int64_t)f->n * RECORDS);
}

static void fleet_open(struct fleet *f)
{
        _cleanup_(reply_done) struct reply r = {0};
        char url[128];

        f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        f->multi = curl_multi_init();
        f->timeout_ms = UINT64_MAX;
        DEMAND(f->multi && f->epoll_fd >= 0);
        curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
        curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timer);
        curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
        curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)f->n);
        snprintf(url, sizeof(url), "%s/v1/policy", f->collector->url);
        DEMAND(client_do(f->agents[0].curl,
                         (struct request){.url = url, .ca = f->collector->ca, .as = &f->agents[0].device},
                         &r) == 200);
        snprintf(f->etag, sizeof(f->etag), "If-None-Match: %s", r.etag);
}

int main(int argc, char **argv)
{
        struct collector c = {.program = argc > 1 ? argv[1] : NULL};
        struct rlimit files;
        struct fleet f = {.collector = &c, .n = 10000};
        char token[256], name[64], where[160], ca[96], key[96];
        struct pki_authority *authority;
        struct store *s;
        double before;

        if (argc < 4 || (argc > 4 && (f.n = (unsigned)strtoul(argv[4], NULL, 10)) == 0)) {
                fprintf(stderr, "usage: bench-fleet COLLECTOR sqlite|postgres POLICY [AGENTS]\n");
                return 2;
        }
        DEMAND(getrlimit(RLIMIT_NOFILE, &files) == 0 && sodium_init() >= 0);
        files.rlim_cur = files.rlim_max;
        DEMAND(setrlimit(RLIMIT_NOFILE, &files) == 0);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        f.agents = calloc(f.n, sizeof(*f.agents));
        DEMAND(f.agents);
        collector_store(&c, argv[2]);
        collector_start(&c, token, sizeof(token), 1);
        snprintf(name, sizeof(name), "fleet-%s", argv[2]);
        snprintf(where, sizeof(where), "%s%s", *c.postgres.url ? c.postgres.url : c.dir,
                 *c.postgres.url ? "" : "/collector.db");
        snprintf(ca, sizeof(ca), "%s/device-ca.pem", c.dir);
        snprintf(key, sizeof(key), "%s/device-ca.key", c.dir);
        DEMAND(store_open(where, 0, &s, NULL) == 0 && pki_authority_load(ca, key, &authority, NULL) == 0);
        fleet_make(&f, s, authority);
        store_free(s);
        pki_authority_free(authority);
        fleet_open(&f);
        act_hold(&f, name);
        act_push(&f, name, argv[3]);
        before = stored_bytes(where);
        act_storm(&f, name);
        check_kept(&f, where, name);
        printf("%s-storm-stored %.0f bytes/batch of %d records\n", name, (stored_bytes(where) - before) / f.n,
               RECORDS);
        collector_stop(&c);
        return 0;
}
