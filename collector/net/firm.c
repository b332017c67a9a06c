/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/firm.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

#define CLIENT_AUTH "1.3.6.1.5.5.7.3.2" /* RFC 5280 4.2.1.12 */
#define OID_MAX     128

DEFINE_CLEANUP(X509_STORE, X509_STORE_free)
DEFINE_CLEANUP(X509_STORE_CTX, X509_STORE_CTX_free)

void firm_done(struct firm *f)
{
        free(f->ca);
        free(f->crl);
        free(f->domain);
        free(f->eku);
        *f = (struct firm){0};
}

static int file_add(X509_STORE *store, const char *file, bool crl, struct diag *reterr)
{
        X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
        int n = !lookup ? 0
                : crl   ? X509_load_crl_file(lookup, file, X509_FILETYPE_PEM)
                        : X509_load_cert_file(lookup, file, X509_FILETYPE_PEM);

        ERR_clear_error();
        return n > 0 ? 0
                     : diag_set(reterr, -EBADMSG, file, 0, "no usable %s", crl ? "revocation list" : "certificate");
}

static int store_new(const struct firm *f, X509_STORE **ret, struct diag *reterr)
{
        _cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
        int r = store ? file_add(store, f->ca, false, reterr) : -ENOMEM;

        if (r == 0 && f->crl) {
                X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
                r = file_add(store, f->crl, true, reterr);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(store);
        return 0;
}

static int chain_check(const struct firm *f, const struct firm_shown *shown, struct diag *reterr)
{
        _cleanup_(X509_STORE_freep) X509_STORE *store = NULL;
        _cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        int r = store_new(f, &store, reterr);

        if (r < 0)
                return r;
        if (!ctx || X509_STORE_CTX_init(ctx, store, shown->certificate, shown->chain) != 1)
                return -ENOMEM;
        r = X509_verify_cert(ctx) == 1 ? 0
                                       : diag_set(reterr, -EKEYREJECTED, NULL, 0,
                                                  "the firm's authority does not vouch for the certificate: %s",
                                                  X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
        ERR_clear_error();
        return r;
}

static int eku_check(const struct firm *f, X509 *c, struct diag *reterr)
{
        EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(c, NID_ext_key_usage, NULL, NULL);
        const char *want = f->eku ?: CLIENT_AUTH;
        char oid[OID_MAX];
        bool found = false;

        for (int i = 0; usages && i < sk_ASN1_OBJECT_num(usages); i++)
                if (OBJ_obj2txt(oid, sizeof(oid), sk_ASN1_OBJECT_value(usages, i), 1) > 0)
                        found |= strcmp(oid, want) == 0;
        EXTENDED_KEY_USAGE_free(usages);
        return found ? 0
                     : diag_set(reterr, -EKEYREJECTED, NULL, 0, "the certificate lacks the extended key usage %s",
                                want);
}

/* A name with a NUL in it, or too long, is none. */
static void dns_name(X509 *c, char ret[static TLS_NAME_MAX])
{
        GENERAL_NAMES *names = X509_get_ext_d2i(c, NID_subject_alt_name, NULL, NULL);

        *ret = 0;
        for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && !*ret; i++) {
                const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
                int size = name->type == GEN_DNS ? ASN1_STRING_length(name->d.dNSName) : 0;

                if (size <= 0 || size >= TLS_NAME_MAX)
                        continue;
                memcpy(ret, ASN1_STRING_get0_data(name->d.dNSName), (size_t)size);
                ret[size] = 0;
                if (strlen(ret) != (size_t)size)
                        *ret = 0;
        }
        GENERAL_NAMES_free(names);
}

static void common_name(X509 *c, char ret[static TLS_NAME_MAX])
{
        X509_NAME *subject = X509_get_subject_name(c);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        unsigned char *utf8 = NULL;
        int size =
                at < 0 ? -1 : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));

        *ret = 0;
        if (size > 0 && size < TLS_NAME_MAX && strlen((char *)utf8) == (size_t)size)
                memcpy(ret, utf8, (size_t)size + 1);
        OPENSSL_free(utf8);
}

/* "ws-1.corp.example" is "ws-1" of "corp.example". RFC 4343: names are compared without case. */
static int domain_cut(const struct firm *f, char name[static TLS_NAME_MAX], struct diag *reterr)
{
        size_t n = strlen(name), domain_size = f->domain ? strlen(f->domain) : 0;

        if (n == 0)
                return diag_set(reterr, -EKEYREJECTED, NULL, 0, "the certificate has no %s",
                                f->by_dns ? "dNSName" : "common name");
        if (!f->domain)
                return 0;
        if (n < domain_size + 2 || name[n - domain_size - 1] != '.' ||
            strcasecmp(name + n - domain_size, f->domain) != 0)
                return diag_set(reterr, -EKEYREJECTED, NULL, 0, "the certificate's name is not below %s", f->domain);
        name[n - domain_size - 1] = 0;
        return 0;
}

int firm_check(const struct firm *f, const struct firm_shown *shown, char ret_name[static TLS_NAME_MAX],
               struct diag *reterr)
{
        X509 *c = shown->certificate;
        char name[TLS_NAME_MAX];
        int r;

        if (!f->ca)
                return diag_set(reterr, -EKEYREJECTED, NULL, 0,
                                "a token is needed: no firm's authority is known here");
        if (!c)
                return diag_set(reterr, -EKEYREJECTED, NULL, 0,
                                "a token is needed, or a certificate of the firm's authority");
        r = chain_check(f, shown, reterr);
        if (r == 0)
                r = eku_check(f, c, reterr);
        if (r < 0)
                return r;
        if (f->by_dns)
                dns_name(c, name);
        else
                common_name(c, name);
        r = domain_cut(f, name, reterr);
        if (r < 0)
                return r;
        strcpy(ret_name, name);
        return 0;
}
