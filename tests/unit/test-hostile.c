/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files that must not come into force, of each role, as they lie in the incoming folder: none is taken, each is refused with
 * its reason, which is printed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "agent/state/exemptions.h"
#include "agent/state/store.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define NOW     1795219200 /* 2026-11-21T00:00:00Z */
#define IN_1990 631152000
#define IN_2100 4102444800
#define DEVICE  "d-xqvqnp5zxvkkxks6gjuelftw"

enum who { OURS, OTHER_ROLE, OTHER_ORGANISATION, REVOKED, EXPIRED, _WHO_MAX };

static struct world {
        char dir[32];
        struct trust_secret secret[_TRUST_ROLE_MAX][_WHO_MAX];
        struct store *store;
        struct exemptions *exemptions;
        unsigned refused; /* printed so far */
} w;

static char *path_in(const char *name)
{
        return format_new("%s/%s", w.dir, name);
}

static void put(const char *name, const void *data, size_t size)
{
        _cleanup_free_ char *path = path_in(name);
        _cleanup_file_ FILE *f = fopen(path, "we");

        assert_non_null(f);
        assert_int_equal(fwrite(data, 1, size, f), size);
}

static const char policy[] =
        "[policy]\nformat = 1\norganisation = Test\nserial = 9\nnot_before = 2026-11-21T00:00:00Z\n"
        "expires = 2027-02-21T00:00:00Z\n";
static const char catalogue[] =
        "[catalogue]\nformat = 1\nversion = v1\nserial = 9\n[file]\nname = x.ini\n[channel]\nid = x\n"
        "name = X\nvendor = V\ncategory = messenger\nhomepage = https://x.example\n"
        "checked = 2026-11-21\nsource = https://x.example\n[names]\nsuffix = x.example\n";
static const char exemption[] =
        "[exemption]\nformat = 1\nid = EX-1\nchannel = x\nuser = anna\nfrom = 2026-11-20T00:00:00Z\n"
        "until = 2026-12-21T00:00:00Z\nreason = r\napprover = a\n";

static const struct valid {
        const char *text, *comment;
} valid[_TRUST_ROLE_MAX] = {
        [TRUST_ROLE_POLICY] = {policy, "onchannel policy serial=9 expires=2027-02-21T00:00:00Z"},
        [TRUST_ROLE_CATALOGUE] = {catalogue, "onchannel catalogue version=v1 serial=9"},
        [TRUST_ROLE_EXEMPTION] = {exemption, "onchannel exemption id=EX-1 until=2026-12-21T00:00:00Z"},
};

struct file { /* what is delivered; minisig NULL: none */
        char *text, *minisig;
        size_t size, minisig_size;
};

static void file_done(struct file *f)
{
        free(f->text);
        free(f->minisig);
}

static void sign(struct file *f, enum trust_role role, enum who who, const char *comment)
{
        free(TAKE_PTR(f->minisig));
        assert_int_equal(trust_sign(&w.secret[role][who], f->text, f->size, comment, &f->minisig), 0);
        f->minisig_size = strlen(f->minisig);
}

static struct file file_of(enum trust_role role, const char *text)
{
        struct file f = {.text = strdup(text), .size = strlen(text)};

        assert_non_null(f.text);
        sign(&f, role, OURS, valid[role].comment);
        return f;
}

/* As it would be taken or refused now. */
static int deliver(enum trust_role role, const struct file *f, time_t clock, struct diag *d)
{
        static const char *const names[] = {[TRUST_ROLE_POLICY] = "state/incoming/policy.ini",
                                            [TRUST_ROLE_CATALOGUE] = "state/incoming/catalogue.ini"};
        const struct trust_file t = {"exemption", f->text, f->size, f->minisig ? f->minisig : "", f->minisig_size};
        const struct term_clock c = {store_time(w.store, clock), 100};
        _cleanup_free_ char *name = NULL, *path = NULL;
        struct trust_ring ring;
        struct stored *s = NULL;
        int r;

        if (role == TRUST_ROLE_EXEMPTION) {
                keyring_now(&w.store->keyring, &ring);
                return exemptions_take(w.exemptions, &ring, &t, &c, d);
        }
        name = format_new("%s.minisig", names[role]);
        path = path_in(name);
        if (f->minisig)
                put(name, f->minisig, f->minisig_size);
        else
                unlink(path);
        put(names[role], f->text, f->size);
        r = store_read_incoming(w.store, role == TRUST_ROLE_POLICY ? STORE_POLICY : STORE_CATALOGUE, clock, &s, d);
        stored_free(s);
        return r;
}

