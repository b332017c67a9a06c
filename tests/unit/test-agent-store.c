/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "agent/state/store.h"
#include "base/cleanup.h"
#include "base/io.h"

#define NOW 1795219200 /* 2026-11-21T00:00:00Z */

struct world {
        char dir[32];
        char *state, *keys, *installed;
        struct trust_secret secret[_STORE_ROLE_MAX];
};

static char *path_in(const struct world *w, const char *name)
{
        char *p = format_new("%s/%s", w->dir, name);

        assert_non_null(p);
        return p;
}

static void put(const struct world *w, const char *name, const char *text)
{
        _cleanup_free_ char *path = path_in(w, name);

        assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
}

static void put_signed(const struct world *w, const char *name, const char *text, const char *comment,
                       const struct trust_secret *secret)
{
        _cleanup_free_ char *minisig = NULL, *signature_name = format_new("%s.minisig", name);

        assert_int_equal(trust_sign(secret, text, strlen(text), comment, &minisig), 0);
        put(w, signature_name, minisig);
        put(w, name, text);
}

static char *policy_text(unsigned serial, const char *extra)
{
        return format_new(
                "[policy]\nformat = 1\norganisation = Test\nserial = %u\nnot_before = 2026-11-21T00:00:00Z\n"
                "expires = 2027-02-21T00:00:00Z\nmode = enforce\nunlisted = block\nbypass = block\n"
                "quic = inspect\nprograms = block\nnotice = no\n%s",
                serial, extra);
}

static void put_policy(const struct world *w, const char *name, unsigned serial, const char *extra)
{
        _cleanup_free_ char *text = policy_text(serial, extra);
        _cleanup_free_ char *comment = format_new("onchannel policy serial=%u expires=2027-02-21T00:00:00Z", serial);

        put_signed(w, name, text, comment, &w->secret[STORE_POLICY]);
}

static void put_catalogue_as(const struct world *w, const char *name, unsigned serial, const char *version)
{
        static const char channel[] =
                "[channel]\nid = x\nname = X\nvendor = V\ncategory = messenger\n"
                "homepage = https://x.example\nchecked = 2026-11-21\nsource = https://x.example\n"
                "[names]\nsuffix = x.example\n";
        const struct catalogue_source source = {"x.ini", channel, strlen(channel)};
        _cleanup_free_ char *text = NULL, *comment = NULL;
        struct diag d = {0};
        size_t size;

        if (catalogue_build(&source, 1, "v1", serial, &text, &size, &d) < 0)
                fail_msg("%u: %s", d.line, d.text);
        comment = format_new("onchannel catalogue version=%s serial=%u", version, serial);
        put_signed(w, name, text, comment, &w->secret[STORE_CATALOGUE]);
}

static void put_catalogue(const struct world *w, const char *name, unsigned serial)
{
        put_catalogue_as(w, name, serial, "v1");
}

static void make_key(const struct world *w, enum store_role role, struct trust_secret *ret)
{
        _cleanup_free_ char *secret = NULL, *public = NULL,
                            *name = format_new("keys/%s.pub", store_role_to_string(role));

        assert_int_equal(trust_key_new(NULL, TRUST_COST_OFFLINE, &secret, &public), 0);
        assert_int_equal(trust_secret_parse(secret, strlen(secret), "k", NULL, ret, NULL), 0);
        put(w, name, public);
}

static int setup(void **state)
{
        static const char *const folders[] = {"keys", "state/policy", "state/catalogue", "state/incoming"};
        struct world *w = calloc(1, sizeof(*w));

        strcpy(w->dir, "/tmp/store-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = path_in(w, folders[i]);

                assert_int_equal(dir_make(path, 0700), 0);
        }
        for (enum store_role r = 0; r < _STORE_ROLE_MAX; r++)
                make_key(w, r, &w->secret[r]);
        w->state = path_in(w, "state");
        w->keys = path_in(w, "keys");
        w->installed = path_in(w, "catalogue.ini");
        put_catalogue(w, "catalogue.ini", 5);
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;
        char command[64];

        snprintf(command, sizeof(command), "rm -r '%s'", w->dir);
        assert_int_equal(system(command), 0);
        free(w->state);
        free(w->keys);
        free(w->installed);
        free(w);
        return 0;
}

static struct store *open_store(const struct world *w)
{
        struct store_options o = {.state_dir = w->state, .keys_dir = w->keys, .catalogue = w->installed};
        struct store *s = NULL;

        assert_int_equal(store_new(&o, &s, NULL), 0);
        return s;
}

static void accept_incoming(struct store *s, enum store_role role)
{
        struct stored *c = NULL;

        assert_int_equal(store_read_incoming(s, role, NOW, &c, NULL), 0);
        assert_int_equal(store_commit(s, c), 0);
}

static void refuse_incoming(struct store *s, enum store_role role, int r, const char *says)
{
        struct stored *c = NULL;
        struct diag d = {0};

        assert_int_equal(store_read_incoming(s, role, NOW, &c, &d), r);
        assert_null(c);
        if (!strstr(d.text, says))
                fail_msg("'%s' does not say '%s'", d.text, says);
}

