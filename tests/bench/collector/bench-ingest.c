/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Durable records per second into a real collector over mTLS: bench-ingest COLLECTOR
 * [DEVICES [BATCHES [RECORDS]]]. Makes a collector in a temporary folder, enrols devices, prepares
 * all batches, then posts them, one connection a device. Prints `name value unit`. */
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "base/io.h"
#include "tests/unit/collector-client.h"

struct collector {
        const char *program;
        char dir[64], ca[96], url[64];
        pid_t pid;
};

struct sender {
        struct client_device device;
        struct buf *batches; /* compressed */
        unsigned sent;
        CURL *curl;
        struct request request;
        struct reply reply;
};

static double now_s(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Runs the collector's program; *ret_output (free()) is what it printed, or NULL to let it run on
 * with its standard error at *ret_fd. */
static pid_t collector_run(const struct collector *c, char *const argv[], int *ret_fd)
{
        int fds[2];
        pid_t pid;

        DEMAND(pipe(fds) == 0);
        pid = fork();
        DEMAND(pid >= 0);
        if (pid == 0) {
                dup2(fds[1], 1);
                dup2(fds[1], 2);
                close(fds[0]);
                close(fds[1]);
                execv(c->program, argv);
                _exit(127);
        }
        close(fds[1]);
        *ret_fd = fds[0];
        return pid;
}

static void collector_command(const struct collector *c, char *const argv[], char *ret, size_t size)
{
        int fd, status;
        pid_t pid = collector_run(c, argv, &fd);
        FILE *f = fdopen(fd, "r");
        size_t n = fread(ret, 1, size - 1, f);

        ret[n] = 0;
        fclose(f);
        DEMAND(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
                fprintf(stderr, "%s %s: %s\n", c->program, argv[1], ret);
                exit(1);
        }
}

static void collector_start(struct collector *c, char *token, size_t token_size, unsigned uses)
{
        char output[4096], line[256], uses_text[16];
        FILE *f;
        int fd;

        strcpy(c->dir, "/tmp/onchannel-bench-XXXXXX");
        DEMAND(mkdtemp(c->dir));
        snprintf(c->ca, sizeof(c->ca), "%s/server-ca.pem", c->dir);
        snprintf(uses_text, sizeof(uses_text), "%u", uses);
        collector_command(
                c, (char *[]){"collector", "init", c->dir, "--agents", "127.0.0.1:0", "--page", "127.0.0.1:0", NULL},
                output, sizeof(output));
        collector_command(c, (char *[]){"collector", "token", c->dir, "--uses", uses_text, NULL}, token, token_size);
        token[strcspn(token, "\n")] = 0;
        c->pid = collector_run(c, (char *[]){"collector", "serve", c->dir, NULL}, &fd);
        f = fdopen(fd, "r");
        while (!*c->url && fgets(line, sizeof(line), f)) {
                const char *at = strstr(line, "agents: listening on ");

                if (at)
                        snprintf(c->url, sizeof(c->url), "https://%.*s", (int)strcspn(at + 21, "\n"), at + 21);
        }
        DEMAND(*c->url);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void collector_stop(struct collector *c)
{
        int status;

        kill(c->pid, SIGTERM);
        DEMAND(waitpid(c->pid, &status, 0) == c->pid && status == 0);
        nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

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

static unsigned argument(int argc, char **argv, int i, unsigned missing)
{
        uint64_t v = missing;

        DEMAND(argc <= i || (parse_u64(argv[i], 100000, &v) == 0 && v > 0));
        return (unsigned)v;
}

int main(int argc, char **argv)
{
        struct collector c = {.program = argc > 1 ? argv[1] : NULL};
        unsigned n = argument(argc, argv, 2, 8), n_batches = argument(argc, argv, 3, 10),
                 n_records = argument(argc, argv, 4, 500);
        struct sender *senders = calloc(n, sizeof(*senders));
        char token[256];
        double start;

        if (!c.program) {
                fprintf(stderr, "usage: bench-ingest COLLECTOR [DEVICES [BATCHES [RECORDS]]]\n");
                return 2;
        }
        DEMAND(senders && sodium_init() >= 0);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        collector_start(&c, token, sizeof(token), n);
        start = now_s();
        for (unsigned i = 0; i < n; i++)
                sender_init(&senders[i], &c, i, token);
        printf("collector-enrol %.1f devices/s\n", n / (now_s() - start));
        for (unsigned i = 0; i < n; i++) {
                senders[i].batches = calloc(n_batches, sizeof(struct buf));
                DEMAND(senders[i].batches);
                for (unsigned k = 0; k < n_batches; k++) {
                        _cleanup_buf_ struct buf text = {0};

                        client_batch(&senders[i].device, n_records, 1700000000000ull + k * 1000000ull, &text);
                        client_compress(&text, &senders[i].batches[k]);
                }
        }
        start = now_s();
        senders_run(senders, n, n_batches, &c);
        printf("collector-ingest %.0f records/s\n", (double)n * n_batches * n_records / (now_s() - start));
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
