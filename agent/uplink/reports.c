/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The spool, batch by batch, in order. Nothing is ever skipped: what the collector refuses is
 * offered again, and STATE/uplink/problem says why. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "spool/spool.h"

#define REPORTS_IDLE_MS    60000 /* inotify tells earlier */
#define REPORTS_TIMEOUT_S  120L
#define REPORTS_ANSWER_MAX 65536
#define ZSTD_LEVEL         3
#define ACK_MAX_BYTES      32

/* A copied disk, or one that was put back: what both wrote cannot be one chain. Shorter than UPLINK_ERROR_MAX. */
#define TWO_HISTORIES                                                                                                \
        "the collector has another history of this device: was its disk copied to a second machine, or put back "    \
        "from a copy? This machine's own records since then are kept in its spool, and no more are sent until it "   \
        "has a key of its own: see onchannel-uplink(8), TWO MACHINES WITH ONE KEY"

static int read_ack(const struct uplink *u, struct source *s)
{
        _cleanup_free_ char *path = format_new("%s/uplink/%s", u->config.state, s->ack);
        int r = path ? file_read_number(path, &s->acknowledged) : -ENOMEM;

        return r == -ENOENT ? 0 : r;
}

static void recall_ack(const struct uplink *u, struct source *s)
{
        int r = read_ack(u, s);

        if (r >= 0)
                return;
        log_errno(LOG_WARNING, r, "cannot read '%s/uplink/%s', starting with the oldest record", u->config.state,
                  s->ack);
        s->acknowledged = 0;
}

int uplink_init(struct uplink *u)
{
        u->own = (struct source){.folder = "", .ack = "ack"};
        u->aside = (struct source){.folder = "/aside", .ack = "ack-aside"};
        u->jobs[JOB_REPORTS] =
                (struct job){.name = "reports", .source = &u->own, .start = reports_start, .done = reports_done};
        u->jobs[JOB_ASIDE] = (struct job){
                .name = "earlier records", .source = &u->aside, .start = aside_start, .done = reports_done};
        u->jobs[JOB_POLICY] = (struct job){.name = "policy", .start = policy_start, .done = policy_done};
        u->jobs[JOB_STATUS] = (struct job){.name = "status", .start = status_start, .done = status_done};
        u->jobs[JOB_RENEW] = (struct job){.name = "renewal", .start = renew_start, .done = renew_done};
        u->has_problem = true; /* of an earlier run, perhaps: the first success removes it */
        u->multi = curl_multi_init();
        if (!u->multi)
                return -ENOMEM;
        contact_recall(u);
        recall_ack(u, &u->own);
        recall_ack(u, &u->aside);
        return 0;
}

void uplink_disconnect(struct uplink *u)
{
        for (size_t i = 0; i < _JOB_MAX; i++) {
                if (u->jobs[i].easy)
                        curl_multi_remove_handle(u->multi, u->jobs[i].easy);
                job_finish(&u->jobs[i]);
        }
        curl_multi_cleanup(u->multi);
        u->multi = NULL;
}

void uplink_done(struct uplink *u)
{
        uplink_disconnect(u);
        freep(&u->renewal_key);
        uplink_config_done(&u->config);
}

static int write_ack(const struct uplink *u, const struct source *s, uint64_t seq)
{
        _cleanup_free_ char *path = format_new("%s/uplink/%s", u->config.state, s->ack);
        char text[ACK_MAX_BYTES];
        int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", seq);

        return path ? file_write_atomic(path, text, (size_t)n, 0644) : -ENOMEM;
}

/* A reason that does not go away by itself. What was put aside is no concern of what the device records now. */
static void set_problem(struct uplink *u, struct job *j, const char *reason)
{
        _cleanup_free_ char *path = format_new("%s/uplink/problem", u->config.state);
        _cleanup_free_ char *line = format_new("%s\n", reason);

        if (path && line && j->source == &u->own && strcmp(j->reason, reason) != 0 &&
            file_write_atomic(path, line, strlen(line), 0644) >= 0)
                u->has_problem = true;
        job_failed(j, reason);
}

static void clear_problem(struct uplink *u)
{
        _cleanup_free_ char *path = format_new("%s/uplink/problem", u->config.state);

        if (u->has_problem && path && (unlink(path) == 0 || errno == ENOENT))
                u->has_problem = false;
}

int find_device_id(const struct uplink *u, struct source *s)
{
        _cleanup_free_ char *path = format_new("%s%s/device.pub", u->config.state, s->folder), *text = NULL;
        uint8_t public_key[DEVICE_KEY_SIZE];
        size_t size;
        int r;

        if (s->device_id[0])
                return 0;
        if (!path)
                return -ENOMEM;
        r = file_read(path, 2 * DEVICE_KEY_SIZE + 1, &text, &size);
        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = '\0';
        r = hex_decode(text, public_key, sizeof(public_key));
        if (r < 0)
                return r;
        device_id_format(public_key, s->device_id);
        return 0;
}

