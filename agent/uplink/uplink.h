/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Inside of uplink/: the unprivileged program that ships the spool to the collector and puts what
 * the collector sends into incoming/. It trusts the collector with nothing: root verifies every
 * signature. One thread, one loop around curl_multi_poll(3); its jobs, each at most one request
 * at a time, share one HTTP/2 connection. */
#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/diag.h"
#include "record/chain.h"

#define UPLINK_ERROR_MAX     512
#define UPLINK_ANSWERS       "the collector answers " /* number, and behind ": " its own words */
#define UPLINK_ETAG_MAX      128
#define UPLINK_ANSWER_MAX    (80u << 20) /* the largest policy answer */
#define UPLINK_POLICY_MAX    (1u << 20)
#define UPLINK_CATALOGUE_MAX (64u << 20)
#define UPLINK_MINISIG_MAX   2048
#define UPLINK_LINKS_MAX     16
#define UPLINK_EXEMPTION_MAX (16u << 10)
#define UPLINK_EXEMPTIONS    256
#define UPLINK_STATUS_MAX    (64u << 10)
#define UPLINK_PEM_MAX       (256u << 10)

/* ---- config.c ---- */

struct uplink_config { /* of agent.ini, only what the uplink needs; the daemon checks the rest */
        char *device;
        char *state;
        char *runtime;
        char *url; /* without a '/' at the end; NULL none */
        char *ca; /* NULL: STATE/uplink/ca.pem */
};

void uplink_config_done(struct uplink_config *c);
int uplink_config_parse(const char *text, size_t size, const char *file, struct uplink_config *ret,
                        struct diag *reterr);
/* Or the one with which the agent has started last, when that one is broken; says so. */
int uplink_config_load(const char *path, struct uplink_config *ret, struct diag *reterr);
/* -EINVAL unless it is "https://HOST…" of printable ASCII. */
int uplink_url_set(struct uplink_config *c, const char *url);

/* ---- http.c ---- */

struct response {
        long status;
        struct buf body;
        size_t body_max;
        char etag[UPLINK_ETAG_MAX];
        uint64_t retry_after_s; /* 0: not said */
        uint64_t spread_s;
        char curl_error[CURL_ERROR_SIZE];
};

struct request {
        const char *path; /* "/v1/reports" */
        const void *body; /* NULL: GET; copied */
        size_t body_size;
        const char *content_type;
        const char *content_encoding; /* or NULL */
        const char *etag; /* or NULL */
        long timeout_s;
        size_t answer_max;
};

/* A new easy handle for the request, answer into *response; the caller frees both. */
int http_request_new(const struct uplink_config *c, const struct request *q, struct response *response, CURL **ret,
                     struct curl_slist **ret_headers);
/* Texts in PEM, copied; NULL: none. */
int http_set_identity(CURL *easy, const char *ca, const char *certificate, const char *key);
void response_done(struct response *r);
/* One sentence why it failed: curl's, or the collector's own `error`. */
const char *response_error(const struct response *r, CURLcode code, char buf[static UPLINK_ERROR_MAX]);
/* One member of the answer's JSON object. -EBADMSG. */
int response_number(const struct response *r, const char *name, uint64_t *ret);

/* ---- job.c ---- */

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS   (15 * 60 * 1000)

enum job_id {
        JOB_REPORTS,
        JOB_ASIDE,
        JOB_POLICY,
        JOB_STATUS,
        JOB_RENEW,
        _JOB_MAX,
};

/* A spool and how much of it the collector has. */
struct source {
        const char *folder; /* below STATE */
        const char *ack; /* below STATE/uplink */
        char device_id[DEVICE_ID_MAX]; /* "" not known yet */
        uint64_t acknowledged; /* everything up to it is kept by the collector */
        bool conflict; /* 409 and nothing accepted since */
};

struct uplink;
struct job {
        const char *name;
        struct source *source; /* of reports */
        int (*start)(struct uplink *u, struct job *j); /* calls job_send() or sets due_ms */
        void (*done)(struct uplink *u, struct job *j, CURLcode code);
        uint64_t due_ms; /* CLOCK_BOOTTIME; when to call start() */
        uint64_t wanted_ms; /* something new came since start(): not later than this; 0 nothing */
        unsigned failures; /* in a row */
        char reason[UPLINK_ERROR_MAX]; /* of the latest failure, logged once */
        CURL *easy; /* while it runs */
        struct curl_slist *headers;
        struct response response;
        uint64_t started_ms;
};

