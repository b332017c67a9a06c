/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Once, by root: the device key signs a request for a TLS certificate. What needs root is read
 * first; then the process becomes the owner of STATE/uplink, and only then speaks to the network. */
#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#define ENROL_DOMAIN     "onchannel-enrol/v1\n"
#define ENROL_TIMEOUT_S  30L
#define ENROL_ANSWER_MAX (256u << 10)

struct enrolment {
        struct uplink_config *config;
        char *folder; /* STATE/uplink */
        char *ca; /* PEM text */
        char *key;
        char *request;
        char *firm_certificate, *firm_key; /* PEM text, or NULL */
        char device_id[DEVICE_ID_MAX];
        mode_t key_mode;
};

static void enrolment_done(struct enrolment *e)
{
        if (e->key)
                sodium_memzero(e->key, strlen(e->key));
        if (e->firm_key)
                sodium_memzero(e->firm_key, strlen(e->firm_key));
        freep(&e->firm_certificate);
        freep(&e->firm_key);
        freep(&e->folder);
        freep(&e->ca);
        freep(&e->key);
        freep(&e->request);
}

int enrol_request_new(const uint8_t secret[static DEVICE_SECRET_SIZE], const char *token, const char *name,
                      const char *csr, char **ret)
{
        uint8_t signature[CHAIN_SIGNATURE_SIZE], public_key[DEVICE_KEY_SIZE];
        char proof[2 * CHAIN_SIGNATURE_SIZE + 1], device_key[2 * DEVICE_KEY_SIZE + 1];
        _cleanup_free_ char *text = format_new(ENROL_DOMAIN "%s", csr);
        json_auto_t *root = NULL;
        char *line;

        if (!text)
                return -ENOMEM;
        crypto_sign_ed25519_sk_to_pk(public_key, secret);
        crypto_sign_detached(signature, NULL, (const uint8_t *)text, strlen(text), secret);
        hex_encode(signature, sizeof(signature), proof);
        hex_encode(public_key, sizeof(public_key), device_key);
        root = json_pack("{s:s*, s:s, s:s, s:s, s:s}", "token", token, "csr", csr, "device_key", device_key, "proof",
                         proof, "name", name);
        line = root ? json_dumps(root, JSON_COMPACT) : NULL;
        if (!line)
                return -EINVAL;
        *ret = line;
        return 0;
}

static int read_device_key(const struct uplink_config *c, uint8_t ret[static DEVICE_SECRET_SIZE])
{
        _cleanup_free_ char *path = format_new("%s/device.key", c->state), *text = NULL;
        size_t size = 0;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read(path, 2 * DEVICE_SECRET_SIZE + 1, &text, &size);
        if (r == -ENOENT)
                return log_errno(LOG_ERR, r, "there is no '%s' yet: start onchanneld once, it makes the device's key",
                                 path);
        if (r == -EACCES)
                return log_errno(LOG_ERR, r, "cannot read '%s': run this as root", path);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot read '%s'", path);
        text[strcspn(text, "\n")] = '\0';
        r = hex_decode(text, ret, DEVICE_SECRET_SIZE);
        sodium_memzero(text, size);
        return r < 0 ? log_errno(LOG_ERR, -EBADMSG, "'%s' is not a device key", path) : 0;
}

static int make_request(struct enrolment *e, const char *token)
{
        uint8_t secret[DEVICE_SECRET_SIZE], public_key[DEVICE_KEY_SIZE];
        _cleanup_free_ char *csr = NULL;
        int r;

        r = read_device_key(e->config, secret);
        if (r < 0)
                return r;
        crypto_sign_ed25519_sk_to_pk(public_key, secret);
        device_id_format(public_key, e->device_id);
        r = csr_new(e->device_id, &e->key, &csr);
        if (r >= 0)
                r = enrol_request_new(secret, token, e->config->device, csr, &e->request);
        sodium_memzero(secret, sizeof(secret));
        return r < 0 ? log_errno(LOG_ERR, r, "cannot make a certificate request") : 0;
}

