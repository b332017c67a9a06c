/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What receivers take, and what they answer.
 * Splunk "Format events for HTTP Event Collector"; Elasticsearch "Bulk API"; RFC 5424, RFC 5425;
 * ArcSight "Common Event Format", version 0. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "base/version.h"
#include "collector/forward/private.h"

#define SYSLOG_FACILITY 13 /* log audit */
#define SEQUENCE_MAX    2147483647u /* RFC 5424 7.3.1 */
enum {
        SEVERITY_CRITICAL = 2,
        SEVERITY_WARNING = 4,
        SEVERITY_INFO = 6,
};

bool form_is_http(enum forward_form form)
{
        return form <= FORWARD_NDJSON;
}

const char *form_content_type(enum forward_form form)
{
        return form == FORWARD_HEC ? "application/json" : "application/x-ndjson";
}

const char *form_scheme(enum forward_form form)
{
        return form == FORWARD_HEC ? "Splunk" : form == FORWARD_ELASTIC ? "ApiKey" : "Bearer";
}

static void add_json_string(struct buf *b, const char *s)
{
        json_t *text = json_string(s);
        char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

        if (quoted)
                buf_add_string(b, quoted);
        else
                b->error = -ENOMEM;
        free(quoted);
        json_decref(text);
}

static bool is_violation(const struct store_row *row)
{
        return strcmp(row->kind, "violation") == 0;
}

static int severity(const struct store_row *row)
{
        if (strcmp(row->kind, "finding") == 0)
                return strcmp(row->class, "silent") == 0 ? SEVERITY_WARNING : SEVERITY_CRITICAL;
        if (!is_violation(row))
                return SEVERITY_INFO;
        return row->class && strcmp(row->class, "tamper") == 0 ? SEVERITY_CRITICAL : SEVERITY_WARNING;
}

/* CEF: '\' and '|' are escaped in the header, '\' and '=' in the extension. */
static void add_cef(struct buf *b, const char *key, const char *value)
{
        if (!value)
                return;
        buf_addf(b, " %s=", key);
        for (const char *p = value; *p; p++) {
                if (*p == '\\' || *p == '=')
                        buf_add(b, "\\", 1);
                buf_add(b, (unsigned char)*p < ' ' ? " " : p, 1);
        }
}

static void add_cef_header(struct buf *b, const char *value)
{
        for (const char *p = value; *p; p++) {
                if (*p == '\\' || *p == '|')
                        buf_add(b, "\\", 1);
                buf_add(b, (unsigned char)*p < ' ' ? " " : p, 1);
        }
}

/* What was concluded, in words, stands in the body alone. */
static void add_cef_finding(const struct store_row *row, struct buf *b)
{
        json_t *root = json_loadb(row->body, row->body_size, 0, NULL);

        add_cef(b, "msg", json_string_value(json_object_get(root, "message")));
        json_decref(root);
}

static void cef_message(const struct store_row *row, struct buf *b)
{
        static const char *const labels[] = {"channel", "class", "evidence tier", "layer", "catalogue entry"};
        const char *const custom[] = {row->channel, row->class, row->tier, row->layer, row->entry};

        buf_addf(b, "CEF:0|onchannel|onchannel|%s|", onchannel_version);
        add_cef_header(b, row->class ? row->class : row->kind);
        buf_add_string(b, "|");
        add_cef_header(b, row->channel_name ? row->channel_name : row->kind);
        buf_addf(b, "|%d|rt=%llu cnt=%llu",
                 severity(row) == SEVERITY_CRITICAL  ? 9
                 : severity(row) == SEVERITY_WARNING ? 6
                                                     : 1,
                 (unsigned long long)row->time_ms, (unsigned long long)row->count);
        buf_addf(b, " externalId=%s:%llu", row->device, (unsigned long long)row->seq);
        add_cef(b, "shost", row->device_name);
        add_cef(b, "suser", row->user);
        if (row->uid >= 0)
                buf_addf(b, " suid=%lld", (long long)row->uid);
        add_cef(b, "sproc", row->program);
        add_cef(b, row->remote && strchr(row->remote, ':') ? "c6a3" : "dst", row->remote);
        if (row->remote && strchr(row->remote, ':'))
                add_cef(b, "c6a3Label", "Destination IPv6 Address");
        if (row->port)
                buf_addf(b, " dpt=%llu", (unsigned long long)row->port);
        add_cef(b, "act", row->outcome);
        for (size_t i = 0; i < ELEMENTSOF(custom); i++) {
                char key[16];

                if (!custom[i])
                        continue;
                snprintf(key, sizeof(key), "cs%zuLabel", i + 1);
                add_cef(b, key, labels[i]);
                snprintf(key, sizeof(key), "cs%zu", i + 1);
                add_cef(b, key, custom[i]);
        }
        if (strcmp(row->kind, "finding") == 0)
                add_cef_finding(row, b);
        else
                buf_addf(b, " cn1Label=policy serial cn1=%llu", (unsigned long long)row->policy_serial);
}