/* Full jitter: uniform in [0, min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS << failures)], never below 100 ms. */
uint64_t backoff_ms(unsigned failures);
int job_send(struct uplink *u, struct job *j, const struct request *q);
/* Log once, call again later: not before Retry-After, spread as the collector asks. */
void job_failed(struct job *j, const char *reason);
void job_succeeded(struct job *j, uint64_t next_in_ms);
/* Something new: start after delay_ms, or as soon as the request that runs has succeeded; a
 * failing job keeps its back-off. */
void job_kick(struct job *j, uint64_t delay_ms);
void job_finish(struct job *j); /* after done(): frees the request */

/* ---- the jobs ---- */

struct uplink {
        struct uplink_config config;
        CURLM *multi;
        struct job jobs[_JOB_MAX];

        struct source own;
        struct source aside; /* of the key before this one */
        bool has_problem; /* STATE/uplink/problem exists */
        struct {
                uint64_t reached_ms; /* UTC; 0 never */
                char failing[UPLINK_ERROR_MAX]; /* why it is not reached now, or "" */
        } contact; /* with the collector, as STATE/uplink/contact has it */
        char etag[UPLINK_ETAG_MAX];
        uint64_t renew_after_ms; /* CLOCK_BOOTTIME: not again before */
        char *renewal_key; /* PEM, of the request under way */
};

/* Sets config-dependent state, reads STATE/uplink/ack. */
int uplink_init(struct uplink *u);
void uplink_done(struct uplink *u);
void uplink_disconnect(struct uplink *u); /* all requests and connections; u->multi is NULL then */

/* ---- contact.c ---- */
void contact_recall(struct uplink *u); /* of an earlier run */
void contact_note(struct uplink *u, const struct response *response, CURLcode code); /* a request has ended */

int reports_start(struct uplink *u, struct job *j);
int aside_start(struct uplink *u, struct job *j);
void reports_done(struct uplink *u, struct job *j, CURLcode code);
int policy_start(struct uplink *u, struct job *j);
void policy_done(struct uplink *u, struct job *j, CURLcode code);
/* The answer's files into incoming/, signature first; the policy last. -EBADMSG, -EFBIG, -E2BIG. */
int policy_store(const struct uplink_config *c, const char *json, size_t size);
/* A list of such files into incoming/NAME/, as collector-HASH.ini; ours that it lacks are removed. `list` may be NULL:
 * nothing changes. */
struct uplink_list {
        const char *name; /* of the folder */
        size_t max_files, max_bytes;
};
int list_store(const struct uplink_config *c, const struct uplink_list *l, json_t *list);
int status_start(struct uplink *u, struct job *j);
void status_done(struct uplink *u, struct job *j, CURLcode code);
int renew_start(struct uplink *u, struct job *j);
void renew_done(struct uplink *u, struct job *j, CURLcode code);
/* When, of a life from..to (seconds since 1970), to ask for the next certificate: at two thirds, give or take a
 * twentieth by `chance`, so that a fleet that was enrolled together does not come back together. */
int64_t renew_due(int64_t from, int64_t to, uint16_t chance);

/* ---- loop.c ---- */

int uplink_run(struct uplink *u);

/* Keeps what the collector says it is to be known by, when that has changed. */
void authorities_keep(const struct uplink *u, const char *ca);
/* device.pub, once it is there. */
int find_device_id(const struct uplink *u, struct source *s);

/* ---- csr.c, enrol.c ---- */

/* A new P-256 key and a request for it, PEM. */
int csr_new(const char *device_id, char **ret_key, char **ret_csr);
/* The certificate is for this key and this device; `ca` is a certificate. -EBADMSG. */
int certificate_check(const char *certificate, const char *ca, const char *key, const char *device_id);
/* From when to when the first certificate of a text holds, seconds since 1970. -EBADMSG. */
int certificate_life(const char *certificate, int64_t *ret_from, int64_t *ret_to);
/* cert.pem: the key and its certificate in one file, so that a crash cannot part them. */
int identity_write(const struct uplink_config *c, const char *key, const char *certificate, mode_t mode);
/* The enrol request's JSON; free(). */
int enrol_request_new(const uint8_t secret[static DEVICE_SECRET_SIZE], const char *token, const char *name,
                      const char *csr, char **ret);
struct enrol_options {
        const char *token; /* or, with token NULL: */
        const char *certificate, *key; /* files: a firm's own, which says which device this is */
        const char *ca;
};
int enrol_run(struct uplink_config *c, const struct enrol_options *o);
