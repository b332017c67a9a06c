/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A firm's own authority (RFC 5280) vouches for a device's name, in place of a token. Its files are read for each
 * enrolment, so that a new revocation list counts at once. */
#include <openssl/ssl.h>
#include "base/diag.h"
#include "collector/net/tls.h"

struct firm {
        char *ca; /* PEM file of one or more trusted authorities; NULL: there is none */
        char *crl; /* PEM file of revocation lists; NULL: revocation is not asked */
        bool by_dns; /* the device's name is the first dNSName, else the subject's CN */
        char *domain; /* "corp.example": what the name must end in, and is taken off it; NULL: the name is as it is */
        char *eku; /* an extended key usage that is demanded, dotted decimal; NULL: clientAuth */
};
void firm_done(struct firm *f);
/* The certificate that this client has shown, and proved to have the key of. -EKEYREJECTED with *reterr. */
int firm_check(const struct firm *f, SSL *ssl, char ret_name[static TLS_NAME_MAX], struct diag *reterr);