static void test_life(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w), *again = NULL;
        struct stored *c;

        assert_int_equal(store_load_policy(s, &c, NULL), -ENOENT);
        assert_int_equal(store_read_incoming(s, STORE_POLICY, NOW, &c, NULL), -ENOENT);
        put_policy(w, "state/incoming/policy.ini", 2, "");
        accept_incoming(s, STORE_POLICY);
        assert_int_equal(s->policy_serial, 2);
        refuse_incoming(s, STORE_POLICY, -EALREADY, "already in force");
        put_policy(w, "state/incoming/policy.ini", 1, "");
        refuse_incoming(s, STORE_POLICY, -ESTALE, "older than 2");
        put_policy(w, "state/incoming/policy.ini", 2, "help = https://other.example\n");
        refuse_incoming(s, STORE_POLICY, -ESTALE, "with other contents");
        put_policy(w, "state/incoming/policy.ini", 3, "");
        accept_incoming(s, STORE_POLICY);

        again = open_store(w);
        assert_int_equal(store_load_policy(again, &c, NULL), 0);
        assert_int_equal(c->serial, 3);
        assert_string_equal(c->hash, s->policy->hash);
}

static void test_refused(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w);
        _cleanup_free_ char *text = policy_text(9, ""), *long_line = format_new("help = %0200d\n", 1);

        put_policy(w, "state/incoming/policy.ini", 9, "");
        put(w, "state/incoming/policy.ini", "[policy]\n");
        refuse_incoming(s, STORE_POLICY, -EKEYREJECTED, "wrong");
        put_signed(w, "state/incoming/policy.ini", text, "onchannel policy serial=9 expires=2027-02-21T00:00:00Z",
                   &w->secret[STORE_CATALOGUE]);
        refuse_incoming(s, STORE_POLICY, -ENOKEY, "which is no policy key but a catalogue key");
        put_signed(w, "state/incoming/policy.ini", text, "onchannel policy serial=8 expires=2027-02-21T00:00:00Z",
                   &w->secret[STORE_POLICY]);
        refuse_incoming(s, STORE_POLICY, -EBADMSG, "");
        put_signed(w, "state/incoming/policy.ini", text, "onchannel catalogue version=v1 serial=9",
                   &w->secret[STORE_POLICY]);
        refuse_incoming(s, STORE_POLICY, -EBADMSG, "is not that of a policy");
        put_policy(w, "state/incoming/policy.ini", 9, long_line);
        refuse_incoming(s, STORE_POLICY, -EBADMSG, "longer than");
        put_policy(w, "state/incoming/policy.ini", 9, "nonsense = 1\n");
        refuse_incoming(s, STORE_POLICY, -EBADMSG, "nonsense");
        assert_int_equal(s->policy_serial, 0);
        assert_null(s->policy);
}

static void test_not_before(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w);
        struct stored *c = NULL;

        put_policy(w, "state/incoming/policy.ini", 9, "");
        assert_int_equal(store_read_incoming(s, STORE_POLICY, NOW - 1, &c, NULL), -ETIME);
        accept_incoming(s, STORE_POLICY);
}

static void test_links_and_size(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w);
        _cleanup_free_ char *link_minisig = path_in(w, "state/incoming/policy.ini.minisig");
        _cleanup_free_ char *link = path_in(w, "state/incoming/policy.ini"),
                            *big = path_in(w, "state/incoming/catalogue.ini");
        struct stored *c = NULL;

        put_policy(w, "elsewhere.ini", 9, "");
        assert_int_equal(symlink("../../elsewhere.ini", link), 0);
        assert_int_equal(symlink("../../elsewhere.ini.minisig", link_minisig), 0);
        assert_int_equal(store_read_incoming(s, STORE_POLICY, NOW, &c, NULL), -ELOOP);
        put(w, "state/incoming/catalogue.ini", "");
        assert_int_equal(truncate(big, CATALOGUE_MAX_BYTES + 1), 0);
        refuse_incoming(s, STORE_CATALOGUE, -EFBIG, "larger than");
}

/* Cut off between the two renames of a commit: the new signature, the old file, next.ini. */
static void test_crash_between_files(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w), *again = NULL;
        struct stored *c;

        put_policy(w, "state/incoming/policy.ini", 2, "");
        accept_incoming(s, STORE_POLICY);
        put_policy(w, "state/policy/next.ini", 3, "");
        {
                _cleanup_free_ char *from = path_in(w, "state/policy/next.ini.minisig");
                _cleanup_free_ char *to = path_in(w, "state/policy/current.ini.minisig");

                assert_int_equal(rename(from, to), 0);
        }
        again = open_store(w);
        assert_int_equal(store_load_policy(again, &c, NULL), 0);
        assert_int_equal(c->serial, 3);
        assert_int_equal(again->policy_serial, 3);
        store_free(again);
        again = open_store(w);
        assert_int_equal(again->policy_serial, 3);
        assert_int_equal(store_load_policy(again, &c, NULL), 0);
        assert_int_equal(c->serial, 3);
}

