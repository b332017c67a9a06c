/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The next certificate, before the one in use ends, with a new key each time: a key that was copied is of use until then
 * only, and the collector sees when the copy goes on. Should this device have slept through the end, the expired
 * certificate is still good for this one call for a while. Records are spooled all the while. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#define RENEW_LOOK_MS    3600000 /* the clock may be set meanwhile */
#define RENEW_TIMEOUT_S  60L
#define RENEW_ANSWER_MAX (64u << 10)

int64_t renew_due(int64_t from, int64_t to, uint16_t chance)
{
        int64_t life = to - from;

        return from + life * 2 / 3 + life / 20 * (2 * (int64_t)chance - UINT16_MAX) / UINT16_MAX;
}

/* The same for the same certificate, whenever it is asked. */
static uint16_t chance_of(const char *certificate)
{
        uint16_t chance;
        uint8_t hash[crypto_generichash_BYTES];

        crypto_generichash(hash, sizeof(hash), (const uint8_t *)certificate, strlen(certificate), NULL, 0);
        memcpy(&chance, hash, sizeof(chance));
        return chance;
}

static void key_forget(struct uplink *u)
{
        if (u->renewal_key)
                sodium_memzero(u->renewal_key, strlen(u->renewal_key));
        freep(&u->renewal_key);
        u->renewal_key = NULL;
}

static int ask(struct uplink *u, struct job *j)
{
        _cleanup_free_ char *csr = NULL, *text = NULL;
        json_auto_t *body = NULL;
        int r = find_device_id(u, &u->own);

        if (r < 0)
                return r;
        key_forget(u);
        r = csr_new(u->own.device_id, &u->renewal_key, &csr);
        if (r < 0)
                return r;
        body = json_pack("{s:s}", "csr", csr);
        text = body ? json_dumps(body, JSON_COMPACT) : NULL;
        if (!text)
                return -ENOMEM;
        return job_send(u, j,
                        &(struct request){.path = "/v1/renew",
                                          .body = text,
                                          .body_size = strlen(text),
                                          .content_type = "application/json",
                                          .timeout_s = RENEW_TIMEOUT_S,
                                          .answer_max = RENEW_ANSWER_MAX});
}

int renew_start(struct uplink *u, struct job *j)
{
        _cleanup_free_ char *path = format_new("%s/uplink/cert.pem", u->config.state), *text = NULL;
        int64_t from, to, wait_s;
        size_t size;
        int r = path ? file_read(path, UPLINK_PEM_MAX, &text, &size) : -ENOMEM;

        j->due_ms = clock_boottime_ms() + RENEW_LOOK_MS;
        if (r < 0)
                return r;
        r = certificate_life(text, &from, &to);
        wait_s = r < 0 ? 0 : renew_due(from, to, chance_of(text)) - (int64_t)(clock_utc_ms() / 1000);
        explicit_bzero(text, size);
        if (r < 0)
                return r;
        if (wait_s <= 0 && clock_boottime_ms() < u->renew_after_ms)
                wait_s = (int64_t)(u->renew_after_ms - clock_boottime_ms()) / 1000 + 1;
        if (wait_s <= 0)
                return ask(u, j);
        if (wait_s < RENEW_LOOK_MS / 1000)
                j->due_ms = clock_boottime_ms() + (uint64_t)wait_s * 1000;
        return 0;
}

void authorities_keep(const struct uplink *u, const char *ca)
{
        _cleanup_free_ char *path = format_new("%s/uplink/ca.pem", u->config.state), *old = NULL;
        int64_t from, to;
        size_t size;
        int r;

        if (!path || strlen(ca) > UPLINK_PEM_MAX || certificate_life(ca, &from, &to) < 0)
                return;
        if (file_read(path, UPLINK_PEM_MAX, &old, &size) == 0 && strcmp(old, ca) == 0)
                return;
        r = file_write_atomic(path, ca, strlen(ca), 0644);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot keep the collector's authorities in '%s', ignoring", path);
        else
                log_line(LOG_INFO, "the collector's authorities have changed: kept");
}

static const char *take(struct uplink *u, const struct response *response)
{
        json_auto_t *o =
                json_loadb((const char *)response->body.data, response->body.size, JSON_REJECT_DUPLICATES, NULL);
        const char *certificate, *ca;
        int64_t from, to;
        int r;

        if (!o || json_unpack(o, "{s:s, s:s}", "certificate", &certificate, "ca", &ca) < 0 || !u->renewal_key ||
            certificate_check(certificate, ca, u->renewal_key, u->own.device_id) < 0 ||
            certificate_life(certificate, &from, &to) < 0)
                return "the answer is not a certificate of this device";
        authorities_keep(u, ca);
        r = identity_write(&u->config, u->renewal_key, certificate, 0600);
        if (r < 0) {
                log_errno(LOG_ERR, r, "cannot write '%s/uplink/cert.pem'", u->config.state);
                return "the new certificate cannot be kept";
        }
        /* whatever the clock says, which may be set far ahead */
        u->renew_after_ms = clock_boottime_ms() + (uint64_t)(to - from) * 1000 / 6;
        log_line(LOG_INFO, "the certificate is renewed");
        return NULL;
}

void renew_done(struct uplink *u, struct job *j, CURLcode code)
{
        char reason[UPLINK_ERROR_MAX];
        const char *wrong;

        if (code != CURLE_OK || j->response.status != 200)
                wrong = response_error(&j->response, code, reason);
        else
                wrong = take(u, &j->response);
        key_forget(u);
        if (wrong)
                job_failed(j, wrong);
        else
                job_succeeded(j, 0);
}
