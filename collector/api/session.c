/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who is at the page. The cookie is 32 random bytes of which only the hash is kept.
 * Against forged requests: SameSite=Strict, Origin and Content-Type, each alone sufficient. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/private.h"
#include "collector/net/message.h"

#define COOKIE               "__Host-onchannel" /* RFC 6265bis 4.1.3.2: Secure, Path=/, no Domain */
#define SESSION_MS           (12 * 3600 * 1000ull)
#define SECRET_SIZE          32
#define PASSWORD_MAX         256
#define FAILURES_PER_ADDRESS 10
#define FAILURES_PER_USER    30
#define FAILURES_OVERALL     1000 /* each costs 50 ms of the worker */
#define LOGINS_WAITING_MAX   8 /* guesses that are not counted yet */
#define USER_KEY_MAX         (STORE_NAME_MAX + 2)

/* Hash of a random password, so that an unknown user takes as long as a known one. */
static const char *nobody(void)
{
        static char hash[crypto_pwhash_STRBYTES];

        if (!*hash) {
                uint8_t secret[SECRET_SIZE];

                randombytes_buf(secret, sizeof(secret));
                if (crypto_pwhash_str(hash, (const char *)secret, sizeof(secret), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                      crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
                        *hash = 0;
        }
        return hash;
}

static bool origin_is_own(const struct http_request *req)
{
        const char *origin = req->field[HTTP_ORIGIN], *authority = req->field[HTTP_AUTHORITY];

        return origin && authority && text_starts_with(origin, "https://") && strcmp(origin + 8, authority) == 0;
}

static bool session_hash(const struct http_request *req, uint8_t ret[static STORE_HASH_SIZE])
{
        char text[2 * SECRET_SIZE + 1];
        uint8_t secret[SECRET_SIZE];

        if (!req->field[HTTP_COOKIE] || http_cookie_find(req->field[HTTP_COOKIE], COOKIE, text, sizeof(text)) < 0 ||
            hex_decode(text, secret, sizeof(secret)) < 0)
                return false;
        crypto_hash_sha256(ret, secret, sizeof(secret));
        return true;
}

bool page_authorised(struct http_request *req, struct store_session *ret)
{
        struct store *s = api_of(req)->store;
        uint8_t hash[STORE_HASH_SIZE];
        int r = session_hash(req, hash) ? store_session_get(s, hash, clock_utc_ms(), ret) : -ENOENT;

        if (r == -ENOENT)
                reply_error(req, 401, "log in first");
        else if (r < 0)
                reply_errno(req, r, NULL);
        return r == 0;
}

bool page_may_change(struct http_request *req, struct store_session *ret)
{
        if (!origin_is_own(req)) {
                reply_error(req, 403, "the Origin is not this page's");
                return false;
        }
        if (!page_authorised(req, ret))
                return false;
        if (strcmp(ret->role, "admin") == 0)
                return true;
        reply_error(req, 403, "only an admin may do that");
        return false;
}

static const char *user_key_format(const char *user, char ret[static USER_KEY_MAX])
{
        snprintf(ret, USER_KEY_MAX, "u:%s", user);
        return ret;
}

static unsigned login_wait(struct api *a, const char *user_key, const char *address, uint64_t now_ms)
{
        unsigned wait_s = limiter_wait(&a->logins, address, FAILURES_PER_ADDRESS, now_ms);

        if (!wait_s)
                wait_s = limiter_wait(&a->logins, user_key, FAILURES_PER_USER, now_ms);
        return wait_s ? wait_s : limiter_wait(&a->logins, "", FAILURES_OVERALL, now_ms);
}

static void login_refuse(struct http_request *req, const char *user, const char *user_key)
{
        struct api *a = api_of(req);
        uint64_t now_ms = http_now_ms(req);

        limiter_failed(&a->logins, req->address, now_ms);
        limiter_failed(&a->logins, user_key, now_ms);
        limiter_failed(&a->logins, "", now_ms);
        log_line(LOG_WARNING, "a login was refused");
        reply_error(req, 401, "user or password is wrong");
}

static void login_accept(struct http_request *req, const struct store_user *u)
{
        struct store *s = api_of(req)->store;
        uint8_t secret[SECRET_SIZE], hash[STORE_HASH_SIZE];
        char text[2 * SECRET_SIZE + 1], cookie[160];
        uint64_t now_ms = clock_utc_ms();
        int r;

        randombytes_buf(secret, sizeof(secret));
        crypto_hash_sha256(hash, secret, sizeof(secret));
        hex_encode(secret, sizeof(secret), text);
        snprintf(cookie, sizeof(cookie), COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=%llu", text,
                 SESSION_MS / 1000);
        r = store_session_add(s, hash, u->name, now_ms + SESSION_MS);
        if (r == 0)
                r = store_audit_add(s, &(struct store_audit){now_ms, u->name, "login", req->address});
        /* the next request comes after this turn's commit; should that fail, it is told to log in */
        if (r < 0)
                reply_errno(req, r, NULL);
        else
                reply_json_with(req, 200, json_pack("{s:s,s:s}", "user", u->name, "role", u->role),
                                &(struct http_header){"set-cookie", cookie});
        sodium_memzero(secret, sizeof(secret));
}

struct login {
        struct later later;
        struct store_user user;
        bool known, right;
        char name[STORE_NAME_MAX], password[PASSWORD_MAX + 1];
};

static json_t *login_run(struct later *later)
{
        struct login *l = (struct login *)later;
        const char *hash = l->known ? l->user.password : nobody();

        l->right = crypto_pwhash_str_verify(hash, l->password, strlen(l->password)) == 0 && l->known;
        return json_object();
}

static void login_reply(struct later *later)
{
        struct login *l = (struct login *)later;
        char user_key[USER_KEY_MAX];

        if (l->right)
                login_accept(later->req, &l->user);
        else
                login_refuse(later->req, l->name, user_key_format(l->name, user_key));
}

static void login_ended(struct later *later)
{
        struct login *l = (struct login *)later;

        later->api->logins_waiting--;
        sodium_memzero(l->password, sizeof(l->password));
}

void page_login(struct http_request *req)
{
        struct api *a = api_of(req);
        json_auto_t *o = NULL;
        struct login *l;
        const char *user, *password;
        char user_key[USER_KEY_MAX], retry[12];
        unsigned wait_s;
        int r;

        if (!origin_is_own(req)) {
                reply_error(req, 403, "the Origin is not this page's");
                return;
        }
        o = request_json(req);
        if (!o)
                return;
        if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:s,s:s}", "user", &user, "password", &password) < 0 ||
            strlen(user) >= STORE_NAME_MAX || strlen(password) > PASSWORD_MAX) {
                reply_error(req, 400, "exactly user and password are needed");
                return;
        }
        wait_s = login_wait(a, user_key_format(user, user_key), req->address, http_now_ms(req));
        if (a->logins_waiting >= LOGINS_WAITING_MAX)
                wait_s = 1;
        if (wait_s) {
                snprintf(retry, sizeof(retry), "%u", wait_s);
                reply_json_with(req, 429, json_pack("{s:s}", "error", "too many logins: try again later"),
                                &(struct http_header){"retry-after", retry});
                return;
        }
        l = calloc(1, sizeof(*l));
        r = l ? store_user_get(a->store, user, &l->user) : -ENOMEM;
        if (r < 0 && r != -ENOENT) {
                reply_errno(req, r, NULL);
                free(l);
                return;
        }
        l->known = r == 0;
        strcpy(l->name, user);
        strcpy(l->password, password);
        l->later = (struct later){.run = login_run, .reply = login_reply, .ended = login_ended};
        a->logins_waiting++;
        reply_later(req, &l->later);
}

void page_logout(struct http_request *req)
{
        struct store *s = api_of(req)->store;
        uint8_t hash[STORE_HASH_SIZE];
        struct store_session session;
        int r;

        if (!origin_is_own(req)) {
                reply_error(req, 403, "the Origin is not this page's");
                return;
        }
        if (!request_content_is(req, CONTENT_JSON)) {
                reply_error(req, 400, "Content-Type must be " CONTENT_JSON);
                return;
        }
        if (!page_authorised(req, &session) || !session_hash(req, hash))
                return;
        r = store_session_delete(s, hash);
        if (r == 0)
                r = store_audit_add(s, &(struct store_audit){clock_utc_ms(), session.user, "logout", req->address});
        if (r < 0)
                reply_errno(req, r, NULL);
        else
                reply_json_with(req, 200, json_object(),
                                &(struct http_header){"set-cookie", COOKIE
                                                      "=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"});
}

void page_session(struct http_request *req)
{
        struct store_session session;

        if (page_authorised(req, &session))
                reply_json(req, 200,
                           json_pack("{s:s,s:s,s:I}", "user", session.user, "role", session.role, "expires",
                                     (json_int_t)session.expires_ms));
}
