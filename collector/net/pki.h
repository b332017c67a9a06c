/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The collector's own small PKI (OpenSSL, P-256): one authority for devices, one for the
 * server. All texts are PEM, free(). */
#include <stddef.h>
#include <stdint.h>
#include "base/diag.h"

#define PKI_CSR_MAX   8192
#define PKI_NAMES_MAX 16

#define PKI_LIFETIME_S (365u * 86400)

struct pki_authority;

/* A new key and a self-signed CA certificate. */
int pki_authority_new(const char *common_name, char **ret_key, char **ret_certificate);
/* -EBADMSG a file does not hold what it should; *reterr names it. */
int pki_authority_load(const char *certificate_file, const char *key_file, struct pki_authority **ret,
                       struct diag *reterr);
void pki_authority_free(struct pki_authority *a);
/* Of certificates that it signs from now on; default PKI_LIFETIME_S. */
void pki_authority_set_lifetime(struct pki_authority *a, uint64_t seconds);

/* A new key and a server certificate for host names and addresses (NULL-terminated list). */
int pki_server_new(const struct pki_authority *a, const char *const *names, char **ret_key, char **ret_certificate,
                   struct diag *reterr);
/* The names of a server certificate (PEM text), up to a NULL; free() what is in it. -EBADMSG. */
int pki_server_names(const char *certificate, char *ret[static PKI_NAMES_MAX + 1]);
/* When a PEM file's first certificate ends, since 1970. -EBADMSG. */
int pki_certificate_end(const char *file, uint64_t *ret_s);
/* Client certificate with the common name `name`, whatever else the request asks for.
 * -EBADMSG not a request, not signed by its own key, or neither P-256 nor Ed25519.
 * ret_hash: SHA-256 of the certificate (DER). */
int pki_sign_request(const struct pki_authority *a, const char *csr, const char *name, char **ret_certificate,
                     uint8_t ret_hash[static 32], struct diag *reterr);
