/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a collector answers to each request of the uplink, first its status: no certificate that it makes up is kept. */
#include <string.h>
#include <unistd.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static void (*const done[])(struct uplink *, struct job *, CURLcode) = {renew_done, status_done, reports_done,
                                                                                policy_done};
        static const long statuses[] = {200, 304, 400, 409, 413, 503};
        static char *key, *csr;
        char path[64];

        log_set_max_level(LOG_EMERG);
        if (folder_make() && (!folder_path("uplink", true, path) || csr_new("d-fuzz", &key, &csr) < 0))
                abort();
        folder_path("uplink/cert.pem", false, path);
        for (size_t i = 0; size > 0 && i < ELEMENTSOF(done); i++) {
                struct uplink u = {.config.state = folder,
                                   .own = {.folder = "", .ack = "ack", .device_id = "d-fuzz"},
                                   .renewal_key = strdup(key)};
                struct job j = {.name = "fuzz",
                                .source = &u.own,
                                .response.status = statuses[data[0] % ELEMENTSOF(statuses)]};

                buf_add(&j.response.body, data + 1, size - 1);
                done[i](&u, &j, CURLE_OK);
                if (u.own.acknowledged > INT64_MAX || !text_is_utf8(j.reason, strlen(j.reason)) ||
                    access(path, F_OK) == 0)
                        abort();
                response_done(&j.response);
                free(u.renewal_key);
        }
        return 0;
}
