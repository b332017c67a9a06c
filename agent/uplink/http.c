/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "base/version.h"

#define CONNECT_TIMEOUT_S 10L
#define KEEPALIVE_S       60L
#define RETRY_AFTER_MAX_S 3600
#define SPREAD_MAX_S      600

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct response *r = userdata;

        if (n > r->body_max - r->body.size)
                return 0; /* CURLE_WRITE_ERROR */
        buf_add(&r->body, data, n);
        return buf_error(&r->body) < 0 ? 0 : n;
}

static void take_number(const char *value, uint64_t max, uint64_t *ret)
{
        int r = parse_u64(value, max, ret);

        if (r == -ERANGE)
                *ret = max;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
        struct response *r = userdata;
        char line[UPLINK_ETAG_MAX + 32];
        char *value;

        if (n >= sizeof(line))
                return n;
        memcpy(line, data, n);
        line[n] = '\0';
        line[strcspn(line, "\r\n")] = '\0';
        value = strchr(line, ':');
        if (!value)
                return n;
        *value++ = '\0';
        value += strspn(value, " \t");

        if (strcasecmp(line, "etag") == 0 && strlen(value) < sizeof(r->etag))
                strcpy(r->etag, value);
        else if (strcasecmp(line, "retry-after") == 0) /* RFC 9110 10.2.3, the form in seconds */
                take_number(value, RETRY_AFTER_MAX_S, &r->retry_after_s);
        else if (strcasecmp(line, "x-onchannel-spread") == 0)
                take_number(value, SPREAD_MAX_S, &r->spread_s);
        return n;
}

void response_done(struct response *r)
{
        buf_done(&r->body);
        *r = (struct response){0};
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
        _cleanup_free_ char *line = NULL;
        struct curl_slist *longer;

        if (!value)
                return 0;
        line = format_new("%s: %s", name, value);
        if (!line)
                return -ENOMEM;
        longer = curl_slist_append(*list, line);
        if (!longer)
                return -ENOMEM;
        *list = longer;
        return 0;
}

#define SET(easy, option, value) (failed |= curl_easy_setopt(easy, option, value) != CURLE_OK)

static int set_blob(CURL *easy, CURLoption option, const char *text)
{
        struct curl_blob blob = {.data = (void *)text, .len = text ? strlen(text) : 0, .flags = CURL_BLOB_COPY};

        return curl_easy_setopt(easy, option, text ? &blob : NULL) == CURLE_OK ? 0 : -EINVAL;
}

int http_set_identity(CURL *easy, const char *ca, const char *certificate, const char *key)
{
        if (set_blob(easy, CURLOPT_CAINFO_BLOB, ca) < 0 || set_blob(easy, CURLOPT_SSLCERT_BLOB, certificate) < 0 ||
            set_blob(easy, CURLOPT_SSLKEY_BLOB, key) < 0)
                return -EINVAL;
        return 0;
}

/* From memory: libcurl takes another connection when what a blob holds has changed, not when a file has. What the
 * collector told is trusted besides what the configuration names, so that its next authority is known in time. */
static int set_tls(CURL *easy, const struct uplink_config *c)
{
        _cleanup_free_ char *told_path = format_new("%s/uplink/ca.pem", c->state), *pinned = NULL, *told = NULL;
        _cleanup_free_ char *path = format_new("%s/uplink/cert.pem", c->state), *identity = NULL, *ca = NULL;
        bool failed = false;
        size_t size;
        int r;

        if (!told_path || !path)
                return -ENOMEM;
        SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
        SET(easy, CURLOPT_CAINFO, NULL);
        SET(easy, CURLOPT_CAPATH, NULL); /* else libcurl adds the system's CAs to those pinned */
        if (c->ca)
                (void)file_read(c->ca, UPLINK_PEM_MAX, &pinned, &size);
        (void)file_read(told_path, UPLINK_PEM_MAX, &told, &size);
        ca = format_new("%s\n%s", pinned ?: "", told ?: "");
        r = file_read(path, UPLINK_PEM_MAX, &identity, &size);
        if (!ca || (r < 0 && r != -ENOENT))
                return ca ? r : -ENOMEM;
        r = http_set_identity(easy, ca, identity, identity);
        if (identity)
                explicit_bzero(identity, size);
        return failed ? -EINVAL : r;
}

