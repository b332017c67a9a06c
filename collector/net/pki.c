/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/pki.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "collector/net/tls.h"

#define CA_S       (7300ull * DAY_S)
#define SERVER_S   (825ull * DAY_S) /* longer ones are refused by browsers */
#define DAY_S      86400
#define BACKDATE_S DAY_S /* for collectors whose clock is late; less of a short life */

DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP(X509, X509_free)
DEFINE_CLEANUP(X509_REQ, X509_REQ_free)
DEFINE_CLEANUP(BIO, BIO_free_all)

struct pki_authority {
        X509 *certificate;
        EVP_PKEY *key;
        uint64_t lifetime_s;
};

void pki_authority_free(struct pki_authority *a)
{
        if (!a)
                return;
        X509_free(a->certificate);
        EVP_PKEY_free(a->key);
        free(a);
}

void pki_authority_set_lifetime(struct pki_authority *a, uint64_t seconds)
{
        a->lifetime_s = seconds;
}

static int pem_error(struct diag *reterr, const char *file, const char *what)
{
        char text[256];

        return diag_set(reterr, -EBADMSG, file, 0, "%s: %s", what, tls_error(text, sizeof(text)));
}

static char *bio_take(BIO *b)
{
        char *data;
        long size = BIO_get_mem_data(b, &data);

        return size > 0 ? strndup(data, (size_t)size) : NULL;
}

static char *certificate_text(X509 *c)
{
        _cleanup_(BIO_free_allp) BIO *b = BIO_new(BIO_s_mem());

        return b && PEM_write_bio_X509(b, c) == 1 ? bio_take(b) : NULL;
}

static char *key_text(EVP_PKEY *key)
{
        _cleanup_(BIO_free_allp) BIO *b = BIO_new(BIO_s_mem());

        return b && PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1 ? bio_take(b) : NULL;
}

static int extension_add(X509 *c, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX ctx;
        X509_EXTENSION *e;
        int ok;

        X509V3_set_ctx(&ctx, issuer, c, NULL, NULL, 0);
        e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        ok = e && X509_add_ext(c, e, -1) == 1;
        X509_EXTENSION_free(e);
        return ok ? 0 : -EBADMSG;
}

/* RFC 5280 4.1.2.2: at most 20 bytes and positive */
static int serial_set(X509 *c)
{
        uint8_t bytes[16];
        BIGNUM *n = NULL;
        int ok = 0;

        if (RAND_bytes(bytes, sizeof(bytes)) == 1) {
                bytes[0] &= 0x7f;
                n = BN_bin2bn(bytes, sizeof(bytes), NULL);
                ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c));
        }
        BN_free(n);
        return ok ? 0 : -EIO;
}

/* A version 3 certificate with everything but extensions and signature. */
static int certificate_new(const char *name, X509 *issuer, EVP_PKEY *key, uint64_t life_s, X509 **ret)
{
        _cleanup_(X509_freep) X509 *c = X509_new();
        long backdate_s = life_s / 10 < BACKDATE_S ? (long)life_s / 10 : BACKDATE_S;
        X509_NAME *subject;

        if (!c || X509_set_version(c, X509_VERSION_3) != 1 || serial_set(c) < 0)
                return -ENOMEM;
        subject = X509_get_subject_name(c);
        if (X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)name, -1, -1,
                                       0) != 1 ||
            X509_set_issuer_name(c, issuer ? X509_get_subject_name(issuer) : subject) != 1 ||
            !X509_gmtime_adj(X509_getm_notBefore(c), -backdate_s) ||
            !X509_gmtime_adj(X509_getm_notAfter(c), (long)life_s) || X509_set_pubkey(c, key) != 1)
                return -ENOMEM;
        *ret = TAKE_PTR(c);
        return 0;
}

static int certificate_sign(X509 *c, X509 *issuer, EVP_PKEY *key)
{
        if (extension_add(c, issuer, NID_subject_key_identifier, "hash") < 0 ||
            extension_add(c, issuer, NID_authority_key_identifier, "keyid") < 0 ||
            X509_sign(c, key, EVP_sha256()) == 0)
                return -EIO;
        return 0;
}

