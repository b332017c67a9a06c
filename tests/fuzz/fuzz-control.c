/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any user may send any bytes: a request is bounded and known, or refused with a sentence. */
#include <stdint.h>
#include <string.h>
#include "agent/control/request.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char error[CONTROL_ERROR_MAX] = "";
        struct control_request q;

        if (control_request_parse((const char *)data, size, &q, error) < 0) {
                if (!error[0] || strlen(error) >= sizeof(error))
                        abort();
                return 0;
        }
        if (size > CONTROL_LINE_MAX || q.verb >= _CONTROL_VERB_MAX || strlen(q.subject) > CONTROL_SUBJECT_MAX ||
            strlen(q.user) > CONTROL_USER_MAX || (q.verb == CONTROL_WHY && !q.subject[0]))
                abort();
        if (q.verb == CONTROL_RELOAD && control_request_allowed(&q, 1000, error) >= 0)
                abort();
        return 0;
}