static int set_request(CURL *easy, const struct uplink_config *c, const struct request *q, struct response *response)
{
        _cleanup_free_ char *url = format_new("%s%s", c->url, q->path);
        _cleanup_free_ char *agent = format_new("onchannel-uplink/%s", onchannel_version);
        bool failed = false;

        if (!url || !agent)
                return -ENOMEM;
        response->body_max = q->answer_max;
        SET(easy, CURLOPT_URL, url);
        SET(easy, CURLOPT_PROTOCOLS_STR, "https");
        SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        SET(easy, CURLOPT_PIPEWAIT, 1L); /* share the connection */
        SET(easy, CURLOPT_NOSIGNAL, 1L);
        SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        SET(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
        SET(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
        SET(easy, CURLOPT_TIMEOUT, q->timeout_s);
        SET(easy, CURLOPT_USERAGENT, agent);
        SET(easy, CURLOPT_WRITEFUNCTION, on_body);
        SET(easy, CURLOPT_WRITEDATA, response);
        SET(easy, CURLOPT_HEADERFUNCTION, on_header);
        SET(easy, CURLOPT_HEADERDATA, response);
        SET(easy, CURLOPT_ERRORBUFFER, response->curl_error);
        if (q->body) {
                SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_size);
                SET(easy, CURLOPT_COPYPOSTFIELDS, q->body);
        }
        return failed ? -EINVAL : 0;
}

static inline void easy_freep(CURL **e)
{
        curl_easy_cleanup(*e);
}

static inline void slist_freep(struct curl_slist **l)
{
        curl_slist_free_all(*l);
}

int http_request_new(const struct uplink_config *c, const struct request *q, struct response *response, CURL **ret,
                     struct curl_slist **ret_headers)
{
        _cleanup_(slist_freep) struct curl_slist *headers = NULL;
        _cleanup_(easy_freep) CURL *easy = curl_easy_init();
        int r;

        response_done(response);
        r = easy ? set_request(easy, c, q, response) : -ENOMEM;
        if (r >= 0)
                r = set_tls(easy, c);
        if (r >= 0)
                r = add_header(&headers, "Content-Type", q->content_type);
        if (r >= 0)
                r = add_header(&headers, "Content-Encoding", q->content_encoding);
        if (r >= 0)
                r = add_header(&headers, "If-None-Match", q->etag);
        if (r >= 0 && headers && curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK)
                r = -EINVAL;
        if (r < 0)
                return r;
        *ret = TAKE_PTR(easy);
        *ret_headers = TAKE_PTR(headers);
        return 0;
}

const char *response_error(const struct response *r, CURLcode code, char buf[static UPLINK_ERROR_MAX])
{
        json_auto_t *root = NULL;
        const char *error = NULL;
        char printable[UPLINK_ERROR_MAX / 2];

        if (code != CURLE_OK) {
                snprintf(buf, UPLINK_ERROR_MAX, "%s", r->curl_error[0] ? r->curl_error : curl_easy_strerror(code));
                return buf;
        }
        if (r->body.size > 0)
                root = json_loadb((const char *)r->body.data, r->body.size, 0, NULL);
        if (!root || json_unpack(root, "{s:s}", "error", &error) < 0) {
                snprintf(buf, UPLINK_ERROR_MAX, UPLINK_ANSWERS "%ld", r->status);
                return buf;
        }
        text_escape(error, printable, sizeof(printable));
        snprintf(buf, UPLINK_ERROR_MAX, UPLINK_ANSWERS "%ld: %s", r->status, printable);
        return buf;
}

int response_number(const struct response *r, const char *name, uint64_t *ret)
{
        json_auto_t *root = NULL;
        json_t *value;

        if (r->body.size > 0)
                root = json_loadb((const char *)r->body.data, r->body.size, JSON_REJECT_DUPLICATES, NULL);
        value = json_object_get(root, name);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
                return -EBADMSG;
        *ret = (uint64_t)json_integer_value(value);
        return 0;
}
