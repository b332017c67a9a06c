/* SPDX-License-Identifier: GPL-3.0-or-later */
/* token, user, device: what an administrator does beside the running server. */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "collector/command.h"

#define TOKEN_SIZE        20
#define PASSWORD_SIZE     12 /* bytes of a made password, before hex */
#define PASSWORD_MIN      8
#define PASSWORD_FILE_MAX 4096
#define USES_MAX          100000
#define HOURS_MAX         (366 * 24)

uint64_t now_ms(void)
{
        return (uint64_t)time(NULL) * 1000;
}

int collector_open(const char *dir, struct config *ret_config, struct store **ret)
{
        struct diag d = {0};
        int r = config_load(dir, ret_config, &d);

        if (r == 0)
                r = store_open(ret_config->store, 0, ret, &d);
        return r < 0 ? fail(&d) : EXIT_SUCCESS;
}

int audit(struct store *s, const char *action, const char *detail)
{
        int r = store_audit_add(s, &(struct store_audit){now_ms(), "command line", action, detail});

        if (r == 0)
                r = store_commit(s);
        return r < 0 ? fail_with("the database does not take it: %s", strerror(-r)) : EXIT_SUCCESS;
}

/* ---- users ---- */

static int password_read(const char *file, char **ret)
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = file_read(file, PASSWORD_FILE_MAX, &text, &size);

        if (r < 0)
                return fail_with("%s: cannot be read: %s", file, strerror(-r));
        text[strcspn(text, "\r\n")] = 0;
        if (strlen(text) < PASSWORD_MIN)
                return fail_with("%s: the password in its first line is shorter than %d bytes", file, PASSWORD_MIN);
        *ret = TAKE_PTR(text);
        return EXIT_SUCCESS;
}

static char *password_make(void)
{
        uint8_t bytes[PASSWORD_SIZE];
        char *text = malloc(2 * sizeof(bytes) + 1);

        randombytes_buf(bytes, sizeof(bytes));
        if (text)
                hex_encode(bytes, sizeof(bytes), text);
        return text;
}