static void refused(const char *what, enum trust_role role, const struct file *f, time_t clock, const char *says)
{
        struct diag d = {0};
        int r = deliver(role, f, clock, &d);

        if (r >= 0 || !*d.text || !strstr(d.text, says))
                fail_msg("%s, %s: %d '%s' does not say '%s'", trust_role_to_string(role), what, r, d.text, says);
        printf("%3u %-9s %-40s %s\n", ++w.refused, trust_role_to_string(role), what, d.text);
}

/* ---- the world ---- */

static void make_key(enum trust_role role, enum who who, const char *file)
{
        _cleanup_free_ char *secret = NULL, *public = NULL;

        assert_int_equal(trust_key_new(NULL, TRUST_COST_OFFLINE, &secret, &public), 0);
        assert_int_equal(trust_secret_parse(secret, strlen(secret), "k", NULL, &w.secret[role][who], NULL), 0);
        if (file)
                put(file, public, strlen(public));
}

static void make_keys(void)
{
        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++) {
                static const char *const suffixes[_WHO_MAX] = {[OURS] = "", [REVOKED] = "2", [EXPIRED] = "3"};

                for (enum who who = 0; who < _WHO_MAX; who++) {
                        _cleanup_free_ char *file = format_new("keys/%s%s.pub", trust_role_to_string(role),
                                                               suffixes[who] ? suffixes[who] : "");

                        if (who != OTHER_ROLE)
                                make_key(role, who, suffixes[who] ? file : NULL);
                }
        }
        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++)
                w.secret[role][OTHER_ROLE] = w.secret[(role + 1) % _TRUST_ROLE_MAX][OURS];
}

/* Policy 8 is in force; it has revoked the keys that are to be revoked and expired. */
static void accept_policy(void)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_(file_done) struct file f = {0};
        struct stored *s = NULL;
        char revoke[_TRUST_ROLE_MAX][2 * 64 + 64];

        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++) {
                char revoked[TRUST_KEY_ID_TEXT], expired[TRUST_KEY_ID_TEXT];

                trust_key_id_format(w.secret[role][REVOKED].id, revoked);
                trust_key_id_format(w.secret[role][EXPIRED].id, expired);
                snprintf(revoke[role], sizeof(revoke[role]),
                         "revoke_key = %s\nrevoke_key = %s 2026-11-01T00:00:00Z\n", revoked, expired);
        }
        text = format_new("[policy]\nformat = 1\norganisation = Test\nserial = 8\nnot_before = 2026-11-01T00:00:00Z\n"
                          "expires = 2027-02-21T00:00:00Z\n[trust]\n%s%s%s",
                          revoke[0], revoke[1], revoke[2]);
        f = (struct file){.text = strdup(text), .size = strlen(text)};
        sign(&f, TRUST_ROLE_POLICY, OURS,
             "onchannel policy serial=8 expires=2027-02-21T00:00:00Z signed=2026-11-20T12:00:00Z");
        put("state/incoming/policy.ini.minisig", f.minisig, f.minisig_size);
        put("state/incoming/policy.ini", f.text, f.size);
        assert_int_equal(store_read_incoming(w.store, STORE_POLICY, NOW, &s, NULL), 0);
        assert_int_equal(store_commit(w.store, s), 0);
}

