/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define OPENSSL_CLEANUP(T, name, f)                                                                                  \
        static inline void name(T **p)                                                                               \
        {                                                                                                            \
                f(*p);                                                                                               \
        }
OPENSSL_CLEANUP(EVP_PKEY, pkey_freep, EVP_PKEY_free)
OPENSSL_CLEANUP(X509_REQ, req_freep, X509_REQ_free)
OPENSSL_CLEANUP(X509, x509_freep, X509_free)
OPENSSL_CLEANUP(BIO, bio_freep, BIO_free_all)

static char *bio_text(BIO *b)
{
        char *data = NULL;
        long size = BIO_get_mem_data(b, &data);

        return size > 0 ? strndup(data, (size_t)size) : NULL;
}

int csr_new(const char *device_id, char **ret_key, char **ret_csr)
{
        _cleanup_(pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
        _cleanup_(req_freep) X509_REQ *req = X509_REQ_new();
        _cleanup_(bio_freep) BIO *key_bio = BIO_new(BIO_s_mem()), *csr_bio = BIO_new(BIO_s_mem());
        _cleanup_free_ char *key_text = NULL, *csr_text = NULL;

        if (!key || !req || !key_bio || !csr_bio)
                return -ENOMEM;
        if (X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
            X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC,
                                       (const unsigned char *)device_id, -1, -1, 0) != 1 ||
            X509_REQ_set_pubkey(req, key) != 1 || X509_REQ_sign(req, key, EVP_sha256()) <= 0 ||
            PEM_write_bio_PKCS8PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) != 1 ||
            PEM_write_bio_X509_REQ(csr_bio, req) != 1)
                return -EIO;
        key_text = bio_text(key_bio);
        csr_text = bio_text(csr_bio);
        if (!key_text || !csr_text)
                return -ENOMEM;
        *ret_key = TAKE_PTR(key_text);
        *ret_csr = TAKE_PTR(csr_text);
        return 0;
}

static X509 *read_certificate(const char *pem)
{
        _cleanup_(bio_freep) BIO *b = BIO_new_mem_buf(pem, -1);

        return b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
}

int certificate_check(const char *certificate, const char *ca, const char *key, const char *device_id)
{
        _cleanup_(bio_freep) BIO *b = BIO_new_mem_buf(key, -1);
        _cleanup_(pkey_freep) EVP_PKEY *pkey = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
        _cleanup_(x509_freep) X509 *device = read_certificate(certificate), *issuer = read_certificate(ca);
        char name[DEVICE_ID_MAX + 1];

        if (!pkey || !device || !issuer || X509_check_private_key(device, pkey) != 1)
                return -EBADMSG;
        if (X509_NAME_get_text_by_NID(X509_get_subject_name(device), NID_commonName, name, sizeof(name)) < 0 ||
            strcmp(name, device_id) != 0)
                return -EBADMSG;
        return 0;
}

int certificate_life(const char *certificate, int64_t *ret_from, int64_t *ret_to)
{
        _cleanup_(x509_freep) X509 *c = read_certificate(certificate);
        struct tm from, to;

        if (!c || ASN1_TIME_to_tm(X509_get0_notBefore(c), &from) != 1 ||
            ASN1_TIME_to_tm(X509_get0_notAfter(c), &to) != 1)
                return -EBADMSG;
        *ret_from = timegm(&from);
        *ret_to = timegm(&to);
        return 0;
}

int identity_write(const struct uplink_config *c, const char *key, const char *certificate, mode_t mode)
{
        _cleanup_free_ char *path = format_new("%s/uplink/cert.pem", c->state);
        _cleanup_free_ char *text = format_new("%s%s", certificate, key);
        int r = path && text ? file_write_atomic(path, text, strlen(text), mode) : -ENOMEM;

        if (text)
                explicit_bzero(text, strlen(text));
        return r;
}
