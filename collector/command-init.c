/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "collector/command.h"
#include "collector/net/pki.h"

struct init {
        const char *dir, *agents, *page, *admin, *password_file, *store, *exemption_key;
        const char *names[PKI_NAMES_MAX + 1];
        size_t n_names;
        char host[HOST_NAME_MAX + 1];
};

static bool name_add(struct init *o, const char *name)
{
        for (size_t i = 0; i < o->n_names; i++)
                if (strcmp(o->names[i], name) == 0)
                        return true;
        if (o->n_names == PKI_NAMES_MAX)
                return false;
        o->names[o->n_names++] = name;
        return true;
}

static int options_parse(int argc, char **argv, struct init *o)
{
        static const struct option options[] = {
                {"name", required_argument, NULL, 'n'},          {"agents", required_argument, NULL, 'a'},
                {"page", required_argument, NULL, 'p'},          {"admin", required_argument, NULL, 'u'},
                {"password-file", required_argument, NULL, 'f'}, {"store", required_argument, NULL, 's'},
                {"exemption-key", required_argument, NULL, 'e'}, {0},
        };
        char host[HTTP_HOST_MAX], port[6];
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'n' && !name_add(o, optarg))
                        return fail_usage("more than %d names", PKI_NAMES_MAX);
                else if (c == 'a')
                        o->agents = optarg;
                else if (c == 'p')
                        o->page = optarg;
                else if (c == 'u')
                        o->admin = optarg;
                else if (c == 'f')
                        o->password_file = optarg;
                else if (c == 's')
                        o->store = optarg;
                else if (c == 'e')
                        o->exemption_key = optarg;
                else if (c == '?')
                        return fail_usage("init does not take that");
        }
        if (optind + 1 != argc)
                return fail_usage("init needs one folder");
        o->dir = argv[optind];
        if (http_address_parse(o->agents, host, port) < 0)
                return fail_usage("--agents: '%s' is not ADDRESS:PORT, [IPV6]:PORT or *:PORT", o->agents);
        if (http_address_parse(o->page, host, port) < 0)
                return fail_usage("--page: '%s' is not ADDRESS:PORT, [IPV6]:PORT or *:PORT", o->page);
        if (o->store && !db_is_url(o->store))
                return fail_usage("--store: '%s' is not postgresql://…", o->store);
        if (!*o->admin || strlen(o->admin) >= STORE_NAME_MAX)
                return fail_usage("--admin: 1 to %d bytes", STORE_NAME_MAX - 1);
        if (gethostname(o->host, sizeof(o->host)) == 0)
                name_add(o, o->host);
        name_add(o, "localhost");
        name_add(o, "127.0.0.1");
        name_add(o, "::1");
        return EXIT_SUCCESS;
}

static int write_pair(const char *key_path, const char *key, const char *certificate_path, const char *certificate)
{
        int r = file_write_atomic(key_path, key, strlen(key), 0600);

        return r < 0 ? r : file_write_atomic(certificate_path, certificate, strlen(certificate), 0644);
}

static int authority_make(const char *name, const char *key_path, const char *certificate_path)
{
        _cleanup_free_ char *key = NULL, *certificate = NULL;
        int r = pki_authority_new(name, &key, &certificate);

        return r < 0 ? r : write_pair(key_path, key, certificate_path, certificate);
}

DEFINE_CLEANUP(struct pki_authority, pki_authority_free)

static int certificates_make(const struct config *c, const struct init *o, struct diag *reterr)
{
        _cleanup_(pki_authority_freep) struct pki_authority *a = NULL;
        _cleanup_free_ char *key = NULL, *certificate = NULL;
        int r = authority_make("onchannel device CA", c->device_ca_key, c->device_ca);

        if (r == 0)
                r = authority_make("onchannel server CA", c->server_ca_key, c->server_ca);
        if (r == 0)
                r = pki_authority_load(c->server_ca, c->server_ca_key, &a, reterr);
        if (r == 0)
                r = pki_server_new(a, o->names, &key, &certificate, reterr);
        return r < 0 ? r : write_pair(c->server_key, key, c->server, certificate);
}

static void say_done(const struct config *c, const struct init *o, const char *password)
{
        const char *agents_port = strrchr(o->agents, ':'), *page_port = strrchr(o->page, ':');

        printf("A new collector is in '%s'.\n\n"
               "  page             https://%s%s/\n"
               "  user             %s\n"
               "  password         %s\n"
               "  agents' url      https://%s%s\n"
               "  agents' ca       %s (give this file to them)\n\n"
               "Next:\n"
               "  onchannel-collector serve %s\n"
               "  onchannel-collector token %s            a token to enrol a device\n"
               "  onchannel-collector policy %s FILE      a signed policy for the agents\n",
               o->dir, o->names[0], page_port, o->admin, password ? password : "(from the file)", o->names[0],
               agents_port, c->server_ca, o->dir, o->dir, o->dir);
        if (password)
                printf("\nThe password is shown only now.\n");
}

static int folder_make(const struct init *o, const struct config *c)
{
        _cleanup_(store_freep) struct store *s = NULL;
        _cleanup_free_ char *ini = NULL, *password = NULL;
        struct store_user admin = {.role = "admin"};
        struct diag d = {0};
        int r = dir_make(c->dir, 0700);

        if (r < 0)
                return fail_with("cannot make '%s': %s", c->dir, strerror(-r));
        if (o->exemption_key && exemption_key_put(c, o->exemption_key) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        r = certificates_make(c, o, &d);
        if (r < 0)
                return *d.text ? fail(&d) : fail_with("cannot make the certificates: %s", strerror(-r));
        r = store_open(o->store ?: c->store, STORE_CREATE, &s, &d);
        if (r < 0)
                return fail(&d);
        strcpy(admin.name, o->admin);
        if (user_put(s, &admin, o->password_file, &password) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        /* last: its presence says that the folder is whole */
        ini = format_new("[collector]\nagents = %s\npage   = %s\n%s%s%s", o->agents, o->page,
                         o->store ? "store  = " : "", o->store ?: "", o->store ? "\n" : "");
        r = ini ? file_write_atomic(c->ini, ini, strlen(ini), 0600) : -ENOMEM;
        if (r < 0)
                return fail_with("cannot write '%s': %s", c->ini, strerror(-r));
        say_done(c, o, password);
        return EXIT_SUCCESS;
}

int command_init(int argc, char **argv)
{
        _cleanup_(config_done) struct config c = {0};
        struct init o = {.agents = "*:8443", .page = "*:8444", .admin = "admin"};
        int r = options_parse(argc, argv, &o);

        if (r != EXIT_SUCCESS)
                return r;
        if (config_paths(o.dir, &c) < 0)
                return fail_with("no memory");
        if (access(c.ini, F_OK) == 0)
                return fail_with("'%s' is there already: this folder has been initialised", c.ini);
        return folder_make(&o, &c);
}