static int setup(void **state)
{
        static const char *const folders[] = {"keys", "state/policy", "state/catalogue", "state/incoming", "folder"};
        _cleanup_free_ char *state_dir = NULL, *keys = NULL, *installed = NULL;
        struct store_options o = {.built = 1790000000};
        struct exemptions_options x = {.device_name = "ws-1", .device_id = DEVICE, .boot_id = "boot"};
        struct stored *c;

        strcpy(w.dir, "/tmp/hostile-XXXXXX");
        assert_non_null(mkdtemp(w.dir));
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = path_in(folders[i]);

                assert_int_equal(dir_make(path, 0700), 0);
        }
        make_keys();
        _cleanup_(file_done) struct file f = file_of(TRUST_ROLE_CATALOGUE, catalogue);
        *strchr(strstr(f.text, "serial"), '9') = '8';
        sign(&f, TRUST_ROLE_CATALOGUE, OURS, "onchannel catalogue version=v1 serial=8");
        put("catalogue.ini", f.text, f.size);
        put("catalogue.ini.minisig", f.minisig, f.minisig_size);
        o.state_dir = x.state_dir = state_dir = path_in("state");
        o.keys_dir = keys = path_in("keys");
        o.catalogue = installed = path_in("catalogue.ini");
        assert_int_equal(store_new(&o, &w.store, NULL), 0);
        assert_int_equal(store_load_catalogue(w.store, &c, NULL), 0);
        assert_int_equal(exemptions_new(&x, &w.exemptions, NULL), 0);
        accept_policy();
        return 0;
}

static int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -r '%s'", w.dir);

        store_free(w.store);
        exemptions_free(w.exemptions);
        return system(command);
}

/* ---- bytes ---- */

static void edit(struct file *f, size_t at, const char *insert, size_t n, size_t drop)
{
        char *text = malloc(f->size + n + 1);

        assert_non_null(text);
        memcpy(text, f->text, at);
        memcpy(text + at, insert, n);
        memcpy(text + at + n, f->text + at + drop, f->size - at - drop);
        f->size = f->size + n - drop;
        text[f->size] = 0;
        free(f->text);
        f->text = text;
}

static void test_bytes(void **state)
{
        static const struct {
                const char *what, *insert;
                size_t n;
                int at, drop; /* at: percent of the file; drop: -1 the rest */
        } table[] = {
                {"first byte edited", "(", 1, 0, 1},
                {"a byte in the middle edited", "~", 1, 50, 1},
                {"last byte edited", ";", 1, 99, 1},
                {"last byte cut off", "", 0, 99, -1},
                {"half of it", "", 0, 50, -1},
                {"nothing of it", "", 0, 0, -1},
                {"a newline behind it", "\n", 1, 100, 0},
                {"a section behind it", "\n[x]\n", 5, 100, 0},
                {"a NUL in it", "\0", 1, 30, 0},
                {"a carriage return", "\r", 1, 20, 0},
                {"a byte order mark", "\xef\xbb\xbf", 3, 0, 0},
                {"a comment in front", "; x\n", 4, 0, 0},
        };

        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++)
                for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                        _cleanup_(file_done) struct file f = file_of(role, valid[role].text);
                        size_t at = f.size * (size_t)table[i].at / 100;

                        edit(&f, at, table[i].insert, table[i].n,
                             table[i].drop < 0 ? f.size - at : (size_t)table[i].drop);
                        refused(table[i].what, role, &f, NOW, "is wrong: file or comment was changed");
                }
}

static void test_every_byte(void **state)
{
        _cleanup_(file_done) struct file f = file_of(TRUST_ROLE_POLICY, policy);

        for (size_t i = 0; i < f.size; i++) {
                struct diag d = {0};

                f.text[i] ^= (char)(1 << i % 8);
                assert_int_equal(deliver(TRUST_ROLE_POLICY, &f, NOW, &d), -EKEYREJECTED);
                f.text[i] ^= (char)(1 << i % 8);
        }
        printf("%3u %-9s every one of %zu bytes flipped in turn\n", ++w.refused, "policy", f.size);
}

/* ---- signatures ---- */

static void replace(struct file *f, const char *from, const char *to)
{
        char *at = strstr(f->minisig, from), *text;

        assert_non_null(at);
        text = format_new("%.*s%s%s", (int)(at - f->minisig), f->minisig, to, at + strlen(from));
        free(f->minisig);
        f->minisig = text;
        f->minisig_size = strlen(text);
}

static void test_signers(void **state)
{
        static const struct {
                enum who who;
                const char *what, *says;
        } table[] = {
                {OTHER_ROLE, "signed by a key of another role", "key but a"},
                {OTHER_ORGANISATION, "of another organisation", "which is not trusted here"},
                {REVOKED, "signed by a revoked key", "which is revoked"},
                {EXPIRED, "signed by an expired key", "which is revoked"},
        };

        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++)
                for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                        _cleanup_(file_done) struct file f = file_of(role, valid[role].text);

                        sign(&f, role, table[i].who, valid[role].comment);
                        refused(table[i].what, role, &f, NOW, table[i].says);
                        refused(table[i].what, role, &f, IN_1990, table[i].says); /* no clock brings it back */
                }
}

