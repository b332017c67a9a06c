/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A device as the collector sees one: its key, its chain, its client certificate, over libcurl.
 * For tests and the load generator: anything unexpected ends the program. */
#include <curl/curl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <zstd.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "record/record.h"

#define DEMAND(condition)                                                                                            \
        do {                                                                                                         \
                if (!(condition)) {                                                                                  \
                        fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                \
                        exit(1);                                                                                     \
                }                                                                                                    \
        } while (0)

struct reply {
        long status;
        struct buf body;
        json_t *json; /* NULL when the body is none */
        char etag[128], cookie[256], retry_after[32];
};

static inline void reply_done(struct reply *r)
{
        buf_done(&r->body);
        json_decref(r->json);
        *r = (struct reply){0};
}

struct client_device {
        char id[DEVICE_ID_MAX], name[32];
        uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
        uint64_t next;
        uint8_t head[CHAIN_HASH_SIZE];
        char *key, *csr, *certificate; /* PEM */
};

static inline char *client_pem(BIO *b)
{
        char *data;
        long size = BIO_get_mem_data(b, &data);
        char *text = strndup(data, (size_t)size);

        BIO_free_all(b);
        DEMAND(text);
        return text;
}

static inline void client_device_init(struct client_device *d, const char *name)
{
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509_REQ *request = X509_REQ_new();
        BIO *b = BIO_new(BIO_s_mem());

        *d = (struct client_device){.next = 1};
        snprintf(d->name, sizeof(d->name), "%s", name);
        device_key_new(d->public_key, d->secret);
        device_id_format(d->public_key, d->id);
        chain_start(d->public_key, d->head);
        DEMAND(key && request && b);
        DEMAND(X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha256()) > 0);
        DEMAND(PEM_write_bio_X509_REQ(b, request) == 1);
        d->csr = client_pem(b);
        b = BIO_new(BIO_s_mem());
        DEMAND(b && PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1);
        d->key = client_pem(b);
        X509_REQ_free(request);
        EVP_PKEY_free(key);
}

static inline void client_device_done(struct client_device *d)
{
        free(d->key);
        free(d->csr);
        free(d->certificate);
}

/* ---- one request ---- */

static inline size_t client_on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct reply *r = userdata;

        buf_add(&r->body, data, size * n);
        return size * n;
}

static inline size_t client_on_header(char *data, size_t size, size_t n, void *userdata)
{
        struct reply *r = userdata;
        char line[512];
        const struct {
                const char *name;
                char *field;
                size_t size;
        } fields[] = {{"etag: ", r->etag, sizeof(r->etag)},
                      {"set-cookie: ", r->cookie, sizeof(r->cookie)},
                      {"retry-after: ", r->retry_after, sizeof(r->retry_after)}};

        snprintf(line, sizeof(line), "%.*s", (int)(size * n), data);
        line[strcspn(line, "\r\n")] = 0;
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (strncasecmp(line, fields[i].name, strlen(fields[i].name)) == 0)
                        snprintf(fields[i].field, fields[i].size, "%s", line + strlen(fields[i].name));
        return size * n;
}

struct request {
        const char *url, *ca;
        const char *method; /* NULL: GET */
        const struct client_device *as; /* NULL: without a client certificate */
        const char *headers[6];
        const void *body;
        size_t size;
        struct curl_slist *list; /* owned by the caller, after client_prepare() */
};

static inline void client_prepare(CURL *c, struct request *q, struct reply *r)
{
        curl_easy_reset(c);
        for (size_t i = 0; i < ELEMENTSOF(q->headers) && q->headers[i]; i++)
                q->list = curl_slist_append(q->list, q->headers[i]);
        curl_easy_setopt(c, CURLOPT_URL, q->url);
        curl_easy_setopt(c, CURLOPT_CAINFO, q->ca);
        curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, 30L);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, q->list);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, client_on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, client_on_header);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
        if (q->body) {
                curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->size);
                curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body);
        }
        if (q->method)
                curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
        if (q->as && q->as->certificate) {
                struct curl_blob certificate = {q->as->certificate, strlen(q->as->certificate), CURL_BLOB_COPY};
                struct curl_blob key = {q->as->key, strlen(q->as->key), CURL_BLOB_COPY};

                curl_easy_setopt(c, CURLOPT_SSLCERT_BLOB, &certificate);
                curl_easy_setopt(c, CURLOPT_SSLKEY_BLOB, &key);
        }
}

static inline void client_finish(CURL *c, struct request *q, struct reply *r)
{
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &r->status);
        r->json = r->body.size > 0 ? json_loadb((char *)r->body.data, r->body.size, 0, NULL) : NULL;
        curl_slist_free_all(q->list);
        q->list = NULL;
}

/* Status 0: no answer. Releases what *r held. */
static inline long client_do(CURL *c, struct request q, struct reply *r)
{
        reply_done(r);
        client_prepare(c, &q, r);
        if (curl_easy_perform(c) == CURLE_OK)
                client_finish(c, &q, r);
        else
                curl_slist_free_all(q.list);
        return r->status;
}

