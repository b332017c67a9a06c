/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/fetch.h"
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"

#define CONNECT_S   15L
#define SILENCE_S   120L
#define ERROR_BYTES 4096u /* of an answer that is none */

static int fail(struct fetch *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct fetch *f, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(f->error, sizeof(f->error), format, ap);
        va_end(ap);
        return -EIO;
}

static inline void urlp(CURLU **u)
{
        curl_url_cleanup(*u);
}

static inline void textp(char **s)
{
        curl_free(*s);
}

static bool url_has(CURLU *u, CURLUPart part)
{
        _cleanup_(textp) char *s = NULL;

        return curl_url_get(u, part, &s, 0) == CURLUE_OK;
}

int fetch_init(struct fetch *f, const char *url, const char *ca)
{
        _cleanup_(urlp) CURLU *u = curl_url();
        _cleanup_(textp) char *text = NULL;

        if (!u)
                return -ENOMEM;
        if (!text_starts_with(url, "https://") || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
            url_has(u, CURLUPART_USER) || url_has(u, CURLUPART_PASSWORD) || url_has(u, CURLUPART_QUERY) ||
            url_has(u, CURLUPART_FRAGMENT))
                return -EINVAL;
        if (curl_url_get(u, CURLUPART_URL, &text, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
                return -ENOMEM;
        *f = (struct fetch){.easy = curl_easy_init(), .base = strdup(text), .ca = ca};
        if (!f->easy || !f->base) {
                fetch_done(f);
                return -ENOMEM;
        }
        curl_easy_setopt(f->easy, CURLOPT_COOKIEFILE, ""); /* once: what is set again, or reset, libcurl 7.88 leaks */
        while (text_ends_with(f->base, "/"))
                f->base[strlen(f->base) - 1] = 0;
        return 0;
}

void fetch_done(struct fetch *f)
{
        curl_easy_cleanup(f->easy);
        free(f->base);
        *f = (struct fetch){0};
}

struct answer {
        struct fetch *fetch;
        const struct fetch_request *request;
        struct buf body; /* or of what is no good answer */
        int r; /* of take() */
};

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct answer *a = userdata;
        const struct fetch_request *q = a->request;
        long status = 0;

        curl_easy_getinfo(a->fetch->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status == 200 && q->take) {
                a->r = q->take(q->userdata, data, size * n);
                return a->r < 0 ? 0 : n;
        }
        if (a->body.size + size * n > (status == 200 ? q->max : ERROR_BYTES))
                return 0;
        buf_add(&a->body, data, size * n);
        return buf_error(&a->body) < 0 ? 0 : n;
}

/* What people can do something about; the rest in libcurl's words. */
static const char *meaning(CURLcode code)
{
        switch ((int)code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
                return "nobody answers there";
        case CURLE_PEER_FAILED_VERIFICATION:
                return "its certificate is not that of a collector whose CA is known here (--ca)";
        case CURLE_SSL_CACERT_BADFILE:
                return "the CA's certificate (--ca) cannot be read";
        case CURLE_PARTIAL_FILE:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
                return "the answer was broken off";
        }
        return "the request failed";
}

/* {"error":"sentence"}, or nothing. */
static int refused(struct fetch *f, const char *url, long status, const struct buf *body)
{
        json_auto_t *o = body->size > 0 ? json_loadb((const char *)body->data, body->size, 0, NULL) : NULL;
        const char *why = json_string_value(json_object_get(o, "error"));

        return fail(f, "%s: %s (status %ld)", url, why ? why : "no answer of a collector", status);
}

static void set_post(CURL *c, const struct fetch_request *q)
{
        if (q->post) {
                curl_easy_setopt(c, CURLOPT_POST, 1L);
                curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->post->data);
                curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)q->post->size);
        } else {
                curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
        }
}

static void set_all(struct fetch *f, const struct fetch_request *q, struct answer *a)
{
        CURL *c = f->easy;

        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
        curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, q->timeout_s);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
        if (f->ca) {
                curl_easy_setopt(c, CURLOPT_CAINFO, f->ca);
                curl_easy_setopt(c, CURLOPT_CAPATH, NULL); /* else libcurl adds the system's CAs to this one */
        }
        set_post(c, q);
}

static int perform(struct fetch *f, const char *url, struct answer *a)
{
        char error[CURL_ERROR_SIZE] = "";
        long status = 0;
        CURLcode code;

        curl_easy_setopt(f->easy, CURLOPT_URL, url);
        curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, error);
        code = curl_easy_perform(f->easy);
        curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, NULL);
        curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
        if (a->r < 0)
                return a->r;
        if (buf_error(&a->body) < 0)
                return fail(f, "no memory");
        if (status > 0 && status != 200)
                return refused(f, url, status, &a->body);
        if (code != CURLE_OK)
                return fail(f, "%s: %s: %s", url, meaning(code), *error ? error : curl_easy_strerror(code));
        return 0;
}

int fetch_call(struct fetch *f, const struct fetch_request *q, struct buf *ret)
{
        _cleanup_free_ char *url = format_new("%s%s", f->base, q->path), *origin = format_new("Origin: %s", f->base);
        struct answer a = {.fetch = f, .request = q};
        struct curl_slist json = {.data = (char *)"Content-Type: application/json"};
        struct curl_slist headers = {.data = origin, .next = &json};
        int r;

        f->error[0] = 0;
        if (!url || !origin)
                return fail(f, "no memory");
        set_all(f, q, &a);
        curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, q->json ? &headers : NULL);
        r = perform(f, url, &a);
        if (r == 0 && ret) {
                buf_done(ret);
                *ret = a.body;
                a.body = (struct buf){0};
        }
        buf_done(&a.body);
        return r;
}