static void add_syslog(enum forward_form form, const struct store_row *row, struct buf *ret)
{
        _cleanup_buf_ struct buf message = {0};
        time_t t = (time_t)(row->time_ms / 1000);
        struct tm tm;
        char when[32];

        gmtime_r(&t, &tm);
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
        buf_addf(&message, "<%d>1 %s.%03uZ %s onchannel - %s [meta sequenceId=\"%u\"] ",
                 SYSLOG_FACILITY * 8 + severity(row), when, (unsigned)(row->time_ms % 1000), row->device_name,
                 row->kind, (unsigned)((row->seq - 1) % SEQUENCE_MAX + 1));
        if (form == FORWARD_CEF)
                cef_message(row, &message);
        else
                buf_add(&message, row->body, row->body_size);
        if (buf_error(&message) < 0)
                ret->error = buf_error(&message);
        buf_addf(ret, "%zu ", message.size); /* RFC 5425 4.3: octet counting */
        buf_add(ret, message.data, message.size);
}

void form_add(enum forward_form form, const struct store_row *row, struct buf *ret)
{
        switch (form) {
        case FORWARD_HEC:
                buf_addf(ret, "{\"time\":%llu.%03u,\"host\":", (unsigned long long)(row->time_ms / 1000),
                         (unsigned)(row->time_ms % 1000));
                add_json_string(ret, row->device_name);
                buf_add_string(ret, ",\"source\":\"onchannel\",\"sourcetype\":\"onchannel:ocsf\",\"event\":");
                buf_add(ret, row->body, row->body_size);
                buf_add_string(ret, "}\n");
                break;
        case FORWARD_ELASTIC:
                buf_addf(ret, "{\"create\":{\"_id\":\"%s:%llu\"}}\n", row->device, (unsigned long long)row->seq);
                buf_add(ret, row->body, row->body_size);
                buf_add_string(ret, "\n");
                break;
        case FORWARD_NDJSON:
                buf_add(ret, row->body, row->body_size);
                buf_add_string(ret, "\n");
                break;
        case FORWARD_SYSLOG:
        case FORWARD_CEF:
                add_syslog(form, row, ret);
                break;
        case _FORWARD_FORM_MAX:
                break;
        }
}

/* Splunk's codes of what is wrong with an event; the others are about how its collector or we are set up. */
static bool hec_refuses(const json_t *root)
{
        static const json_int_t codes[] = {6 /* invalid data format */, 12 /* event field is required */,
                                           13 /* event field cannot be blank */, 15 /* error in indexed fields */};
        json_int_t code = json_integer_value(json_object_get(root, "code"));

        for (size_t i = 0; i < ELEMENTSOF(codes); i++)
                if (code == codes[i])
                        return true;
        return false;
}

/* Is it about what was sent? Then smaller parts find the one that is refused. */
static bool is_refusal(const struct form_answer *a, const json_t *root)
{
        if (a->status == 413)
                return true;
        if (a->form == FORWARD_HEC)
                return a->status == 400 && hec_refuses(root);
        return a->form == FORWARD_NDJSON && (a->status == 400 || a->status == 422);
}

static bool is_transient(long status)
{
        return status == 429 || status >= 500;
}

/* One item of Elastic's answer: its only member is named as the action. */
static long item_status(json_t *item)
{
        return (long)json_integer_value(json_object_get(json_object_iter_value(json_object_iter(item)), "status"));
}

static int judge_elastic(const json_t *root, unsigned *ret_refused, char ret_problem[static FORWARD_PROBLEM_MAX])
{
        const json_t *items = json_object_get(root, "items");
        unsigned refused = 0;
        size_t i;
        json_t *item;

        if (!json_is_array(items)) {
                snprintf(ret_problem, FORWARD_PROBLEM_MAX, "the answer is not that of a bulk call");
                return -EAGAIN;
        }
        json_array_foreach(items, i, item)
        {
                long status = item_status(item);

                if (is_transient(status) || status == 0) {
                        snprintf(ret_problem, FORWARD_PROBLEM_MAX, "documents are answered %ld", status);
                        return -EAGAIN;
                }
                /* 409: it is there already */
                refused += status >= 400 && status != 409;
        }
        if (refused > 0)
                snprintf(ret_problem, FORWARD_PROBLEM_MAX, "%u documents do not fit the index", refused);
        *ret_refused = refused;
        return 0;
}

/* One sentence of what the receiver says: Splunk's "text", Elastic's "error"."reason". */
static void say(const struct form_answer *a, const json_t *root, char ret_problem[static FORWARD_PROBLEM_MAX])
{
        const char *text = json_string_value(json_object_get(root, "text"));
        char printable[FORWARD_PROBLEM_MAX / 2];

        if (!text)
                text = json_string_value(json_object_get(json_object_get(root, "error"), "reason"));
        text_escape(text ? text : "", printable, sizeof(printable));
        snprintf(ret_problem, FORWARD_PROBLEM_MAX, "the receiver answers %ld%s%s", a->status, text ? ": " : "",
                 printable);
}

int form_judge(const struct form_answer *a, unsigned *ret_refused, char ret_problem[static FORWARD_PROBLEM_MAX])
{
        json_t *root = a->size > 0 ? json_loadb(a->body, a->size, 0, NULL) : NULL;
        int r;

        *ret_refused = 0;
        *ret_problem = 0;
        if (a->status / 100 == 2 && a->form == FORWARD_ELASTIC) {
                r = judge_elastic(root, ret_refused, ret_problem);
        } else if (a->status / 100 == 2) {
                r = 0;
        } else {
                say(a, root, ret_problem);
                r = is_refusal(a, root) ? -EBADMSG : -EAGAIN;
        }
        json_decref(root);
        return r;
}
