/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the handler is told, written out again, is told again word for word. */
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/ini.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static int write_out(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                     struct diag *reterr)
{
        if (name)
                buf_addf(userdata, "%s=%s\n", name, value);
        else
                buf_addf(userdata, "[%s]\n", section);
        return 0;
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf once = {0}, twice = {0};
        _cleanup_free_ char *value = NULL;

        if (ini_salvage((const char *)data, size, "a", &value) >= 0 && strlen(value) > INI_LINE_MAX)
                abort();
        if (ini_parse_text((const char *)data, size, "f", write_out, &once, NULL) < 0)
                return 0;
        if (ini_parse_text((char *)once.data, once.size, "f", write_out, &twice, NULL) < 0 ||
            once.size != twice.size || (once.size > 0 && memcmp(once.data, twice.data, once.size) != 0))
                abort();
        return 0;
}
