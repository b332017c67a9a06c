/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A firm's authorities, its revocation lists and a client's certificate, in PEM, a NUL between them: a name that fits, or a reason. */
#include <errno.h>
#include <openssl/pem.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "collector/net/firm.h"
#include "folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *one = memchr(data, 0, size), *end = data + size;
        const uint8_t *two = one ? memchr(one + 1, 0, (size_t)(end - one - 1)) : NULL;
        char ca[64], crl[64], name[TLS_NAME_MAX] = "";
        struct firm f = {.ca = ca, .crl = crl, .by_dns = size & 1, .domain = size & 2 ? (char *)"corp" : NULL};
        struct diag d = {0};

        folder_make();
        if (!two || file_write_atomic(folder_path("ca", false, ca), data, (size_t)(one - data), 0600) < 0 ||
            file_write_atomic(folder_path("crl", false, crl), one + 1, (size_t)(two - one - 1), 0600) < 0)
                return 0;
        BIO *b = BIO_new_mem_buf(two + 1, (int)(end - two - 1));
        X509 *c = PEM_read_bio_X509(b, NULL, NULL, NULL);
        int r = c ? firm_check(&f, &(struct firm_shown){c, NULL}, name, &d) : -EBADMSG;

        if (r == 0 ? !*name : *name || (c && !*d.text))
                abort();
        X509_free(c);
        BIO_free(b);
        return 0;
}