/* ---- what a device sends ---- */

static inline long client_enrol(CURL *c, struct request q, struct client_device *d, const char *token,
                                struct reply *r)
{
        _cleanup_buf_ struct buf signed_text = {0};
        _cleanup_free_ char *body = NULL;
        uint8_t proof[crypto_sign_BYTES];
        char key_hex[2 * DEVICE_KEY_SIZE + 1], proof_hex[2 * sizeof(proof) + 1];
        json_t *o;

        buf_addf(&signed_text, "onchannel-enrol/v1\n%s", d->csr);
        crypto_sign_detached(proof, NULL, signed_text.data, signed_text.size, d->secret);
        hex_encode(proof, sizeof(proof), proof_hex);
        hex_encode(d->public_key, sizeof(d->public_key), key_hex);
        o = json_pack("{s:s,s:s,s:s,s:s,s:s}", "token", token, "csr", d->csr, "device_key", key_hex, "proof",
                      proof_hex, "name", d->name);
        body = json_dumps(o, 0);
        json_decref(o);
        q.headers[0] = "Content-Type: application/json";
        q.body = body;
        q.size = strlen(body);
        if (client_do(c, q, r) == 200) {
                free(d->certificate);
                d->certificate = strdup(json_string_value(json_object_get(r->json, "certificate")));
        }
        return r->status;
}

static inline struct violation client_violation(uint64_t seq, const char *id, uint64_t time_ms)
{
        static const char *const channels[] = {"whatsapp", "telegram", "discord", "signal"};

        return (struct violation){.id = id,
                                  .channel = channels[seq % 4],
                                  .channel_name = channels[seq % 4],
                                  .category = "messenger",
                                  .class = "use",
                                  .verdict = "block",
                                  .layer = LAYER_TLS,
                                  .tier = TIER_NAME,
                                  .outcome = OUTCOME_RESET,
                                  .entry = "suffix whatsapp.com",
                                  .entry_source = "whatsapp.ini:12",
                                  .uid = 1000,
                                  .user = seq % 2 ? "anna" : "ben",
                                  .pid = 4711,
                                  .program = "/usr/bin/curl",
                                  .program_name = "curl",
                                  .remote_address = "192.0.2.7",
                                  .remote_port = 443,
                                  .protocol = "tcp",
                                  .count = 1,
                                  .first_ms = time_ms,
                                  .last_ms = time_ms,
                                  .notified = true};
}

/* Text of a batch of n violations that starts where the device stands; *d moves on. */
static inline void client_batch(struct client_device *d, unsigned n, uint64_t time_ms, struct buf *ret)
{
        const struct record_context context = {.device_uid = d->id,
                                               .device_name = d->name,
                                               .boot_id = "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
                                               .agent_version = "0.1.0",
                                               .os_name = "Debian GNU/Linux",
                                               .os_version = "12",
                                               .policy_serial = 42,
                                               .policy_organisation = "Example Bank plc",
                                               .catalogue_version = "2026.11"};
        struct batch b = {.seal = {.first = d->next, .n = n}};
        _cleanup_buf_ struct buf records = {0};
        _cleanup_free_ char *header = NULL;
        size_t size;

        memcpy(b.device, d->id, sizeof(b.device));
        strcpy(b.boot, context.boot_id);
        memcpy(b.seal.prev, d->head, sizeof(d->head));
        b.salts = malloc((size_t)n * CHAIN_SALT_SIZE);
        DEMAND(b.salts);
        randombytes_buf(b.salts, (size_t)n * CHAIN_SALT_SIZE);
        for (unsigned i = 0; i < n; i++) {
                _cleanup_free_ char *record = NULL;
                char id[UUID_TEXT_MAX];
                struct violation v;

                uuid_v7(time_ms, id);
                v = client_violation(d->next, id, time_ms + i);
                DEMAND(record_violation_encode(&context, &v,
                                               &(struct record_place){d->next, d->head, time_ms + i, 1000}, &record,
                                               &size) == 0);
                chain_next(d->id, d->next, d->head, b.salts + (size_t)i * CHAIN_SALT_SIZE, record, size, d->head);
                d->next++;
                buf_add(&records, record, size);
                buf_add_string(&records, "\n");
        }
        memcpy(b.seal.head, d->head, sizeof(d->head));
        chain_seal_sign(&b.seal, d->id, d->secret);
        DEMAND(batch_header_encode(&b, &header, &size) == 0);
        buf_add(ret, header, size);
        buf_add(ret, records.data, records.size);
        free(b.salts);
        DEMAND(buf_error(ret) == 0);
}

static inline void client_compress(const struct buf *text, struct buf *ret)
{
        size_t bound = ZSTD_compressBound(text->size);
        void *room = buf_extend(ret, bound);
        size_t n;

        DEMAND(room);
        n = ZSTD_compress(room, bound, text->data, text->size, 3);
        DEMAND(!ZSTD_isError(n));
        ret->size -= bound - n;
}
