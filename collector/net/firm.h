/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A firm's own authority (RFC 5280) vouches for a device's name, in place of a token. Its files are read for each
 * enrolment, so that a new revocation list counts at once. */
#include <openssl/x509.h>
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
struct firm_shown { /* by a client, which has proved to have the key; borrowed */
        X509 *certificate; /* NULL: none */
        STACK_OF(X509) * chain;
};
/* -EKEYREJECTED with *reterr; -EBADMSG the firm's own files are no use. */
int firm_check(const struct firm *f, const struct firm_shown *shown, char ret_name[static TLS_NAME_MAX],
               struct diag *reterr);