int pki_authority_new(const char *common_name, char **ret_key, char **ret_certificate)
{
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
        _cleanup_(X509_freep) X509 *c = NULL;
        _cleanup_free_ char *certificate = NULL, *secret = NULL;

        if (!key || certificate_new(common_name, NULL, key, CA_S, &c) < 0 ||
            extension_add(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") < 0 ||
            extension_add(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 || certificate_sign(c, c, key) < 0)
                return -EIO;
        certificate = certificate_text(c);
        secret = key_text(key);
        if (!certificate || !secret)
                return -ENOMEM;
        *ret_certificate = TAKE_PTR(certificate);
        *ret_key = TAKE_PTR(secret);
        return 0;
}

int pki_authority_load(const char *certificate_file, const char *key_file, struct pki_authority **ret,
                       struct diag *reterr)
{
        _cleanup_(BIO_free_allp) BIO *certificate = BIO_new_file(certificate_file, "r");
        _cleanup_(BIO_free_allp) BIO *key = NULL;
        struct pki_authority *a;

        if (!certificate)
                return pem_error(reterr, certificate_file, "cannot be read");
        key = BIO_new_file(key_file, "r");
        if (!key)
                return pem_error(reterr, key_file, "cannot be read");
        a = calloc(1, sizeof(*a));
        if (!a)
                return -ENOMEM;
        a->lifetime_s = PKI_LIFETIME_S;
        a->certificate = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
        a->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
        if (!a->certificate || !a->key || X509_check_private_key(a->certificate, a->key) != 1) {
                const char *file = a->certificate ? key_file : certificate_file;

                pki_authority_free(a);
                return pem_error(reterr, file, "not a certificate and its key");
        }
        *ret = a;
        return 0;
}

static bool is_address(const char *name)
{
        uint8_t bytes[16];

        return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int names_add(X509 *c, X509 *issuer, const char *const *names, struct diag *reterr)
{
        _cleanup_buf_ struct buf san = {0};

        for (size_t i = 0; names[i]; i++) {
                if (i == PKI_NAMES_MAX)
                        return diag_set(reterr, -E2BIG, NULL, 0, "more than %d names", PKI_NAMES_MAX);
                /* no comma or colon may reach OpenSSL's own little language */
                if (!is_address(names[i]) &&
                    (!*names[i] ||
                     strspn(names[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*") !=
                             strlen(names[i])))
                        return diag_set(reterr, -EINVAL, NULL, 0, "'%s' is not a host name or address", names[i]);
                buf_addf(&san, "%s%s:%s", i > 0 ? "," : "", is_address(names[i]) ? "IP" : "DNS", names[i]);
        }
        if (buf_error(&san) < 0 || san.size == 0)
                return -EINVAL;
        return extension_add(c, issuer, NID_subject_alt_name, (const char *)san.data);
}

int pki_server_new(const struct pki_authority *a, const char *const *names, char **ret_key, char **ret_certificate,
                   struct diag *reterr)
{
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
        _cleanup_(X509_freep) X509 *c = NULL;
        _cleanup_free_ char *certificate = NULL, *secret = NULL;
        int r;

        if (!key || certificate_new("onchannel-collector", a->certificate, key, SERVER_S, &c) < 0)
                return -EIO;
        r = names_add(c, a->certificate, names, reterr);
        if (r < 0)
                return r;
        if (extension_add(c, a->certificate, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
            extension_add(c, a->certificate, NID_key_usage, "critical,digitalSignature") < 0 ||
            extension_add(c, a->certificate, NID_ext_key_usage, "serverAuth") < 0 ||
            certificate_sign(c, a->certificate, a->key) < 0)
                return -EIO;
        certificate = certificate_text(c);
        secret = key_text(key);
        if (!certificate || !secret)
                return -ENOMEM;
        *ret_certificate = TAKE_PTR(certificate);
        *ret_key = TAKE_PTR(secret);
        return 0;
}

static char *name_text(const GENERAL_NAME *name)
{
        char text[INET6_ADDRSTRLEN];
        const ASN1_STRING *s = name->d.ia5;
        int size = name->type == GEN_DNS || name->type == GEN_IPADD ? ASN1_STRING_length(s) : 0;

        if (name->type == GEN_DNS && size > 0)
                return strndup((const char *)ASN1_STRING_get0_data(s), (size_t)size);
        if (name->type == GEN_IPADD && (size == 4 || size == 16) &&
            inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof(text)))
                return strdup(text);
        return NULL;
}

int pki_server_names(const char *certificate, char *ret[static PKI_NAMES_MAX + 1])
{
        _cleanup_(BIO_free_allp) BIO *b = BIO_new_mem_buf(certificate, -1);
        _cleanup_(X509_freep) X509 *c = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
        GENERAL_NAMES *names = c ? X509_get_ext_d2i(c, NID_subject_alt_name, NULL, NULL) : NULL;
        size_t n = 0;

        for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && n < PKI_NAMES_MAX; i++)
                if ((ret[n] = name_text(sk_GENERAL_NAME_value(names, i))))
                        n++;
        GENERAL_NAMES_free(names);
        ret[n] = NULL;
        return n > 0 ? 0 : -EBADMSG;
}

int pki_certificate_end(const char *file, uint64_t *ret_s)
{
        _cleanup_(BIO_free_allp) BIO *b = BIO_new_file(file, "r");
        _cleanup_(X509_freep) X509 *c = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
        struct tm tm;

        ERR_clear_error();
        if (!c || ASN1_TIME_to_tm(X509_get0_notAfter(c), &tm) != 1)
                return -EBADMSG;
        *ret_s = (uint64_t)timegm(&tm);
        return 0;
}

static bool key_is_accepted(EVP_PKEY *key)
{
        char group[32];
        size_t size;

        if (EVP_PKEY_is_a(key, "ED25519"))
                return true;
        return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), &size) == 1 &&
               strcmp(group, "prime256v1") == 0;
}

static int request_parse(const char *csr, X509_REQ **ret, struct diag *reterr)
{
        _cleanup_(BIO_free_allp) BIO *b = NULL;
        _cleanup_(X509_REQ_freep) X509_REQ *request = NULL;
        EVP_PKEY *key;

        if (strlen(csr) > PKI_CSR_MAX)
                return diag_set(reterr, -EBADMSG, NULL, 0, "the certificate request is larger than %d bytes",
                                PKI_CSR_MAX);
        b = BIO_new_mem_buf(csr, -1);
        request = b ? PEM_read_bio_X509_REQ(b, NULL, NULL, NULL) : NULL;
        if (!request)
                return pem_error(reterr, NULL, "csr is not a certificate request");
        key = X509_REQ_get0_pubkey(request);
        if (!key || !key_is_accepted(key))
                return diag_set(reterr, -EBADMSG, NULL, 0,
                                "the key of the certificate request is neither P-256 nor Ed25519");
        if (X509_REQ_verify(request, key) != 1)
                return pem_error(reterr, NULL, "the certificate request is not signed by its own key");
        *ret = TAKE_PTR(request);
        return 0;
}

int pki_sign_request(const struct pki_authority *a, const char *csr, const char *name, char **ret_certificate,
                     uint8_t ret_hash[static 32], struct diag *reterr)
{
        _cleanup_(X509_REQ_freep) X509_REQ *request = NULL;
        _cleanup_(X509_freep) X509 *c = NULL;
        _cleanup_free_ char *certificate = NULL;
        unsigned hash_size = 32;
        int r = request_parse(csr, &request, reterr);

        if (r < 0)
                return r;
        if (certificate_new(name, a->certificate, X509_REQ_get0_pubkey(request), a->lifetime_s, &c) < 0 ||
            extension_add(c, a->certificate, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
            extension_add(c, a->certificate, NID_key_usage, "critical,digitalSignature") < 0 ||
            extension_add(c, a->certificate, NID_ext_key_usage, "clientAuth") < 0 ||
            certificate_sign(c, a->certificate, a->key) < 0 ||
            X509_digest(c, EVP_sha256(), ret_hash, &hash_size) != 1)
                return -EIO;
        certificate = certificate_text(c);
        if (!certificate)
                return -ENOMEM;
        *ret_certificate = TAKE_PTR(certificate);
        return 0;
}
