/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The agent's status.json, when it changes and every quarter of an hour. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/io.h"

#define STATUS_PERIOD_MS  (15 * 60 * 1000)
#define STATUS_JITTER_MS  (STATUS_PERIOD_MS / 5)
#define STATUS_RETRY_MS   60000 /* no status.json yet: inotify tells earlier */
#define STATUS_TIMEOUT_S  60L
#define STATUS_ANSWER_MAX 65536

int status_start(struct uplink *u, struct job *j)
{
        _cleanup_free_ char *path = format_new("%s/status.json", u->config.runtime), *text = NULL;
        size_t size;
        int r;

        j->due_ms = uplink_now_ms() + STATUS_RETRY_MS;
        if (!path)
                return -ENOMEM;
        r = file_read(path, UPLINK_STATUS_MAX, &text, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        return job_send(u, j,
                        &(struct request){.path = "/v1/status",
                                          .body = text,
                                          .body_size = size,
                                          .content_type = "application/json",
                                          .timeout_s = STATUS_TIMEOUT_S,
                                          .answer_max = STATUS_ANSWER_MAX});
}

void status_done(struct uplink *u, struct job *j, CURLcode code)
{
        char reason[UPLINK_ERROR_MAX];

        if (code == CURLE_OK && j->response.status == 200)
                job_succeeded(j, STATUS_PERIOD_MS - STATUS_JITTER_MS + randombytes_uniform(2 * STATUS_JITTER_MS + 1));
        else
                job_failed(j, response_error(&j->response, code, reason));
}
