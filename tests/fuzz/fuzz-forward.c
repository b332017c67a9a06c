/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whatever a receiver answers: judged, and never more refused than it may have got. */
#include <errno.h>
#include <stdlib.h>
#include "collector/forward/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const long statuses[] = {200, 400, 413, 429};
        char problem[FORWARD_PROBLEM_MAX];
        struct form_answer a;
        unsigned refused;
        int r;

        if (size < 1)
                return 0;
        a = (struct form_answer){data[0] % 3, statuses[data[0] / 3 % 4], (const char *)data + 1, size - 1};
        r = form_judge(&a, &refused, problem);
        if ((r != 0 && r != -EAGAIN && r != -EBADMSG) || refused > size)
                abort();
        return 0;
}
