/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to api/. */
#include <jansson.h>
#include "base/clock.h"
#include "collector/api/api.h"
#include "collector/api/bundle.h"
#include "collector/api/limiter.h"
#include "collector/log/log.h"
#include "collector/net/pki.h"

#include "collector/net/worker.h"

struct pending;

enum batch_result {
        BATCH_KEPT,
        BATCH_KNOWN,
        BATCH_GAP,
        BATCH_FORK,
        _BATCH_RESULT_MAX,
};

#define COMMIT_BUCKETS 12
struct counters { /* since the start; metrics.c shows them */
        uint64_t batches[_BATCH_RESULT_MAX], records;
        uint64_t commits[COMMIT_BUCKETS + 1]; /* by duration; the last: longer */
        double commit_seconds;
        uint64_t commits_failed;
};

/* What has the store's connection in the thread of turn.c. */
enum turn_work {
        TURN_COMMIT = 1, /* of what the requests of a turn wrote */
        TURN_LOG = 2, /* take up what is new */
        TURN_CHECKPOINT = 4, /* that, and sign */
        TURN_SEEN = 8, /* write when devices were heard of */
        TURN_MINUTE = 16, /* silence, retention */
};

struct turn_wait {
        struct turn_wait *next;
        void (*run)(struct turn_wait *w);
};

struct turn {
        struct worker_job job; /* first: a job is the beginning of a turn */
        struct api *api;
        struct worker *thread;
        unsigned due, doing; /* enum turn_work; doing 0: the connection is the loop's */
        uint64_t since_ms; /* that it has been doing so */
        struct pending *answers; /* that wait for the commit under way */
        struct turn_wait *first, **last; /* for the connection */
        unsigned minutes;
        int r; /* of the commit */
        double seconds; /* that it took */
        uint64_t log_size;
        bool closing;
        bool late; /* what it does is not waited for any more */
};

struct api {
        struct loop *loop;
        struct store *store;
        struct http_server *agents;
        const struct http_server *page;
        struct bundle *bundle;
        struct pki_authority *device_ca;
        const char *server_ca_file, *next_ca_file;
        char *server_ca; /* PEM text of both */
        const struct firm *firm;
        uint64_t grace_s;
        uint64_t retired_ms; /* devices retired before that have no connection any more */
        struct worker *worker, *exporter; /* the latter for exports, which take longer than searches */
        unsigned logins_waiting; /* for the worker */
        struct turn turn;
        struct pending *pending; /* answers that wait for the commit of this turn */
        size_t prepared; /* bytes of batches that wait for the store, reports.c */
        void *seen; /* tsearch(3) tree of struct seen: since the last flush */
        void *paths; /* tsearch(3) tree of clones.c: a device's connections */
        struct limiter logins;
        struct tlog *log; /* NULL: none */
        const char *database; /* as store_open() takes it */
        unsigned exports; /* under way */
        const char *metrics_token;
        const char *receivers[API_RECEIVERS_MAX + 1];
        struct counters counters;
        const char *exemption_key; /* path, or NULL */
        bool signing; /* the worker is at it, or will be */
        bool ending; /* nobody waits for searches and exports any more */
};

static inline struct api *api_of(const struct http_request *req)
{
        return req->userdata;
}

/* ---- reply.c ---- */
/* Takes the reference; NULL (no memory) answers 503. */
void reply_json(struct http_request *req, unsigned status, json_t *body);
void reply_json_with(struct http_request *req, unsigned status, json_t *body, const struct http_header *extra);
/* {"error":text}, escaped. */
void reply_error(struct http_request *req, unsigned status, const char *text);
/* For what the store or a parser returned: 507, 503, 400. */
void reply_errno(struct http_request *req, int r, const struct diag *d);
/* The same as reply_json(), but only after this turn's commit; should that fail, its error. */
void reply_after_commit(struct http_request *req, unsigned status, json_t *body);
/* Takes the text (free()); NULL answers 503. */
void reply_text_after_commit(struct http_request *req, unsigned status, char *text);
/* Sends what waited for a commit, or what came of it. */
void reply_pending(struct pending *list, int r);

/* ---- turn.c ----
 * What keeps the store long runs in a thread, and the loop goes on: only on the loop, and while nothing runs there,
 * may the store be used. Handlers are called so (api.c). */
int turn_init(struct api *a);
/* Waits for the thread; what it does fails if it takes the database longer. */
void turn_done_all(struct api *a);
void turn_end(void *userdata); /* loop_add_after(): commits */
/* Calls fn once the store is free: at once, later, or never, then 503 was answered. */
void turn_enter(struct http_request *req, http_fn fn);
/* After the commit of this turn, then that work (enum turn_work). */
void turn_after(struct http_request *req, unsigned work, http_fn fn);
void turn_wait(struct api *a, struct turn_wait *w); /* the same, of what is no request; takes it */
bool turn_is_idle(const struct api *a);

/* What the worker does for a request, which is held meanwhile and may be gone. Embedded in what the call needs;
 * allocated with calloc(). */
struct later {
        struct worker_job job;
        struct turn_wait wait;
        struct http_request *req; /* NULL: gone */
        struct api *api;
        int r;
        struct diag diag;
        char *text; /* JSON of the answer; taken by who sends it */

