/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/state/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define NUMBER_MAX_BYTES 32

static const struct role {
        enum trust_role trust;
        const char *name;
        const char *comment; /* of the signature, up to the serial's digits or the version */
        size_t max_bytes;
} roles[] = {
        [STORE_POLICY] = {TRUST_ROLE_POLICY, "policy", "onchannel policy serial=", POLICY_MAX_BYTES},
        [STORE_CATALOGUE] = {TRUST_ROLE_CATALOGUE, "catalogue", "onchannel catalogue version=", CATALOGUE_MAX_BYTES},
};
_Static_assert(ELEMENTSOF(roles) == _STORE_ROLE_MAX, "every role needs a name");

const char *store_role_to_string(enum store_role r)
{
        return roles[r].name;
}

struct stored *stored_free(struct stored *s)
{
        if (!s)
                return NULL;
        policy_free(s->policy);
        catalogue_free(s->catalogue);
        catalogue_free(s->own);
        free(s->file);
        free(s->text);
        free(s->minisig);
        free(s);
        return NULL;
}

struct store *store_free(struct store *s)
{
        if (!s)
                return NULL;
        stored_free(s->policy);
        stored_free(s->catalogue);
        keyring_done(&s->keyring);
        free(s->state_dir);
        free(s->installed_catalogue);
        free(s);
        return NULL;
}

static void hash_bytes(const void *data, size_t size, char ret[static STORE_HASH_TEXT])
{
        uint8_t hash[crypto_hash_sha256_BYTES];

        crypto_hash_sha256(hash, data, size);
        hex_encode(hash, sizeof(hash), ret);
}

/* A number that the state folder keeps; 0 when it is not there, or damaged: what is in force raises it again. */
static int load_number(struct store *s, const char *name, uint64_t *ret, struct diag *reterr)
{
        _cleanup_free_ char *path = format_new("%s/policy/%s", s->state_dir, name);
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read_number(path, ret);
        if (r >= 0 || r == -ENOENT)
                return 0;
        if (r != -EFBIG && r != -EBADMSG)
                return diag_set(reterr, r, path, 0, "%s", strerror(-r));
        s->numbers_damaged = true;
        if (!s->read_only)
                unlink(path);
        return 0;
}

/* Raises it, in memory and on disk; never lowers it. In memory also where the disk takes nothing. */
static int raise_number(const struct store *s, const char *name, uint64_t *held, uint64_t number)
{
        _cleanup_free_ char *path = format_new("%s/policy/%s", s->state_dir, name);
        char text[NUMBER_MAX_BYTES];

        if (number <= *held)
                return 0;
        *held = number;
        if (!path)
                return -ENOMEM;
        snprintf(text, sizeof(text), "%" PRIu64 "\n", number);
        return file_write_atomic(path, text, strlen(text), 0600);
}

