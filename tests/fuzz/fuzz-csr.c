/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A certificate request from whoever has a token: signed under the name that the collector gives, or refused with a reason. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "collector/net/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pki_authority *authority(void)
{
        char dir[] = "/tmp/fuzz-csr-XXXXXX", name[2][48], *text[2]; /* key, certificate */
        struct pki_authority *a = NULL;

        if (!mkdtemp(dir) || pki_authority_new("fuzz", &text[0], &text[1]) < 0)
                abort();
        for (int i = 0; i < 2; i++) {
                snprintf(name[i], sizeof(name[i]), "%s/%d", dir, i);
                if (file_write_atomic(name[i], text[i], strlen(text[i]), 0600) < 0)
                        abort();
                free(text[i]);
        }
        if (pki_authority_load(name[1], name[0], &a, NULL) < 0 || remove(name[0]) < 0 || remove(name[1]) < 0 ||
            remove(dir) < 0)
                abort();
        return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct pki_authority *a;
        _cleanup_free_ char *text = strndup((const char *)data, size), *certificate = NULL;
        struct diag d = {0};
        uint8_t hash[32];
        int r = text ? pki_sign_request(a ?: (a = authority()), text, "d-fuzz", &certificate, hash, &d) : 0;

        if (r < 0 ? certificate || (r == -EBADMSG && !*d.text) : text && !strstr(certificate, "BEGIN CERTIFICATE"))
                abort();
        return 0;
}
