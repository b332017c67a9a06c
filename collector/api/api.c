/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which call is where, and what ties the calls together. */
#include "collector/api/api.h"
#include <errno.h>
#include <search.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "collector/api/private.h"

#define HEADERS_MS     5000
#define MINUTE_MS      60000
#define OVERLAP_MS     10000 /* between the clocks of who retires a device and of this collector */
#define GRANT_BODY_MAX (64u << 10) /* a file of EXEMPTION_MAX_BYTES with its signatures, escaped */

static const struct http_route agents_routes[] = {
        {"POST", "/v1/enrol", HTTP_PEER_ANY, 16 << 10, agents_enrol},
        {"POST", "/v1/renew", HTTP_PEER_EXPIRED, 16 << 10, agents_renew},
        {"GET", "/v1/policy", HTTP_PEER_GOOD, 0, agents_policy},
        {"POST", "/v1/reports", HTTP_PEER_GOOD, BATCH_MAX_BYTES, agents_reports},
        {"POST", "/v1/status", HTTP_PEER_GOOD, 64 << 10, agents_status},
        {0},
};

static const struct http_route page_routes[] = {
        {"POST", "/api/v1/login", HTTP_PEER_ANY, 4 << 10, page_login},
        {"POST", "/api/v1/logout", HTTP_PEER_ANY, 4 << 10, page_logout},
        {"GET", "/api/v1/session", HTTP_PEER_ANY, 0, page_session},
        {"GET", "/api/v1/violations", HTTP_PEER_ANY, 0, page_violations},
        {"GET", "/api/v1/violations/", HTTP_PEER_ANY, 0, page_violation},
        {"GET", "/api/v1/devices", HTTP_PEER_ANY, 0, page_devices},
        {"GET", "/api/v1/facets", HTTP_PEER_ANY, 0, page_facets},
        {"GET", "/api/v1/integrity", HTTP_PEER_ANY, 0, page_integrity},
        {"GET", "/api/v1/export", HTTP_PEER_ANY, 0, page_export},
        {"GET", "/api/v1/coverage/", HTTP_PEER_ANY, 0, page_coverage},
        {"GET", "/api/v1/rollout", HTTP_PEER_ANY, 0, page_rollout},
        {"GET", "/api/v1/exemptions", HTTP_PEER_ANY, 0, page_exemptions},
        {"POST", "/api/v1/exemptions", HTTP_PEER_ANY, GRANT_BODY_MAX, page_grant},
        {"POST", "/api/v1/exemptions/text", HTTP_PEER_ANY, GRANT_BODY_MAX, page_grant_text},
        {"POST", "/api/v1/exemptions/signed", HTTP_PEER_ANY, GRANT_BODY_MAX, page_grant_signed},
        {"POST", "/api/v1/requests", HTTP_PEER_ANY, 4 << 10, page_request_answer},
        {"POST", "/log/cosignature", HTTP_PEER_ANY, NOTE_MAX_BYTES, log_cosign},
        {"GET", "/log/", HTTP_PEER_ANY, 0, log_static},
        {"GET", "/metrics", HTTP_PEER_ANY, 0, page_metrics},
        {"GET", "/", HTTP_PEER_ANY, 0, page_asset},
        {0},
};

static const struct http_header page_headers[] = {
        {"content-security-policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
         "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
         "require-trusted-types-for 'script'; trusted-types 'none'"},
        {"cross-origin-opener-policy", "same-origin"},
        {"cross-origin-resource-policy", "same-origin"},
        {"referrer-policy", "no-referrer"},
        {"strict-transport-security", "max-age=31536000"},
        {"x-content-type-options", "nosniff"},
        {0},
};

static void api_enter(struct http_request *req)
{
        if (req->route->handle == page_asset || req->route->handle == page_metrics) {
                http_handle(req);
                return;
        }
        if (req->route->handle == agents_reports)
                http_run(req, reports_prepare);
        turn_enter(req, http_handle);
}

void api_agents_config(struct api *a, struct http_config *ret)
{
        *ret = (struct http_config){
                .name = "agents",
                .routes = agents_routes,
                .enter = api_enter,
                .userdata = a,
                .connections_max = 12000,
                .strangers_max = 3000,
                .streams_max = 8,
                .headers_ms = HEADERS_MS,
                .idle_ms = (BUNDLE_WAIT_MAX + 30) * 1000,
                .anonymous_idle_ms = 10000,
        };
}