/* A folder that root owns lets its group (the uplink's) read the key. */
static int become_owner(struct enrolment *e)
{
        struct stat st;

        if (stat(e->folder, &st) < 0)
                return log_errno(LOG_ERR, errno, "cannot use the folder '%s': start onchanneld once, it makes it",
                                 e->folder);
        e->key_mode = st.st_uid == 0 ? 0640 : 0600;
        if (geteuid() != 0)
                return 0;
        if (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
            setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
                return log_errno(LOG_ERR, errno, "cannot become the owner of '%s'", e->folder);
        return 0;
}

static int store(const struct enrolment *e, const char *name, const char *text, mode_t mode)
{
        _cleanup_free_ char *path = format_new("%s/%s", e->folder, name);
        int r;

        if (!path)
                return -ENOMEM;
        r = file_write_atomic(path, text, strlen(text), mode);
        return r < 0 ? log_errno(LOG_ERR, r, "cannot write '%s'", path) : 0;
}

static int take_answer(struct enrolment *e, const struct response *response)
{
        const char *device, *certificate, *ca;
        json_auto_t *root = NULL;
        int r;

        if (response->body.size > 0)
                root = json_loadb((const char *)response->body.data, response->body.size, JSON_REJECT_DUPLICATES,
                                  NULL);
        if (!root ||
            json_unpack(root, "{s:s, s:s, s:s}", "device", &device, "certificate", &certificate, "ca", &ca) < 0)
                return log_errno(LOG_ERR, -EBADMSG, "the answer of '%s' is not an enrolment", e->config->url);
        if (strcmp(device, e->device_id) != 0 || certificate_check(certificate, ca, e->key, e->device_id) < 0)
                return log_errno(LOG_ERR, -EBADMSG, "the collector's certificate is not for this device");
        r = store(e, "ca.pem", ca, 0644);
        if (r < 0)
                return r;
        r = identity_write(e->config, e->key, certificate, e->key_mode); /* last: the uplink waits for it */
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot write '%s/cert.pem'", e->folder);
        if (r >= 0)
                log_line(LOG_NOTICE, "enrolled '%s' as %s at %s", e->config->device, e->device_id, e->config->url);
        return r;
}

static int post(struct enrolment *e)
{
        struct request q = {.path = "/v1/enrol",
                            .body = e->request,
                            .body_size = strlen(e->request),
                            .content_type = "application/json",
                            .timeout_s = ENROL_TIMEOUT_S,
                            .answer_max = ENROL_ANSWER_MAX};
        _cleanup_(response_done) struct response response = {0};
        struct curl_slist *headers = NULL;
        char reason[UPLINK_ERROR_MAX];
        CURL *easy = NULL;
        CURLcode code;
        int r;

        r = http_request_new(e->config, &q, &response, &easy, &headers);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot make a request to '%s'", e->config->url);
        r = http_set_identity(easy, e->ca, e->firm_certificate, e->firm_key);
        code = r < 0 ? CURLE_FAILED_INIT : curl_easy_perform(easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &response.status);
        if (code == CURLE_OK && response.status == 200) {
                r = take_answer(e, &response);
        } else {
                log_line(LOG_ERR, "not enrolled at '%s': %s", e->config->url,
                         response_error(&response, code, reason));
                r = -EIO;
        }
        curl_easy_cleanup(easy);
        curl_slist_free_all(headers);
        return r;
}

static int read_pem(const char *path, const char *what, char **ret)
{
        size_t size;
        int r = file_read(path, UPLINK_PEM_MAX, ret, &size);

        return r < 0 ? log_errno(LOG_ERR, r, "cannot read %s '%s'", what, path) : 0;
}

int enrol_run(struct uplink_config *c, const struct enrol_options *o)
{
        _cleanup_(enrolment_done) struct enrolment e = {.config = c};
        int r;

        e.folder = format_new("%s/uplink", c->state);
        if (!e.folder)
                return -ENOMEM;
        r = read_pem(o->ca, "the collector's CA certificate", &e.ca);
        if (r == 0 && !o->token)
                r = read_pem(o->certificate, "the firm's certificate", &e.firm_certificate);
        if (r == 0 && !o->token)
                r = read_pem(o->key, "its key", &e.firm_key);
        if (r == 0)
                r = make_request(&e, o->token);
        if (r < 0)
                return r;
        r = become_owner(&e);
        return r < 0 ? r : post(&e);
}