        bool needs_no_store; /* reply() */
        struct worker *worker; /* NULL: that of searches */
        json_t *(*run)(struct later *l); /* in the thread: the body, or NULL with l->r set */
        void (*reply)(struct later *l); /* with l->req and l->r 0; NULL: 200 with the text */
        void (*ended)(struct later *l); /* always; NULL: nothing to free but the struct */
};
/* Takes `l`, also when the worker has too much to do: then it answers 503. */
void reply_later(struct http_request *req, struct later *l);
void reply_text(struct http_request *req, unsigned status, char *text, const struct http_header *extra);
/* The body as a JSON object, or NULL after answering 400. */
json_t *request_json(struct http_request *req);
#define CONTENT_JSON "application/json"
bool request_content_is(const struct http_request *req, const char *type);

/* ---- api.c ---- */
/* Who is retired loses the connections that are open, also one that waits for a policy. */
void retired_close(struct api *a);
/* ---- enrol.c ---- */
struct enrolment { /* texts of the request's body */
        const char *token, *csr, *name; /* token NULL: none */
        uint8_t key[DEVICE_KEY_SIZE];
        char id[DEVICE_ID_MAX];
};
/* The device's key has signed the request. NULL, or what is wrong. */
const char *enrolment_parse(json_t *o, struct enrolment *ret);
void agents_enrol(struct http_request *req);
void agents_renew(struct http_request *req);
/* Reads what agents are to trust; the old text stays where that is not to be had. */
int authorities_read(struct api *a, struct diag *reterr);
/* ---- agents.c ---- */
void agents_policy(struct http_request *req);
void agents_status(struct http_request *req);
/* The device of this id, or false after answering 403. */
bool device_of(struct http_request *req, const char *id, struct store_device *ret);
/* The device behind the client certificate, noted as seen, or false after answering 403. */
bool agents_device(struct http_request *req, struct store_device *ret);
void agents_flush_seen(struct api *a); /* into the open transaction */
/* ---- reports.c ---- */
/* While a commit has the store: what needs none. Answers nothing. */
void reports_prepare(struct http_request *req);
void agents_reports(struct http_request *req);
/* ---- session.c ---- */
void page_login(struct http_request *req);
void page_logout(struct http_request *req);
void page_session(struct http_request *req);
/* For what an admin changes: right, origin and body's type; false after answering 403 or 401. */
bool page_may_change(struct http_request *req, struct store_session *ret);
/* False after answering 401. */
bool page_authorised(struct http_request *req, struct store_session *ret);
/* ---- violations.c, auditors.c ---- */
void page_violations(struct http_request *req);
void page_violation(struct http_request *req);
void page_devices(struct http_request *req);
void page_facets(struct http_request *req);
/* By the worker, on what has been committed; the caller knows who asks. */
void reply_search(struct http_request *req, json_t *(*run)(struct later *l));
json_t *row_to_json(const struct store_row *row);
/* ---- exemptions.c, grant.c, coverage.c, rollout.c ---- */
void page_exemptions(struct http_request *req);
void page_request_answer(struct http_request *req);
void page_grant(struct http_request *req);
void page_grant_text(struct http_request *req);
void page_grant_signed(struct http_request *req);
void page_coverage(struct http_request *req);
void page_rollout(struct http_request *req);
/* "device" and "seq" of a request for an exemption; 404, 400. NULL: there is none. */
int request_find(struct api *a, const json_t *o, struct store_answer *ret, struct diag *reterr);
/* ---- exports.c ---- */
void page_export(struct http_request *req);
/* ---- log.c ---- */
void log_static(struct http_request *req); /* /log/… */
void log_cosign(struct http_request *req);
/* Takes up what is new; `now`: with a checkpoint. After a commit. */
void log_tick(struct api *a, bool now);
json_t *log_checkpoint_json(struct api *a); /* the note, or NULL */
int log_echo_check(struct api *a, json_t *seen, struct merkle_head *ret, const char **ret_log);
/* ---- integrity.c ---- */
void page_integrity(struct http_request *req);
json_t *log_proof_json(struct api *a, int64_t device, uint64_t seq);
/* ---- findings.c ---- */
enum finding {
        FINDING_CHAIN_GAP,
        FINDING_CHAIN_FORK,
        FINDING_LOG_FORK,
        FINDING_SILENT,
        FINDING_CLONE,
        _FINDING_MAX,
};
const char *finding_kind(enum finding which);
/* In the transaction of this turn. */
void finding_add(struct api *a, enum finding which, const struct store_device *d, uint64_t place, const char *text);
void findings_silence(struct api *a);
/* ---- metrics.c ---- */
void page_metrics(struct http_request *req);
void commit_count(struct counters *c, double seconds, int r);
/* ---- clones.c: each notes what it is shown, and adds a finding ---- */
void clone_check_certificate(struct http_request *req, const struct store_device *d); /* a superseded one */
void clone_check_boot(struct api *a, const struct store_device *d, const char *boot);
void clone_check_connection(struct http_request *req, const struct store_device *d);
/* ---- assets.c ---- */
void page_asset(struct http_request *req);
