/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/cli.h"
#include "trust/trust.h"

int read_input(const struct cli *c, const char *path, size_t max, char **ret, size_t *ret_size)
{
        int r = file_read(path, max, ret, ret_size);

        if (r == -EFBIG)
                return cli_fail(c, STATUS_FAILED, "'%s' is larger than %zu bytes", path, max);
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot read '%s': %s", path, strerror(-r));
        return STATUS_OK;
}

int read_parsed(const struct cli *c, const struct input *in, void *ret)
{
        _cleanup_free_ char *text = NULL;
        struct diag d = {0};
        size_t size;
        int r;

        r = read_input(c, in->path, in->max, &text, &size);
        if (r != STATUS_OK)
                return r;
        r = in->parse(text, size, in->path, ret, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}

int write_output(const struct cli *c, const char *path, const void *data, size_t size, unsigned mode)
{
        int r = file_write_atomic(path, data, size, mode);

        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot write '%s': %s", path, strerror(-r));
        return STATUS_OK;
}

int read_password(const char *prompt, char **ret)
{
        _cleanup_free_ char *line = NULL;
        struct termios saved, silent;
        bool terminal = tcgetattr(STDIN_FILENO, &saved) == 0;
        size_t allocated = 0;
        ssize_t n;

        if (terminal) {
                silent = saved;
                silent.c_lflag &= ~(tcflag_t)ECHO;
                tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
                fputs(prompt, stderr); /* what is typed from now on is neither shown nor flushed */
        }
        n = getline(&line, &allocated, stdin);
        if (terminal) {
                tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
                fputc('\n', stderr);
        }
        if (n < 0)
                return -ENODATA;
        line[strcspn(line, "\n")] = 0;
        *ret = TAKE_PTR(line);
        return 0;
}

static void wipe(char **password)
{
        if (*password) {
                sodium_memzero(*password, strlen(*password));
                free(*password);
        }
}

int read_secret(const struct cli *c, const char *path, struct trust_secret *ret)
{
        _cleanup_(wipe) char *text = NULL;
        _cleanup_(wipe) char *password = NULL;
        struct diag d = {0};
        size_t size;
        int r;

        r = read_input(c, path, TRUST_KEY_MAX_BYTES, &text, &size);
        if (r != STATUS_OK)
                return r;
        r = trust_secret_parse(text, size, path, NULL, ret, &d);
        if (r == -EKEYREJECTED && read_password("Password of the key: ", &password) >= 0)
                r = trust_secret_parse(text, size, path, password, ret, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}
