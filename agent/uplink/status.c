/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The agent's status.json, when it changes and every quarter of an hour. */
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "record/note.h"

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

        j->due_ms = clock_boottime_ms() + STATUS_RETRY_MS;
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

/* The log as it was shown: kept for coverage records to repeat, so that it cannot be shown otherwise to others. Whose
 * key signed it does not matter here; it is what was said. */
static void answer_keep(const struct uplink *u, const struct response *response)
{
        _cleanup_free_ char *path = format_new("%s/uplink/checkpoint", u->config.state), *old = NULL;
        json_auto_t *o =
                json_loadb((const char *)response->body.data, response->body.size, JSON_REJECT_DUPLICATES, NULL);
        const char *note = json_string_value(json_object_get(o, "checkpoint"));
        const char *ca = json_string_value(json_object_get(o, "ca"));
        struct checkpoint c;
        size_t size;
        int r = 0;

        if (ca)
                authorities_keep(u, ca);
        if (!note || !path || note_text(note, strlen(note), &size) < 0 || checkpoint_parse(note, size, &c) < 0)
                return;
        if (file_read(path, NOTE_MAX_BYTES, &old, &size) < 0 || strcmp(old, note) != 0)
                r = file_write_atomic(path, note, strlen(note), 0644);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot keep the checkpoint '%s', ignoring", path);
}

void status_done(struct uplink *u, struct job *j, CURLcode code)
{
        char reason[UPLINK_ERROR_MAX];

        if (code == CURLE_OK && j->response.status == 200) {
                answer_keep(u, &j->response);
                job_succeeded(j, STATUS_PERIOD_MS - STATUS_JITTER_MS + randombytes_uniform(2 * STATUS_JITTER_MS + 1));
        } else
                job_failed(j, response_error(&j->response, code, reason));
}
