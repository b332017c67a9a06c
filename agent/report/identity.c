/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <pwd.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/report/internal.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define OS_RELEASE_MAX_BYTES 16384
#define PASSWD_LINE_MAX      1024

static int write_hex(const char *path, const uint8_t *data, size_t size, mode_t mode)
{
        char text[2 * DEVICE_SECRET_SIZE + 2];
        int r;

        hex_encode(data, size, text);
        strcat(text, "\n");
        r = file_write_atomic(path, text, 2 * size + 1, mode);
        sodium_memzero(text, sizeof(text));
        return r;
}

static int read_secret(const char *path, uint8_t ret[static DEVICE_SECRET_SIZE])
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = file_read(path, 2 * DEVICE_SECRET_SIZE + 1, &text, &size);
        if (r < 0)
                return r == -EFBIG ? -EBADMSG : r;
        text[strcspn(text, "\n")] = '\0';
        r = hex_decode(text, ret, DEVICE_SECRET_SIZE);
        sodium_memzero(text, size);
        return r < 0 ? -EBADMSG : 0;
}

static int mend_hex(const char *state_dir, const char *name, const uint8_t *data, size_t size, mode_t mode)
{
        _cleanup_free_ char *path = format_new("%s/%s", state_dir, name), *text = NULL;
        uint8_t kept[DEVICE_SECRET_SIZE];
        bool same = false;
        int r;

        if (!path)
                return -ENOMEM;
        if (file_read(path, 2 * size + 1, &text, NULL) >= 0) {
                text[strcspn(text, "\n")] = '\0';
                same = hex_decode(text, kept, size) >= 0 && memcmp(kept, data, size) == 0;
                sodium_memzero(text, strlen(text));
                sodium_memzero(kept, sizeof(kept));
        }
        if (same)
                return 0;
        r = write_hex(path, data, size, mode);
        return r < 0 ? r : 1;
}

int device_key_load(const char *state_dir, uint8_t ret_public[static DEVICE_KEY_SIZE],
                    uint8_t ret_secret[static DEVICE_SECRET_SIZE])
{
        _cleanup_free_ char *key_path = format_new("%s/device.key", state_dir);
        int r;

        if (!key_path)
                return -ENOMEM;
        if (sodium_init() < 0)
                return -EIO;

        r = read_secret(key_path, ret_secret);
        if (r == -ENOENT) {
                device_key_new(ret_public, ret_secret);
                r = write_hex(key_path, ret_secret, DEVICE_SECRET_SIZE, 0600);
        }
        if (r < 0)
                return r;
        crypto_sign_ed25519_sk_to_pk(ret_public, ret_secret);
        (void)mend_hex(state_dir, "device.pub", ret_public, DEVICE_KEY_SIZE,
                       0644); /* guard.c tells when it cannot be written */
        return 0;
}

static int set_aside(const char *state_dir, const char *name)
{
        _cleanup_free_ char *path = format_new("%s/%s", state_dir, name);
        int r = path ? path_set_aside(path) : -ENOMEM;

        return r == -ENOENT ? 0 : r;
}

int device_key_take(const char *state_dir, uint8_t ret_public[static DEVICE_KEY_SIZE],
                    uint8_t ret_secret[static DEVICE_SECRET_SIZE], bool *ret_new)
{
        int r = device_key_load(state_dir, ret_public, ret_secret);

        *ret_new = r == -EBADMSG || r == -EISDIR;
        if (!*ret_new)
                return r;
        r = set_aside(state_dir, "device.key");
        if (r >= 0)
                r = set_aside(state_dir, "spool");
        if (r >= 0)
                r = set_aside(state_dir, "uplink/ack");
        return r < 0 ? r : device_key_load(state_dir, ret_public, ret_secret);
}

/* os-release(5): KEY=value or KEY="value". */
static void take_value(const char *text, const char *key, char ret[static OS_TEXT_MAX])
{
        const char *p = text;
        size_t n;

        while (p && !text_starts_with(p, key)) {
                p = strchr(p, '\n');
                p = p ? p + 1 : NULL;
        }
        if (!p)
                return;
        p += strlen(key);
        p += *p == '"' || *p == '\'';
        n = strcspn(p, "\"'\n");
        snprintf(ret, OS_TEXT_MAX, "%.*s", (int)n, p);
}

int device_key_mend(const char *state_dir, const uint8_t public[static DEVICE_KEY_SIZE],
                    const uint8_t secret[static DEVICE_SECRET_SIZE])
{
        int r = mend_hex(state_dir, "device.key", secret, DEVICE_SECRET_SIZE, 0600);
        int q = r < 0 ? r : mend_hex(state_dir, "device.pub", public, DEVICE_KEY_SIZE, 0644);

        return q != 0 ? q : r;
}

void os_release_read(const char *path, char ret_name[static OS_TEXT_MAX], char ret_version[static OS_TEXT_MAX])
{
        _cleanup_free_ char *text = NULL;
        size_t size;

        strcpy(ret_name, "Linux");
        ret_version[0] = '\0';
        if (file_read(path, OS_RELEASE_MAX_BYTES, &text, &size) < 0)
                return;
        take_value(text, "NAME=", ret_name);
        take_value(text, "VERSION_ID=", ret_version);
}

void user_name(uint32_t uid, char ret[static USER_NAME_MAX])
{
        _cleanup_file_ FILE *f = fopen("/etc/passwd", "re");
        struct passwd line, *found;
        char buf[PASSWD_LINE_MAX];

        ret[0] = '\0';
        while (f && fgetpwent_r(f, &line, buf, sizeof(buf), &found) == 0)
                if (line.pw_uid == uid) {
                        snprintf(ret, USER_NAME_MAX, "%s", line.pw_name);
                        return;
                }
}
