/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The long poll for policy and catalogue. Only the size is checked here: root trusts nothing but
 * the signatures. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#define POLICY_WAIT_S    300
#define POLICY_TIMEOUT_S (POLICY_WAIT_S + 60L)
#define POLICY_QUICK_MS  5000 /* a 304 sooner than this is no long poll */
#define POLICY_PAUSE_MS  10000

static int store_file(const struct uplink_config *c, const char *name, const char *text, size_t size)
{
        _cleanup_free_ char *path = format_new("%s/incoming/%s", c->state, name);

        return path ? file_write_atomic(path, text, size, 0644) : -ENOMEM;
}

static int store_pair(const struct uplink_config *c, json_t *pair, const char *name, size_t max)
{
        _cleanup_free_ char *file = format_new("%s.ini", name), *signature = format_new("%s.ini.minisig", name);
        const char *text, *minisig;
        size_t size, minisig_size;
        int r;

        if (!pair)
                return 0;
        if (!file || !signature)
                return -ENOMEM;
        if (json_unpack(pair, "{s:s%, s:s%}", "file", &text, &size, "minisig", &minisig, &minisig_size) < 0)
                return -EBADMSG;
        if (size > max || minisig_size > UPLINK_MINISIG_MAX)
                return -EFBIG;
        r = store_file(c, signature, minisig, minisig_size);
        return r < 0 ? r : store_file(c, file, text, size);
}

int policy_store(const struct uplink_config *c, const char *json, size_t size)
{
        static const struct uplink_list links = {"links", UPLINK_LINKS_MAX, UPLINK_POLICY_MAX},
                                        exemptions = {"exemptions", UPLINK_EXEMPTIONS, UPLINK_EXEMPTION_MAX};
        json_auto_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, NULL);
        int r;

        if (!json_is_object(root))
                return -EBADMSG;
        r = list_store(c, &links, json_object_get(root, "links"));
        if (r >= 0)
                r = list_store(c, &exemptions, json_object_get(root, "exemptions"));
        if (r >= 0)
                r = store_pair(c, json_object_get(root, "catalogue"), "catalogue", UPLINK_CATALOGUE_MAX);
        return r < 0 ? r : store_pair(c, json_object_get(root, "policy"), "policy", UPLINK_POLICY_MAX);
}

int policy_start(struct uplink *u, struct job *j)
{
        _cleanup_free_ char *path = format_new("/v1/policy?wait=%d", POLICY_WAIT_S);

        if (!path)
                return -ENOMEM;
        return job_send(u, j,
                        &(struct request){.path = path,
                                          .etag = u->etag[0] ? u->etag : NULL,
                                          .timeout_s = POLICY_TIMEOUT_S,
                                          .answer_max = UPLINK_ANSWER_MAX});
}

static void new_policy(struct uplink *u, struct job *j)
{
        char reason[UPLINK_ERROR_MAX];
        int r;

        r = policy_store(&u->config, (const char *)j->response.body.data, j->response.body.size);
        if (r < 0) {
                snprintf(reason, sizeof(reason), "cannot take what the collector sent: %s", strerror(-r));
                job_failed(j, reason);
                return;
        }
        log_line(LOG_INFO, "what the collector sent is in incoming");
        strcpy(u->etag, j->response.etag);
        job_succeeded(j, u->etag[0] ? 0 : POLICY_PAUSE_MS);
}

void policy_done(struct uplink *u, struct job *j, CURLcode code)
{
        char reason[UPLINK_ERROR_MAX];

        if (code == CURLE_OK && j->response.status == 200)
                new_policy(u, j);
        else if (code == CURLE_OK && j->response.status == 304)
                job_succeeded(j, clock_boottime_ms() - j->started_ms < POLICY_QUICK_MS ? POLICY_PAUSE_MS : 0);
        else
                job_failed(j, response_error(&j->response, code, reason));
}