static void test_signatures(void **state)
{
        static const char large[TRUST_SIGNATURE_MAX_BYTES + 8] = "untrusted comment: ";

        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++) {
                _cleanup_(file_done) struct file f = file_of(role, valid[role].text),
                                                 other = file_of(role, "other\n");
                _cleanup_free_ char *five = NULL, *whole = strdup(f.minisig);

                refused("the signature of another file", role,
                        &(struct file){f.text, other.minisig, f.size, other.minisig_size}, NOW, "is wrong");
                refused("another role's trusted comment", role, ({
                                sign(&other, role, OURS, valid[(role + 1) % _TRUST_ROLE_MAX].comment);
                                free(other.text);
                                other.text = strdup(f.text);
                                other.size = f.size;
                                sign(&other, role, OURS, valid[(role + 1) % _TRUST_ROLE_MAX].comment);
                                &other;
                        }),
                        NOW, "comment");
                replace(&f, "trusted comment: onchannel", "trusted comment: Onchannel");
                if (strstr(f.minisig, "untrusted comment: Onchannel") == NULL)
                        refused("trusted comment edited", role, &f, NOW, "is wrong");
                for (size_t n = 0; n < 3; n++) {
                        static const char *const what[] = {"signature empty", "signature cut in half",
                                                           "signature without its end"};
                        const size_t sizes[] = {0, strlen(whole) / 2, strlen(whole) - 40};
                        struct file cut = {f.text, whole, f.size, sizes[n]};
                        const char kept = whole[sizes[n]];

                        whole[sizes[n]] = 0;
                        refused(what[n], role, &cut, NOW, "");
                        whole[sizes[n]] = kept;
                }
                five = format_new("%s%s%s%s%s", whole, whole, whole, whole, whole);
                refused("five signatures", role, &(struct file){f.text, five, f.size, strlen(five)}, NOW, "");
                refused("a signature of 2 kB", role, &(struct file){f.text, (char *)large, f.size, sizeof(large)},
                        NOW, "");
        }
        _cleanup_(file_done) struct file unsigned_file = file_of(TRUST_ROLE_POLICY, policy);
        free(TAKE_PTR(unsigned_file.minisig));
        refused("not signed", TRUST_ROLE_POLICY, &unsigned_file, NOW, "not signed");
}

/* ---- rightly signed, and still not to be taken ---- */

