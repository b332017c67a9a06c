/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define BACKOFF_FLOOR_MS 100

static uint64_t uniform(uint64_t bound_ms)
{
        return randombytes_uniform((uint32_t)bound_ms + 1);
}

uint64_t backoff_ms(unsigned failures)
{
        uint64_t bound = failures < 20 ? (uint64_t)BACKOFF_FIRST_MS << failures : BACKOFF_MAX_MS;
        uint64_t delay = uniform(bound < BACKOFF_MAX_MS ? bound : BACKOFF_MAX_MS);

        return delay < BACKOFF_FLOOR_MS ? BACKOFF_FLOOR_MS : delay;
}

int job_send(struct uplink *u, struct job *j, const struct request *q)
{
        int r;

        r = http_request_new(&u->config, q, &j->response, &j->easy, &j->headers);
        if (r < 0)
                return r;
        j->started_ms = clock_boottime_ms();
        if (curl_easy_setopt(j->easy, CURLOPT_PRIVATE, j) != CURLE_OK ||
            curl_multi_add_handle(u->multi, j->easy) != CURLM_OK) {
                job_finish(j);
                return -EIO;
        }
        return 0;
}

/* What the collector says, or a certificate, may name somebody: that is in `onchannel status`. */
static void log_failure(const struct job *j, const char *reason)
{
        char text[UPLINK_ERROR_MAX];
        size_t n;

        text_unquote(reason, text, sizeof(text));
        n = text_starts_with(text, UPLINK_ANSWERS) ? strcspn(text, ":") : strlen(text);
        log_line(LOG_WARNING, "%s: %.*s", j->name, (int)n, text);
}

void job_failed(struct job *j, const char *reason)
{
        uint64_t delay = backoff_ms(j->failures), spread = uniform(j->response.spread_s * 1000);

        if (j->failures == 0 || strcmp(j->reason, reason) != 0)
                log_failure(j, reason);
        if (reason != j->reason)
                snprintf(j->reason, sizeof(j->reason), "%s", reason);
        j->failures++;
        if (delay < spread)
                delay = spread;
        if (delay < j->response.retry_after_s * 1000)
                delay = j->response.retry_after_s * 1000;
        j->due_ms = clock_boottime_ms() + delay;
}

void job_succeeded(struct job *j, uint64_t next_in_ms)
{
        if (j->failures > 0)
                log_line(LOG_INFO, "%s: works again after %u %s", j->name, j->failures,
                         j->failures == 1 ? "failure" : "failures");
        j->failures = 0;
        j->reason[0] = '\0';
        j->due_ms = clock_boottime_ms() + next_in_ms;
        if (j->wanted_ms && j->wanted_ms < j->due_ms)
                j->due_ms = j->wanted_ms;
}

void job_kick(struct job *j, uint64_t delay_ms)
{
        if (!j->wanted_ms)
                j->wanted_ms = clock_boottime_ms() + delay_ms;
        if (!j->easy && j->failures == 0 && j->due_ms > j->wanted_ms)
                j->due_ms = j->wanted_ms;
}

void job_finish(struct job *j)
{
        curl_easy_cleanup(j->easy);
        curl_slist_free_all(j->headers);
        j->easy = NULL;
        j->headers = NULL;
        response_done(&j->response);
}