int user_put(struct store *s, const struct store_user *u, const char *password_file, char **ret_password)
{
        _cleanup_free_ char *password = NULL;
        struct store_user user = *u;
        int r;

        if (password_file && password_read(password_file, &password) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (!password_file)
                password = password_make();
        _Static_assert(sizeof(user.password) >= crypto_pwhash_STRBYTES, "room for the hash");
        if (!password ||
            crypto_pwhash_str(user.password, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                              crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
                return fail_with("no memory");
        r = store_user_set(s, &user);
        if (r < 0)
                return fail_with("the database does not take it: %s", strerror(-r));
        if (!password_file)
                *ret_password = TAKE_PTR(password);
        return audit(s, "user", user.name);
}

static int user_print(const struct store_user *u, void *userdata)
{
        printf("%-8s %s\n", u->role, u->name);
        return 0;
}

static int user_list(struct store *s)
{
        int r = store_users(s, user_print, NULL);

        return r < 0 ? fail_with("the database does not take it: %s", strerror(-r)) : EXIT_SUCCESS;
}

static int user_remove(struct store *s, const char *name)
{
        char detail[STORE_NAME_MAX + 16];
        int r = store_user_remove(s, name);

        if (r == -ENOENT)
                return fail_with("there is no user '%s'", name);
        if (r < 0)
                return fail_with("the database does not take it: %s", strerror(-r));
        snprintf(detail, sizeof(detail), "%s removed", name);
        return audit(s, "user", detail);
}

static int user_add(struct store *s, const char *name, const char *role, const char *password_file)
{
        _cleanup_free_ char *password = NULL;
        struct store_user u = {0};

        if (!role || (strcmp(role, "auditor") != 0 && strcmp(role, "admin") != 0))
                return fail_usage("user: --role must be auditor or admin");
        if (!*name || strlen(name) >= sizeof(u.name))
                return fail_usage("a user's name has 1 to %zu bytes", sizeof(u.name) - 1);
        strcpy(u.name, name);
        strcpy(u.role, role);
        if (user_put(s, &u, password_file, &password) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (password)
                printf("%s\n", password);
        return EXIT_SUCCESS;
}

int command_user(int argc, char **argv)
{
        static const struct option options[] = {
                {"role", required_argument, NULL, 'r'},
                {"password-file", required_argument, NULL, 'f'},
                {0},
        };
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        const char *role = NULL, *file = NULL, *verb;
        int c, n;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'r')
                        role = optarg;
                else if (c == 'f')
                        file = optarg;
                else
                        return fail_usage("user does not take that");
        }
        n = argc - optind;
        verb = n >= 2 ? argv[optind + 1] : "";
        if (!(n == 2 && strcmp(verb, "list") == 0) &&
            !(n == 3 && (strcmp(verb, "add") == 0 || strcmp(verb, "remove") == 0)))
                return fail_usage("user needs DIR list, DIR add NAME or DIR remove NAME");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (strcmp(verb, "list") == 0)
                return user_list(s);
        if (strcmp(verb, "remove") == 0)
                return user_remove(s, argv[optind + 2]);
        return user_add(s, argv[optind + 2], role, file);
}

/* ---- token ---- */

static bool option_number(const char *text, uint64_t max, uint64_t *ret)
{
        return parse_u64(text, max, ret) == 0 && *ret > 0;
}

int command_token(int argc, char **argv)
{
        static const struct option options[] = {
                {"uses", required_argument, NULL, 'u'},
                {"hours", required_argument, NULL, 'h'},
                {"replaces", required_argument, NULL, 'r'},
                {0},
        };
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        uint8_t token[TOKEN_SIZE], hash[STORE_HASH_SIZE];
        char text[2 * TOKEN_SIZE + 1], detail[64 + STORE_NAME_MAX];
        const char *replaces = NULL;
        uint64_t uses = 1, hours = 24;
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'u' && !option_number(optarg, USES_MAX, &uses))
                        return fail_usage("--uses must be 1 to %d", USES_MAX);
                if (c == 'h' && !option_number(optarg, HOURS_MAX, &hours))
                        return fail_usage("--hours must be 1 to %d", HOURS_MAX);
                if (c == 'r' && (!*optarg || strlen(optarg) >= STORE_NAME_MAX))
                        return fail_usage("--replaces: a device's name");
                if (c == 'r')
                        replaces = optarg;
                if (c == '?')
                        return fail_usage("token does not take that");
        }
        if (optind + 1 != argc)
                return fail_usage("token needs one folder");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        randombytes_buf(token, sizeof(token));
        hex_encode(token, sizeof(token), text);
        crypto_hash_sha256(hash, (const uint8_t *)text, strlen(text));
        r = store_token_add(s, hash, (unsigned)uses, now_ms() + hours * 3600 * 1000);
        if (r == 0 && replaces)
                r = store_token_replaces(s, hash, replaces);
        if (r < 0)
                return fail_with("the database does not take it: %s", strerror(-r));
        snprintf(detail, sizeof(detail), "uses %llu, hours %llu%s%s", (unsigned long long)uses,
                 (unsigned long long)hours, replaces ? ", replaces " : "", replaces ?: "");
        if (audit(s, "token", detail) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        printf("%s\n", text);
        return EXIT_SUCCESS;
}

/* ---- devices ---- */

static int device_print(const struct store_device *d, void *userdata)
{
        char seen[TIME_TEXT_MAX];

        printf("%s  %-24s  records %-10llu  last seen %s\n", d->id, d->name, (unsigned long long)d->next_seq - 1,
               time_format((time_t)(d->last_seen_ms / 1000), seen));
        return 0;
}

int command_device(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        bool list = argc == 3 && strcmp(argv[2], "list") == 0;
        bool revoke = argc == 4 && strcmp(argv[2], "revoke") == 0;
        int r;

        if (!list && !revoke && (argc != 4 || strcmp(argv[2], "retire") != 0))
                return fail_usage("device needs DIR list, DIR retire DEVICE or DIR revoke DEVICE");
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        r = list     ? store_devices(s, device_print, NULL)
            : revoke ? store_device_revoke(s, argv[3], now_ms())
                     : store_device_retire(s, argv[3], now_ms());
        if (r == -ENOENT)
                return fail_with("there is no device '%s'", argv[3]);
        if (r < 0)
                return fail_with("the database does not answer: %s", strerror(-r));
        if (list)
                return EXIT_SUCCESS;
        printf("%s is refused from now on%s; its records stay.\n", argv[3],
               revoke ? ", and its key never enrols again" : "");
        return audit(s, argv[2], argv[3]);
}