int store_new(const struct store_options *o, struct store **ret, struct diag *reterr)
{
        _cleanup_store_ struct store *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->read_only = o->read_only;
        s->state_dir = strdup(o->state_dir);
        s->installed_catalogue = strdup(o->catalogue);
        if (!s->state_dir || !s->installed_catalogue)
                return -ENOMEM;
        s->built = o->built;
        s->keyring.read_only = o->read_only;
        r = keyring_open(&s->keyring, o->keys_dir, o->state_dir, o->signatures, reterr);
        if (r >= 0)
                r = load_number(s, "serial", &s->policy_serial, reterr);
        if (r >= 0)
                r = load_number(s, "signed", &s->signed_at, reterr);
        if (r >= 0)
                r = load_number(s, "catalogue", &s->catalogue_serial, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

int store_read_plain(const char *path, size_t max, char **ret, size_t *ret_size)
{
        _cleanup_fd_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        char self[sizeof("/proc/self/fd/") + 11];

        if (fd < 0)
                return -errno;
        snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
        return file_read(self, max, ret, ret_size);
}

/* Reads FILE and its signature; nothing is verified yet. */
static int stored_read(enum store_role role, const char *file, const char *minisig, struct stored **ret,
                       struct diag *reterr)
{
        _cleanup_stored_ struct stored *s = calloc(1, sizeof(*s));
        int r;

        if (!s || !(s->file = strdup(file)))
                return -ENOMEM;
        r = store_read_plain(file, roles[role].max_bytes, &s->text, &s->size);
        if (r == -EFBIG)
                return diag_set(reterr, r, file, 0, "larger than %zu bytes", roles[role].max_bytes);
        if (r < 0)
                return diag_set(reterr, r, file, 0, "%s", strerror(-r));
        r = store_read_plain(minisig, TRUST_SIGNATURE_MAX_BYTES, &s->minisig, NULL);
        if (r == -ENOENT)
                return diag_set(reterr, -ENOKEY, file, 0, "not signed: '%s' is missing", minisig);
        if (r < 0)
                return diag_set(reterr, r, minisig, 0, "%s", strerror(-r));
        hash_bytes(s->text, s->size, s->hash);
        *ret = TAKE_PTR(s);
        return 0;
}

static int serial_from_comment(enum store_role role, const char *comment, uint64_t *ret)
{
        const char *digits = comment + strlen(roles[role].comment);
        char number[NUMBER_MAX_BYTES];
        size_t size;

        if (!text_starts_with(comment, roles[role].comment))
                return -EBADMSG;
        if (role == STORE_CATALOGUE) {
                digits = strstr(digits, " serial=");
                if (!digits)
                        return -EBADMSG;
                digits += strlen(" serial=");
        }
        size = strcspn(digits, " ");
        if (size >= sizeof(number))
                return -EBADMSG;
        memcpy(number, digits, size);
        number[size] = 0;
        return parse_u64(number, UINT64_MAX, ret);
}

/* At the start, when none is held yet, an older catalogue is better than none: store_load_catalogue() says so. */
static uint64_t catalogue_floor(const struct store *s)
{
        uint64_t held = s->catalogue ? s->catalogue->serial : 0;

        return s->catalogue && held < s->catalogue_serial ? s->catalogue_serial : held;
}

static int check_serial(const struct store *s, enum store_role role, const struct stored *c, struct diag *reterr)
{
        const struct stored *held = role == STORE_POLICY ? s->policy : s->catalogue;
        const struct trust_order o = {.serial = c->serial,
                                      .hash = c->hash,
                                      .floor = role == STORE_POLICY ? s->policy_serial : catalogue_floor(s),
                                      .held_serial = held ? held->serial : 0,
                                      .held_hash = held ? held->hash : NULL};

        return trust_order_check(&o, c->file, reterr);
}

static int parse_catalogue(struct stored *c, const char *comment, struct diag *reterr)
{
        _cleanup_free_ char *expected = NULL;
        int r;

        r = catalogue_parse_built(c->text, c->size, c->file, &c->catalogue, reterr);
        if (r < 0)
                return r;
        expected = format_new("%s%s serial=%" PRIu64, roles[STORE_CATALOGUE].comment, c->catalogue->version,
                              c->catalogue->serial);
        if (!expected)
                return -ENOMEM;
        if (strcmp(expected, comment))
                return diag_set(reterr, -EBADMSG, c->file, 0, "the signature's trusted comment is '%s', not '%s'",
                                comment, expected);
        return 0;
}

/* The keys that count: for what was accepted before, those of then. */
static void ring_for(const struct store *s, const struct stored *c, bool again, struct trust_ring *ret)
{
        uint64_t serial = UINT64_MAX;
        const char *at = memmem(c->minisig, strlen(c->minisig), roles[STORE_POLICY].comment,
                                strlen(roles[STORE_POLICY].comment));

        /* not verified yet; it only says after which links to look, and a wrong one finds no key */
        if (again && at && serial_from_comment(STORE_POLICY, at, &serial) >= 0)
                keyring_before(&s->keyring, serial, ret);
        else
                keyring_now(&s->keyring, ret);
}

static int check_signed(const struct stored *c, struct diag *reterr)
{
        if (c->policy && c->signed_at > c->policy->expires)
                return diag_set(reterr, -EBADMSG, c->file, 0,
                                "signed after it expires: was the clock right where it was signed?");
        return 0;
}

static int parse_policy(const struct store *s, struct stored *c, bool again, const char *comment, struct diag *reterr)
{
        int r;

        r = policy_parse(c->text, c->size, c->file, &c->policy, reterr);
        if (r >= 0)
                r = catalogue_parse_own(c->text, c->size, c->file, &c->own, reterr);
        if (r >= 0)
                r = policy_comment_check(c->policy, comment, c->file, reterr);
        if (r >= 0)
                r = check_signed(c, reterr);
        return r < 0 || again ? r : keyring_check(&s->keyring, c->policy, c->file, reterr);
}

/* Everything from the signature on, in the order of trust. `again`: it was accepted before. */
static int stored_verify(struct store *s, enum store_role role, struct stored *c, bool again, struct diag *reterr)
{
        const struct trust_file f = {.name = c->file,
                                     .data = c->text,
                                     .size = c->size,
                                     .minisig = c->minisig,
                                     .minisig_size = strlen(c->minisig)};
        struct trust_verdict v;
        struct trust_ring ring;
        int r;

        ring_for(s, c, again && role == STORE_POLICY, &ring);
        r = trust_ring_verify(&ring, roles[role].trust, &f, again ? 0 : store_time(s, time(NULL)), &v, reterr);
        if (r < 0)
                return r;
        strcpy(c->signer, v.signer);
        c->n_signers = v.n_signers;
        c->signed_at = v.signed_at;
        r = serial_from_comment(role, v.comment, &c->serial);
        if (r < 0)
                return diag_set(reterr, -EBADMSG, c->file, 0,
                                "the signature's trusted comment '%s' is not that of a %s", v.comment,
                                roles[role].name);
        r = check_serial(s, role, c, reterr);
        if (r < 0)
                return r;
        return role == STORE_CATALOGUE ? parse_catalogue(c, v.comment, reterr)
                                       : parse_policy(s, c, again, v.comment, reterr);
}

static int load(struct store *s, enum store_role role, const char *file, const char *minisig, struct stored **ret,
                struct diag *reterr)
{
        _cleanup_stored_ struct stored *c = NULL;
        int r;

        r = stored_read(role, file, minisig, &c, reterr);
        if (r < 0)
                return r;
        r = stored_verify(s, role, c, role == STORE_POLICY, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

/* The bytes are on disk; the parsed form is what the agent keeps. A policy's bytes are few, and
 * store_mend() needs them. */
static void stored_forget_text(struct stored *c)
{
        if (c->policy)
                return;
        free(TAKE_PTR(c->text));
        free(TAKE_PTR(c->minisig));
        c->size = 0;
}

static int load_current(struct store *s, enum store_role role, struct stored **ret, struct diag *reterr)
{
        _cleanup_free_ char *current = format_new("%s/%s/current.ini", s->state_dir, roles[role].name);
        _cleanup_free_ char *minisig = format_new("%s/%s/current.ini.minisig", s->state_dir, roles[role].name);
        _cleanup_free_ char *next = format_new("%s/%s/next.ini", s->state_dir, roles[role].name);
        int r;

        if (!current || !minisig || !next)
                return -ENOMEM;
        r = load(s, role, current, minisig, ret, reterr);
        if (r >= 0 || access(next, F_OK) < 0)
                return r;
        /* store_commit() was cut off between its two renames */
        if (load(s, role, next, minisig, ret, NULL) < 0)
                return r;
        if (!s->read_only && rename(next, current) < 0) {
                *ret = stored_free(*ret);
                return diag_set(reterr, -errno, next, 0, "%s", strerror(errno));
        }
        return 0;
}

int store_load_policy(struct store *s, struct stored **ret, struct diag *reterr)
{
        struct stored *p = NULL;
        int r;

        r = load_current(s, STORE_POLICY, &p, reterr);
        if (r == -ENOENT && s->policy_serial > 0)
                return diag_set(reterr, -ENODATA, "policy/current.ini", 0,
                                "serial %" PRIu64 " was in force, but its file is gone", s->policy_serial);
        if (r < 0)
                return r;
        stored_forget_text(p);
        s->policy = *ret = p;
        if (!s->read_only) { /* a disk that takes nothing is no reason to give up the policy */
                (void)raise_number(s, "serial", &s->policy_serial, p->serial);
                (void)raise_number(s, "signed", &s->signed_at, (uint64_t)p->signed_at);
        }
        return 0;
}

int store_load_catalogue(struct store *s, struct stored **ret, struct diag *reterr)
{
        _cleanup_free_ char *minisig = format_new("%s.minisig", s->installed_catalogue);
        _cleanup_stored_ struct stored *installed = NULL, *received = NULL;
        struct diag passed_over = {0}, missing = {0};
        int r, q;

        if (!minisig)
                return -ENOMEM;
        q = load_current(s, STORE_CATALOGUE, &received, &passed_over);
        r = load(s, STORE_CATALOGUE, s->installed_catalogue, minisig, &installed, &missing);
        if (r < 0 && q < 0) {
                if (reterr)
                        *reterr = missing;
                return r;
        }
        if (q < 0 && q != -ENOENT && reterr)
                *reterr = passed_over;
        if (!received || (installed && installed->serial > received->serial))
                s->catalogue = TAKE_PTR(installed);
        else
                s->catalogue = TAKE_PTR(received);
        stored_forget_text(s->catalogue);
        *ret = s->catalogue;
        if (s->catalogue->serial < s->catalogue_serial) {
                if (reterr && !*reterr->text)
                        diag_set(reterr, 0, s->catalogue->file, 0,
                                 "serial %" PRIu64 " is used, although %" PRIu64
                                 " was in force before: its file is gone",
                                 s->catalogue->serial, s->catalogue_serial);
                return 0;
        }
        if (!s->read_only)
                (void)raise_number(s, "catalogue", &s->catalogue_serial, s->catalogue->serial);
        return 0;
}

static char *incoming_path(const struct store *s, enum store_role role, const char *suffix)
{
        return format_new("%s/incoming/%s.ini%s", s->state_dir, roles[role].name, suffix);
}

/* Byte for byte what is in force: whoever has signed it since, nothing changes. */
static int check_held(const struct store *s, enum store_role role, const struct stored *c, struct diag *reterr)
{
        const struct stored *held = role == STORE_POLICY ? s->policy : s->catalogue;

        return held && !strcmp(held->hash, c->hash) ? diag_set(reterr, -EALREADY, c->file, 0, "already in force") : 0;
}

static int take_links(struct store *s)
{
        _cleanup_free_ char *folder = format_new("%s/incoming/links", s->state_dir);

        return folder ? keyring_take(&s->keyring, folder, store_time(s, time(NULL))) : -ENOMEM;
}

time_t store_time(const struct store *s, time_t clock)
{
        return trust_time(s->built, (time_t)s->signed_at, clock);
}

int store_read_incoming(struct store *s, enum store_role role, time_t clock, struct stored **ret, struct diag *reterr)
{
        _cleanup_free_ char *file = incoming_path(s, role, ""), *minisig = incoming_path(s, role, ".minisig");
        _cleanup_stored_ struct stored *c = NULL;
        char when[TIME_TEXT_MAX];
        time_t now;
        int r;

        if (!file || !minisig)
                return -ENOMEM;
        r = stored_read(role, file, minisig, &c, reterr);
        if (r >= 0)
                r = check_held(s, role, c, reterr);
        if (r >= 0 && role == STORE_POLICY)
                r = take_links(s);
        if (r >= 0)
                r = stored_verify(s, role, c, false, reterr);
        if (r < 0)
                return r;
        now = trust_time(0, c->signed_at, store_time(s, clock));
        if (c->policy && c->policy->not_before > now)
                return diag_set(reterr, -ETIME, file, 0, "not to be used before %s",
                                time_format(c->policy->not_before, when));
        *ret = TAKE_PTR(c);
        return 0;
}

void store_hash_incoming(const struct store *s, enum store_role role, char ret[static STORE_HASH_TEXT])
{
        _cleanup_free_ char *file = incoming_path(s, role, ""), *text = NULL;
        size_t size;

        ret[0] = 0;
        if (file && store_read_plain(file, roles[role].max_bytes, &text, &size) >= 0)
                hash_bytes(text, size, ret);
}

/* Two files cannot be replaced as one: next.ini bridges the moment between them. */
static int write_current(const struct store *s, enum store_role role, const struct stored *c)
{
        _cleanup_free_ char *current = format_new("%s/%s/current.ini", s->state_dir, roles[role].name);
        _cleanup_free_ char *minisig = format_new("%s/%s/current.ini.minisig", s->state_dir, roles[role].name);
        _cleanup_free_ char *next = format_new("%s/%s/next.ini", s->state_dir, roles[role].name);
        int r;

        if (!current || !minisig || !next)
                return -ENOMEM;
        r = file_write_atomic(next, c->text, c->size, 0600);
        if (r < 0)
                return r;
        r = file_write_atomic(minisig, c->minisig, strlen(c->minisig), 0600);
        if (r < 0)
                return r;
        return rename(next, current) < 0 ? -errno : 0;
}

static int keep_policy(struct store *s, const struct stored *p)
{
        const struct trust_file f = {.name = p->file,
                                     .data = p->text,
                                     .size = p->size,
                                     .minisig = p->minisig,
                                     .minisig_size = strlen(p->minisig)};
        int r;

        r = keyring_keep(&s->keyring, p->policy, &f);
        if (r >= 0)
                r = raise_number(s, "serial", &s->policy_serial, p->serial);
        return r < 0 ? r : raise_number(s, "signed", &s->signed_at, (uint64_t)p->signed_at);
}

int store_commit(struct store *s, struct stored *accepted)
{
        enum store_role role = accepted->policy ? STORE_POLICY : STORE_CATALOGUE;
        struct stored **held = role == STORE_POLICY ? &s->policy : &s->catalogue;
        int r;

        r = write_current(s, role, accepted);
        if (r >= 0 && role == STORE_POLICY)
                r = keep_policy(s, accepted);
        if (r >= 0 && role == STORE_CATALOGUE)
                r = raise_number(s, "catalogue", &s->catalogue_serial, accepted->serial);
        stored_forget_text(accepted);
        stored_free(*held);
        *held = accepted;
        return r;
}

static bool is_kept(const char *path, const char *text, size_t size)
{
        _cleanup_free_ char *kept = NULL;
        size_t n;

        return store_read_plain(path, size, &kept, &n) >= 0 && n == size && memcmp(kept, text, size) == 0;
}

int store_mend(struct store *s)
{
        _cleanup_free_ char *current = format_new("%s/policy/current.ini", s->state_dir);
        _cleanup_free_ char *minisig = format_new("%s/policy/current.ini.minisig", s->state_dir);
        _cleanup_free_ char *serial = format_new("%s/policy/serial", s->state_dir);
        _cleanup_free_ char *dir = format_new("%s/policy", s->state_dir);
        const struct stored *p = s->policy;
        char text[NUMBER_MAX_BYTES];
        int r;

        if (!current || !minisig || !serial || !dir)
                return -ENOMEM;
        snprintf(text, sizeof(text), "%" PRIu64 "\n", s->policy_serial);
        if (!p || (is_kept(current, p->text, p->size) && is_kept(minisig, p->minisig, strlen(p->minisig)) &&
                   is_kept(serial, text, strlen(text))))
                return 0;
        r = dir_make(dir, 0700);
        if (r >= 0)
                r = write_current(s, STORE_POLICY, p);
        if (r >= 0)
                r = file_write_atomic(serial, text, strlen(text), 0600);
        return r < 0 ? r : 1;
}