static int compress(const char *text, size_t size, struct buf *out)
{
        size_t n, bound = ZSTD_compressBound(size);
        void *room = buf_extend(out, bound);

        if (!room)
                return buf_error(out);
        n = ZSTD_compress(room, bound, text, size, ZSTD_LEVEL);
        if (ZSTD_isError(n))
                return -EIO;
        out->size = n;
        return 0;
}

static int send_batch(struct uplink *u, struct job *j, const char *text, size_t size)
{
        _cleanup_buf_ struct buf packed = {0};
        int r;

        r = compress(text, size, &packed);
        if (r < 0)
                return r;
        return job_send(u, j,
                        &(struct request){.path = "/v1/reports",
                                          .body = packed.data,
                                          .body_size = packed.size,
                                          .content_type = "application/x-ndjson",
                                          .content_encoding = "zstd",
                                          .timeout_s = REPORTS_TIMEOUT_S,
                                          .answer_max = REPORTS_ANSWER_MAX});
}

/* The daemon freed records that this process has not seen acknowledged: its own file was lost. */
static void records_gone(struct uplink *u, struct job *j, uint64_t first)
{
        struct source *s = j->source;
        char reason[UPLINK_ERROR_MAX];

        if (s->conflict) {
                snprintf(reason, sizeof(reason),
                         "the collector wants record %" PRIu64 ", but the spool begins with %" PRIu64,
                         s->acknowledged + 1, first);
                set_problem(u, j, reason);
        } else {
                j->due_ms = 0;
        }
        s->acknowledged = first - 1;
}

int reports_start(struct uplink *u, struct job *j)
{
        struct source *s = j->source;
        _cleanup_free_ char *dir = format_new("%s%s/spool", u->config.state, s->folder), *text = NULL;
        uint64_t first = 0, last;
        size_t size;
        int r;

        j->due_ms = clock_boottime_ms() + REPORTS_IDLE_MS;
        if (!dir)
                return -ENOMEM;
        r = find_device_id(u, s);
        if (r < 0)
                return r;
        r = spool_read_batch(dir, s->device_id, s->acknowledged, &text, &size, &first, &last);
        if (r == 0)
                return send_batch(u, j, text, size);
        if (r == -ENOENT && first > 0)
                records_gone(u, j, first);
        else if (r == -ERANGE || (r == -ENODATA && s->conflict))
                set_problem(u, j, TWO_HISTORIES);
        else if (r == -EBADMSG)
                set_problem(u, j, "the spool is damaged at the next record: restart onchanneld");
        else if (r != -ENODATA)
                return r;
        return 0;
}

/* Nothing is there on nearly every machine; what was there goes when the daemon has read the acknowledgement. */
int aside_start(struct uplink *u, struct job *j)
{
        _cleanup_free_ char *path = format_new("%s%s/device.pub", u->config.state, u->aside.folder);

        if (!path)
                return -ENOMEM;
        if (access(path, F_OK) == 0)
                return reports_start(u, j);
        j->due_ms = clock_boottime_ms() + REPORTS_IDLE_MS;
        u->aside.device_id[0] = '\0';
        u->aside.acknowledged = 0;
        return 0;
}

static void accepted(struct uplink *u, struct job *j)
{
        struct source *s = j->source;
        uint64_t next;
        int r;

        if (response_number(&j->response, "next", &next) < 0 || next <= s->acknowledged + 1 || next > INT64_MAX) {
                job_failed(j, "the collector's answer has no usable 'next'");
                return;
        }
        r = write_ack(u, s, next - 1);
        if (r < 0) /* harmless: the daemon keeps the records for longer */
                log_errno(LOG_WARNING, r, "cannot write '%s/uplink/%s', ignoring", u->config.state, s->ack);
        s->acknowledged = next - 1;
        s->conflict = false;
        if (s == &u->own)
                clear_problem(u);
        job_succeeded(j, 0);
}

/* A gap is closed by sending from where the collector is; twice in a row it is a fork. */
static void refused(struct uplink *u, struct job *j, const char *reason)
{
        struct source *s = j->source;
        uint64_t next;

        if (response_number(&j->response, "next", &next) < 0 || next < 1 || next > INT64_MAX) {
                job_failed(j, reason);
                return;
        }
        if (s->conflict || next == s->acknowledged + 1) {
                set_problem(u, j, TWO_HISTORIES);
        } else {
                log_line(LOG_WARNING, UPLINK_ANSWERS "409; sending from record %" PRIu64, next);
                j->due_ms = 0;
        }
        s->conflict = true;
        s->acknowledged = next - 1;
}

void reports_done(struct uplink *u, struct job *j, CURLcode code)
{
        char reason[UPLINK_ERROR_MAX];

        response_error(&j->response, code, reason);
        if (code != CURLE_OK)
                job_failed(j, reason);
        else if (j->response.status == 200)
                accepted(u, j);
        else if (j->response.status == 409)
                refused(u, j, reason);
        else if (j->response.status == 429 || j->response.status == 503)
                job_failed(j, reason);
        else /* 400, 403, 413, 507, …: a person must look */
                set_problem(u, j, reason);
}