static void test_lost_policy(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w);
        struct stored *c;

        put(w, "state/policy/serial", "7\n");
        s = store_free(s);
        s = open_store(w);
        assert_int_equal(store_load_policy(s, &c, NULL), -ENODATA);
        put_policy(w, "state/policy/current.ini", 6, "");
        assert_int_equal(store_load_policy(s, &c, NULL), -ESTALE);
        put_policy(w, "state/policy/current.ini", 7, "");
        assert_int_equal(store_load_policy(s, &c, NULL), 0);
}

static void test_catalogue(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w), *newer = NULL, *damaged = NULL;
        struct diag d = {0};
        struct stored *c;

        assert_int_equal(store_load_catalogue(s, &c, &d), 0);
        assert_int_equal(c->serial, 5);
        assert_int_equal(*d.text, 0);
        put_catalogue(w, "state/incoming/catalogue.ini", 4);
        refuse_incoming(s, STORE_CATALOGUE, -ESTALE, "older than 5");
        put_catalogue_as(w, "state/incoming/catalogue.ini", 6, "v2");
        refuse_incoming(s, STORE_CATALOGUE, -EBADMSG, "trusted comment");
        put_catalogue(w, "state/incoming/catalogue.ini", 6);
        accept_incoming(s, STORE_CATALOGUE);

        newer = open_store(w);
        assert_int_equal(store_load_catalogue(newer, &c, &d), 0);
        assert_int_equal(c->serial, 6);
        put(w, "state/catalogue/current.ini", "[catalogue]\n");
        damaged = open_store(w);
        assert_int_equal(store_load_catalogue(damaged, &c, &d), 0);
        assert_int_equal(c->serial, 5);
        assert_true(*d.text);
}

/* Whoever removes the newer catalogue gets the package's, which is said, and no other old one. */
static void test_catalogue_removed(void **state)
{
        struct world *w = *state;
        _cleanup_store_ struct store *s = open_store(w), *after = NULL;
        _cleanup_free_ char *current = path_in(w, "state/catalogue/current.ini");
        struct diag d = {0};
        struct stored *c;

        assert_int_equal(store_load_catalogue(s, &c, &d), 0);
        put_catalogue(w, "state/incoming/catalogue.ini", 9);
        accept_incoming(s, STORE_CATALOGUE);
        assert_int_equal(unlink(current), 0);
        after = open_store(w);
        assert_int_equal(store_load_catalogue(after, &c, &d), 0);
        assert_int_equal(c->serial, 5);
        assert_non_null(strstr(d.text, "serial 5 is used, although 9 was in force before"));
        put_catalogue(w, "state/incoming/catalogue.ini", 8);
        refuse_incoming(after, STORE_CATALOGUE, -ESTALE, "older than 9");
        put_catalogue(w, "state/incoming/catalogue.ini", 9);
        accept_incoming(after, STORE_CATALOGUE);
}

static void test_no_keys(void **state)
{
        struct world *w = *state;
        _cleanup_free_ char *key = path_in(w, "keys/policy.pub");
        _cleanup_store_ struct store *s = NULL;

        unlink(key);
        s = open_store(w);
        put_policy(w, "state/incoming/policy.ini", 2, "");
        refuse_incoming(s, STORE_POLICY, -ENOKEY, "policy.pub");
}

#define OWN(id)                                                                                                      \
        "[file]\nname = chat.ini\n[channel]\nid = " id "\nname = Chat\ncategory = workplace\n"                       \
        "homepage = https://chat.example\nchecked = 2026-11-21\nsource = https://chat.example\n"                     \
        "[names]\nsuffix = chat.example\n"

/* Own channels are under the policy's signature and come back after a restart. */
static void test_own_channels(void **state)
{
        struct world *w = *state;
        struct stored *p = NULL;
        struct store *s;

        s = open_store(w);
        put_policy(w, "state/incoming/policy.ini", 3, OWN("talk"));
        refuse_incoming(s, STORE_POLICY, -EBADMSG, "id 'talk' must be the file's base name");
        put_policy(w, "state/incoming/policy.ini", 3, OWN("chat"));
        accept_incoming(s, STORE_POLICY);
        assert_string_equal(s->policy->own->channels[0].id, "chat");
        store_free(s);
        s = open_store(w);
        assert_int_equal(store_load_policy(s, &p, NULL), 0);
        assert_string_equal(p->own->channels[0].file, "policy/chat.ini");
        store_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_life, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_not_before, setup, teardown),
                cmocka_unit_test_setup_teardown(test_links_and_size, setup, teardown),
                cmocka_unit_test_setup_teardown(test_crash_between_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lost_policy, setup, teardown),
                cmocka_unit_test_setup_teardown(test_catalogue, setup, teardown),
                cmocka_unit_test_setup_teardown(test_catalogue_removed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_keys, setup, teardown),
                cmocka_unit_test_setup_teardown(test_own_channels, setup, teardown),
        };

        if (sodium_init() < 0)
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