static void test_signed(void **state)
{
#define HEAD(serial, begin)                                                                                          \
        "[policy]\nformat = 1\norganisation = Test\nserial = " serial "\nnot_before = " begin                        \
        "\nexpires = 2127-02-21T00:00:00Z\n"
#define P9       HEAD("9", "2026-11-21T00:00:00Z")
#define COMMENT9 "onchannel policy serial=9 expires=2127-02-21T00:00:00Z"
#define EX(rest) "[exemption]\nformat = 1\nid = EX-9\nchannel = x\n" rest "reason = r\napprover = a\n"
#define EX9      "onchannel exemption id=EX-9 until=2026-12-21T00:00:00Z"
#define TERM     "from = 2026-11-20T00:00:00Z\nuntil = 2026-12-21T00:00:00Z\n"
        static const struct {
                const char *what;
                enum trust_role role;
                const char *text, *comment;
                time_t clock;
                const char *says;
        } table[] = {
                {"replayed, an older serial", TRUST_ROLE_POLICY, HEAD("7", "2026-11-21T00:00:00Z"),
                 "onchannel policy serial=7 expires=2127-02-21T00:00:00Z", NOW, "older than 8"},
                {"the same serial, other contents", TRUST_ROLE_POLICY, HEAD("8", "2026-11-21T00:00:00Z"),
                 "onchannel policy serial=8 expires=2127-02-21T00:00:00Z", NOW, "with other contents"},
                {"serial 0", TRUST_ROLE_POLICY, HEAD("0", "2026-11-21T00:00:00Z"),
                 "onchannel policy serial=0 expires=2127-02-21T00:00:00Z", NOW, "older than 8"},
                {"the comment has another serial", TRUST_ROLE_POLICY, P9,
                 "onchannel policy serial=10 expires=2127-02-21T00:00:00Z", NOW, "does not agree"},
                {"the comment has another end", TRUST_ROLE_POLICY, P9,
                 "onchannel policy serial=9 expires=2128-02-21T00:00:00Z", NOW, "does not agree"},
                {"for next year", TRUST_ROLE_POLICY, HEAD("9", "2027-11-21T00:00:00Z"), COMMENT9, NOW,
                 "not to be used before"},
                {"for next year, the clock in 1990", TRUST_ROLE_POLICY, HEAD("9", "2027-11-21T00:00:00Z"), COMMENT9,
                 IN_1990, "not to be used before"},
                {"for 2101, the clock in 2100", TRUST_ROLE_POLICY, HEAD("9", "2101-11-21T00:00:00Z"), COMMENT9,
                 IN_2100, "not to be used before"},
                {"signed when it had expired", TRUST_ROLE_POLICY, P9, COMMENT9 " signed=2128-01-01T00:00:00Z", NOW,
                 "signed after it expires"},
                {"after which nobody could sign", TRUST_ROLE_POLICY, P9 "[trust]\npolicy_signatures = 4\n", COMMENT9,
                 NOW, "nobody could sign the next policy"},
                {"an unknown key", TRUST_ROLE_POLICY, P9 "colour = blue\n", COMMENT9, NOW, "unknown key 'colour'"},
                {"an unknown section", TRUST_ROLE_POLICY, P9 "[extra]\n", COMMENT9, NOW, "unknown section"},
                {"no UTF-8", TRUST_ROLE_POLICY, P9 "notice = \xc0\xaf\n", COMMENT9, NOW, "UTF-8"},
                {"a terminal's escape", TRUST_ROLE_POLICY, P9 "notice = \x1b[2J\n", COMMENT9, NOW, ""},
                {"a catalogue in its place", TRUST_ROLE_POLICY, catalogue, COMMENT9, NOW, "unknown section"},
                {"an older catalogue", TRUST_ROLE_CATALOGUE, "[catalogue]\nformat = 1\nversion = v0\nserial = 3\n",
                 "onchannel catalogue version=v0 serial=3", NOW, "older than 8"},
                {"a policy in its place", TRUST_ROLE_CATALOGUE, P9, "onchannel catalogue version=v2 serial=10", NOW,
                 ""},
                {"for another device", TRUST_ROLE_EXEMPTION, EX("device = pc-*\n" TERM), EX9, NOW, "another device"},
                {"for everyone everywhere", TRUST_ROLE_EXEMPTION, EX(TERM), EX9, NOW, "without 'device'"},
                {"for two years", TRUST_ROLE_EXEMPTION,
                 EX("user = anna\nfrom = 2026-11-20T00:00:00Z\nuntil = 2028-12-21T00:00:00Z\n"), EX9, NOW,
                 "longer than 366 days"},
                {"the comment has another end", TRUST_ROLE_EXEMPTION, EX("user = anna\n" TERM),
                 "onchannel exemption id=EX-9 until=2027-12-21T00:00:00Z", NOW, "does not agree"},
                {"signed after its end", TRUST_ROLE_EXEMPTION, EX("user = anna\n" TERM),
                 EX9 " signed=2027-01-01T00:00:00Z", NOW, "signed after its end"},
                {"a path for an id", TRUST_ROLE_EXEMPTION, "[exemption]\nformat = 1\nid = ../../etc/x\n", EX9, NOW,
                 "is no id"},
                {"break-glass for another device", TRUST_ROLE_EXEMPTION,
                 "[break-glass]\nformat = 1\nid = BG-1\ndevice = d-other\nfrom = 2026-11-20T00:00:00Z\nuntil = "
                 "2026-11-22T00:00:00Z\nreason = r\napprover = a\n",
                 "onchannel break-glass id=BG-1 until=2026-11-22T00:00:00Z", NOW, "another device"},
                {"break-glass for all", TRUST_ROLE_EXEMPTION,
                 "[break-glass]\nformat = 1\nid = BG-1\ndevice = *\nfrom = 2026-11-20T00:00:00Z\nuntil = "
                 "2026-11-22T00:00:00Z\nreason = r\napprover = a\n",
                 "onchannel break-glass id=BG-1 until=2026-11-22T00:00:00Z", NOW, "another device"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(file_done) struct file f = file_of(table[i].role, table[i].text);

                sign(&f, table[i].role, OURS, table[i].comment);
                refused(table[i].what, table[i].role, &f, table[i].clock, table[i].says);
        }
}

/* Ended, revoked: the same file again, whatever the clock says. */
static void test_ended(void **state)
{
        _cleanup_(file_done) struct file f = file_of(TRUST_ROLE_EXEMPTION, exemption);
        struct diag d = {0};

        assert_int_equal(deliver(TRUST_ROLE_EXEMPTION, &f, NOW, &d), 0);
        refused("held already", TRUST_ROLE_EXEMPTION, &f, NOW, "held already");
        assert_true(exemptions_update(w.exemptions, &(struct term_clock){NOW, 100}));
        assert_int_equal(w.exemptions->n, 1);
        assert_true(exemptions_update(w.exemptions, &(struct term_clock){IN_2100, 101}));
        assert_int_equal(w.exemptions->n, 0);
        refused("replayed after its end", TRUST_ROLE_EXEMPTION, &f, NOW, "has ended or was revoked");
        refused("replayed, the clock in 1990", TRUST_ROLE_EXEMPTION, &f, IN_1990, "has ended or was revoked");
        assert_int_equal(exemptions_save(w.exemptions), 0);
        exemptions_revoke(w.exemptions, "EX-9", &(struct term_clock){NOW, 100});
        free(f.text);
        f.text = strdup(EX("user = anna\n" TERM));
        f.size = strlen(f.text);
        sign(&f, TRUST_ROLE_EXEMPTION, OURS, EX9);
        refused("revoked before it came", TRUST_ROLE_EXEMPTION, &f, NOW, "has ended or was revoked");
}

/* ---- size ---- */

static char last_reason[DIAG_TEXT_MAX];

static void remember(const struct diag *d, void *userdata)
{
        strcpy(last_reason, d->text);
}

static void grow(const char *name, off_t size)
{
        _cleanup_free_ char *path = path_in(name);

        put(name, "[policy]\n", 9);
        assert_int_equal(truncate(path, size), 0);
}

static void test_size(void **state)
{
        _cleanup_free_ char *folder = path_in("folder");
        const struct term_clock c = {NOW, 100};
        struct trust_ring ring;
        struct stored *s = NULL;

        grow("state/incoming/policy.ini", 1 << 30);
        grow("state/incoming/catalogue.ini", 1 << 30);
        grow("folder/x.ini", 1 << 30);
        for (enum store_role role = 0; role < _STORE_ROLE_MAX; role++) {
                struct diag d = {0};

                assert_int_equal(store_read_incoming(w.store, role, NOW, &s, &d), -EFBIG);
                printf("%3u %-9s %-40s %s\n", ++w.refused, store_role_to_string(role), "1 GiB", d.text);
        }
        keyring_now(&w.store->keyring, &ring);
        exemptions_take_folder(w.exemptions, folder, &ring, &c, remember);
        assert_non_null(strstr(last_reason, "larger than"));
        printf("%3u %-9s %-40s %s\n", ++w.refused, "exemption", "1 GiB", last_reason);
}

/* Rightly signed, so that only its size speaks against it. */
static void test_lines(void **state)
{
        enum { LINES = 10000000 };

        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++) {
                struct file f = {.size = strlen(valid[role].text) + LINES};

                f.text = malloc(f.size + 1);
                assert_non_null(f.text);
                strcpy(f.text, valid[role].text);
                memset(f.text + strlen(valid[role].text), '\n', LINES);
                f.text[f.size] = 0;
                sign(&f, role, OURS,
                     role == TRUST_ROLE_CATALOGUE ? "onchannel catalogue version=v2 serial=10" : valid[role].comment);
                refused("10 million lines", role, &f, NOW, "");
                file_done(&f);
        }
}

static void test_count(void **state)
{
        printf("%u hostile files, none accepted\n", w.refused);
        assert_true(w.refused >= 60);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bytes),      cmocka_unit_test(test_every_byte), cmocka_unit_test(test_signers),
                cmocka_unit_test(test_signatures), cmocka_unit_test(test_signed),     cmocka_unit_test(test_ended),
                cmocka_unit_test(test_size),       cmocka_unit_test(test_lines),      cmocka_unit_test(test_count),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
