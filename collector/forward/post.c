/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "base/version.h"
#include "collector/forward/private.h"

#define CONNECT_TIMEOUT_MS 10000L
#define TOKEN_MAX          4096

static inline void slist_freep(struct curl_slist **l)
{
        curl_slist_free_all(*l);
}

static int on_progress(void *userdata, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
        const struct sender *s = userdata;

        return __atomic_load_n(s->stopping, __ATOMIC_RELAXED); /* not 0: CURLE_ABORTED_BY_CALLBACK */
}

int sender_prepare(struct sender *s, const char *url)
{
        const struct forward_config *c = s->config;
        bool failed = false;

#define SET(option, value) (failed |= curl_easy_setopt(s->easy, option, value) != CURLE_OK)
        if (!s->easy)
                s->easy = curl_easy_init();
        if (!s->easy)
                return -ENOMEM;
        curl_easy_reset(s->easy);
        *s->error = 0;
        SET(CURLOPT_URL, url);
        SET(CURLOPT_PROTOCOLS_STR, "https");
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
        SET(CURLOPT_ERRORBUFFER, s->error);
        SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        SET(CURLOPT_NOPROGRESS, 0L);
        SET(CURLOPT_XFERINFOFUNCTION, on_progress);
        SET(CURLOPT_XFERINFODATA, s);
        if (c->ca) {
                SET(CURLOPT_CAINFO, c->ca);
                SET(CURLOPT_CAPATH, NULL); /* else libcurl adds the system's to the one given */
        }
        if (c->certificate) {
                SET(CURLOPT_SSLCERT, c->certificate);
                SET(CURLOPT_SSLKEY, c->key);
        }
#undef SET
        return failed ? -EINVAL : 0;
}

void sender_done(struct sender *s)
{
        curl_easy_cleanup(s->easy);
        s->easy = NULL;
        s->connected = false;
}

static size_t on_answer(char *data, size_t size, size_t n, void *userdata)
{
        struct buf *b = userdata;

        if (n > FORWARD_ANSWER_MAX - b->size)
                return 0; /* CURLE_WRITE_ERROR */
        buf_add(b, data, n);
        return buf_error(b) < 0 ? 0 : n;
}

static int add_header(struct curl_slist **list, const char *line)
{
        struct curl_slist *longer = curl_slist_append(*list, line);

        if (!longer)
                return -ENOMEM;
        *list = longer;
        return 0;
}

/* Read anew each time, so that a rotated token is taken at once. */
static int add_token(const struct sender *s, struct curl_slist **list)
{
        _cleanup_free_ char *token = NULL, *line = NULL;
        size_t size;
        int r;

        if (!s->config->token)
                return 0;
        r = file_read(s->config->token, TOKEN_MAX, &token, &size);
        if (r < 0)
                return r;
        token[strcspn(token, "\r\n")] = 0;
        line = format_new("Authorization: %s %s", form_scheme(s->config->form), token);
        r = line ? add_header(list, line) : -ENOMEM;
        explicit_bzero(token, size);
        if (line)
                explicit_bzero(line, strlen(line));
        return r;
}

static int request_set(struct sender *s, const struct buf *body, struct curl_slist **headers, struct buf *answer)
{
        _cleanup_free_ char *type = format_new("Content-Type: %s", form_content_type(s->config->form));
        char agent[128];
        bool failed = false;
        int r = sender_prepare(s, s->config->url);

        if (r == 0)
                r = type ? add_header(headers, type) : -ENOMEM;
        if (r == 0)
                r = add_header(headers, "Expect:"); /* no round trip more for a large body */
        if (r == 0)
                r = add_token(s, headers);
        if (r < 0)
                return r;
        failed |= curl_easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)FORWARD_TIMEOUT_MS) != CURLE_OK;
        snprintf(agent, sizeof(agent), "onchannel-collector/%s", onchannel_version);
        failed |= curl_easy_setopt(s->easy, CURLOPT_USERAGENT, agent) != CURLE_OK;
        failed |= curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, *headers) != CURLE_OK;
        failed |= curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size) != CURLE_OK;
        failed |= curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, body->data) != CURLE_OK;
        failed |= curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_answer) != CURLE_OK;
        failed |= curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, answer) != CURLE_OK;
        return failed ? -EINVAL : 0;
}

int post_send(struct sender *s, const struct buf *body, unsigned *ret_refused)
{
        _cleanup_(slist_freep) struct curl_slist *headers = NULL;
        _cleanup_buf_ struct buf answer = {0};
        struct form_answer a = {.form = s->config->form};
        curl_off_t retry = 0;
        CURLcode code;
        int r = request_set(s, body, &headers, &answer);

        s->retry_after_s = 0;
        if (r < 0) {
                snprintf(s->problem, sizeof(s->problem), "cannot make the request: %s", strerror(-r));
                return -EAGAIN;
        }
        code = curl_easy_perform(s->easy);
        if (code == CURLE_ABORTED_BY_CALLBACK)
                return -ECANCELED;
        if (code != CURLE_OK) {
                snprintf(s->problem, sizeof(s->problem), "%s", *s->error ? s->error : curl_easy_strerror(code));
                return -EAGAIN;
        }
        curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &a.status);
        curl_easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &retry);
        s->retry_after_s = retry > 0 ? (uint64_t)retry : 0;
        a.body = (const char *)answer.data;
        a.size = answer.size;
        return form_judge(&a, ret_refused, s->problem);
}