void api_page_config(struct api *a, struct http_config *ret)
{
        *ret = (struct http_config){
                .name = "page",
                .routes = page_routes,
                .headers = page_headers,
                .enter = api_enter,
                .userdata = a,
                .connections_max = 1000,
                .strangers_max = 1000,
                .streams_max = 100,
                .headers_ms = HEADERS_MS,
                .idle_ms = 120000,
        };
}

static int device_retired(const char *id, void *userdata)
{
        http_server_close_peer(userdata, id);
        return 0;
}

void retired_close(struct api *a)
{
        uint64_t now_ms = clock_utc_ms();

        if (a->agents && store_retired_since(a->store, a->retired_ms - OVERLAP_MS, device_retired, a->agents) == 0)
                a->retired_ms = now_ms;
}

static void every_second(void *userdata)
{
        ((struct api *)userdata)->turn.due |= TURN_LOG;
}

static void every_minute(void *userdata)
{
        struct api *a = userdata;

        (void)authorities_read(a, NULL);
        a->turn.due |= TURN_SEEN | TURN_MINUTE;
}

int api_new(const struct api_options *o, struct api **ret, struct diag *reterr)
{
        struct api *a = calloc(1, sizeof(*a));
        int r;

        if (!a)
                return -ENOMEM;
        json_object_seed(0); /* before there are threads */
        a->loop = o->loop;
        a->store = o->store;
        a->database = o->database;
        a->server_ca_file = o->server_ca;
        a->next_ca_file = o->next_ca;
        a->firm = o->firm;
        a->grace_s = o->grace_s;
        a->retired_ms = clock_utc_ms();
        a->metrics_token = o->metrics_token;
        memcpy(a->receivers, o->receivers, sizeof(a->receivers));
        a->exemption_key = o->exemption_key;
        db_stop_on(store_reader(a->store), &a->ending);
        limiter_init(&a->logins);
        r = pki_authority_load(o->device_ca, o->device_ca_key, &a->device_ca, reterr);
        if (r == 0)
                r = authorities_read(a, reterr);
        if (r == 0 && o->lifetime_s)
                pki_authority_set_lifetime(a->device_ca, o->lifetime_s);
        if (r == 0)
                r = bundle_open(o->store, &a->bundle, reterr);
        if (r == 0 && o->log_key)
                r = tlog_open(o->store, o->log_key, o->log_origin, &a->log, reterr);
        if (r == 0)
                r = loop_add_timer(o->loop, TLOG_TICK_MS, every_second, a);
        if (r == 0)
                r = worker_new(o->loop, &a->worker);
        if (r == 0)
                r = worker_new(o->loop, &a->exporter);
        if (r == 0)
                r = turn_init(a);
        if (r == 0)
                r = loop_add_after(o->loop, turn_end, a);
        if (r == 0)
                r = loop_add_timer(o->loop, MINUTE_MS, every_minute, a);
        if (r < 0) {
                api_free(a);
                return r;
        }
        *ret = a;
        return 0;
}

void api_set_servers(struct api *a, struct http_server *agents, const struct http_server *page)
{
        a->agents = agents;
        a->page = page;
}

void api_stop(struct api *a)
{
        bundle_stop(a->bundle);
        a->turn.due |= TURN_SEEN | TURN_CHECKPOINT;
}

bool api_is_idle(const struct api *a)
{
        return turn_is_idle(a);
}

void api_free(struct api *a)
{
        if (!a)
                return;
        turn_done_all(a);
        __atomic_store_n(&a->ending, true, __ATOMIC_RELAXED);
        worker_free(a->worker);
        worker_free(a->exporter);
        reply_pending(a->pending, -ECANCELED);
        if (a->store) {
                agents_flush_seen(a);
                if (store_commit(a->store) == 0)
                        log_tick(a, true);
        }
        if (a->store) {
                db_stop_on(store_reader(a->store), NULL);
                store_may_connect(a->store, true);
        }
        tlog_free(a->log);
        bundle_free(a->bundle);
        pki_authority_free(a->device_ca);
        tdestroy(a->paths, free);
        free(a->server_ca);
        free(a);
}
