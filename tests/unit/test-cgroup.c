/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a process is from its cgroup's name and its arguments: pure functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "agent/classify/classify.h"
#include "agent/classify/host.h"
#include "base/cleanup.h"

static const struct {
        const char *path;
        const char *flatpak;
        const char *snap;
} units[] = {
        {"", "", ""},
        {"/", "", ""},
        {"/user.slice/user-1000.slice/user@1000.service/app.slice/"
         "app-flatpak-org.telegram.desktop-1234.scope",
         "org.telegram.desktop", ""},
        {"app-flatpak-org.telegram.desktop-1.scope", "org.telegram.desktop", ""},
        {"/app-flatpak-org.example.my-chat-77.scope", "org.example.my-chat", ""},
        {"/app-flatpak-org.example.my\\x2dchat-77.scope", "org.example.my-chat", ""},
        {"/app-flatpak-org.example.Chat-77.scope/app-flatpak-org.innocent.App-1.scope", "org.example.Chat", ""},
        {"/app-flatpak-org.example.Chat-77.scope/snap.innocent.app-1.scope", "org.example.Chat", ""},
        {"/snap.telegram-desktop.telegram-desktop-5f0f7a1c-0000-4000-8000-000000000000.scope", "",
         "telegram-desktop"},
        {"/snap.telegram-desktop.telegram-desktop.5f0f7a1c-0000-4000-8000-000000000000.scope", "",
         "telegram-desktop"},
        {"/snap.signal-desktop_work.signal-desktop-1.scope", "", "signal-desktop"},
        {"/snap.chat+driver.hook.install-1.scope", "", "chat"},
        {"/snap.chat.daemon.service", "", "chat"},
        /* what is no such unit */
        {"/app-flatpak-org.telegram.desktop.scope", "", ""},
        {"/app-flatpak-org.telegram.desktop-.scope", "", ""},
        {"/app-flatpak-org.telegram.desktop-12a.scope", "", ""},
        {"/app-flatpak-org.telegram.desktop-12.slice", "", ""},
        {"/app-flatpak--12.scope", "", ""},
        {"/app-flatpak-12.scope", "", ""},
        {"/app-flatpak-.scope", "", ""},
        {"/app-flatpak-", "", ""},
        {"/my-app-flatpak-org.telegram.desktop-1.scope", "", ""},
        {"/app-gnome-org.telegram.desktop-1.scope", "", ""},
        {"/app-flatpak-org.a\nb-1.scope", "", ""},
        {"/app-flatpak-org.a\\x0ab-1.scope", "", ""},
        {"/app-flatpak-org.a\\x00b-1.scope", "", ""},
        {"/app-flatpak-org.a\\x2-1.scope", "", ""},
        {"/app-flatpak-org.a\\xzz-1.scope", "", ""},
        {"/app-flatpak-org.a\\-1.scope", "", ""},
        {"/app-flatpak-org.\xc3\xa4-1.scope", "", ""},
        {"/app-flatpak-org.a b-1.scope", "", ""},
        {"/snap.", "", ""},
        {"/snap..scope", "", ""},
        {"/snap.chat", "", ""},
        {"/snap.Chat.app.scope", "", ""},
        {"/snap.chat_", "", ""},
        {"/snapd.service", "", ""},
        {"/system.slice/snap-core22-1.mount", "", ""},
        {"////", "", ""},
};

static void test_cgroup(void **state)
{
        char flatpak[256], snap[256], id[300], path[400];

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                memset(flatpak, 'x', sizeof(flatpak));
                memset(snap, 'x', sizeof(snap));
                classify_cgroup(units[i].path, flatpak, snap);
                if (strcmp(flatpak, units[i].flatpak) != 0 || strcmp(snap, units[i].snap) != 0)
                        print_error("%s\n", units[i].path);
                assert_string_equal(flatpak, units[i].flatpak);
                assert_string_equal(snap, units[i].snap);
        }
        for (size_t size = 255; size <= 256; size++) { /* the longest id, and one more */
                memset(id, 'a', size);
                id[size] = '\0';
                snprintf(path, sizeof(path), "/app-flatpak-%s-1.scope", id);
                classify_cgroup(path, flatpak, snap);
                assert_string_equal(flatpak, size == 255 ? id : "");
                snprintf(path, sizeof(path), "/snap.%s.a.scope", id);
                classify_cgroup(path, flatpak, snap);
                assert_string_equal(snap, size == 255 ? id : "");
        }
}

static void test_host(void **state)
{
        static const struct {
                const char *path;
                enum host host;
        } cases[] = {
                {"/usr/bin/python3.11", HOST_PYTHON},
                {"python", HOST_PYTHON},
                {"/opt/google/chrome/chrome", HOST_BROWSER},
                {"/usr/bin/google-chrome-stable", HOST_BROWSER},
                {"/usr/lib/chromium/chromium", HOST_BROWSER},
                {"/usr/lib/firefox-esr/firefox-esr", HOST_BROWSER},
                {"/usr/lib/electron22/electron", HOST_ELECTRON},
                {"/usr/bin/dash", HOST_SHELL},
                {"/usr/bin/sh", HOST_SHELL},
                {"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", HOST_LOADER},
                {"/lib/ld-musl-x86_64.so.1", HOST_LOADER},
                {"/usr/bin/qemu-x86_64-static", HOST_QEMU},
                {"/usr/bin/qemu-system-x86_64", HOST_NONE},
                {"/usr/bin/valgrind.bin", HOST_LOADER},
                {"/usr/lib/wine/wine64-preloader", HOST_WINE},
                {"/usr/bin/grep", HOST_NONE},
                {"/usr/bin/shuf", HOST_NONE},
                {"/usr/bin/javascript", HOST_NONE},
                {"/usr/bin/chromedriver", HOST_NONE},
                {"/usr/bin/ldd", HOST_NONE},
                {"/chrome/x", HOST_NONE},
                {"/usr/bin/", HOST_NONE},
                {"", HOST_NONE},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(host_of(cases[i].path), cases[i].host);
}

static void test_join(void **state)
{
        static const struct {
                const char *cwd;
                const char *path;
                const char *result;
        } cases[] = {
                {"/home/u", "chat", "/home/u/chat"},
                {"/home/u", "./chat", "/home/u/chat"},
                {"/home/u", "../chat", "/home/chat"},
                {"/home/u", "/opt//chat", "/opt/chat"},
                {"/", "chat", "/chat"},
                {"/a", "../../../chat", "/chat"},
                {"/a", "..", "/"},
                {"/a/b", "c/../../d/.", "/a/d"},
                {"/a", "..chat/...", "/a/..chat/..."},
                {"/home/u", "1234567890123456789012", NULL},
        };
        char buf[24];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                bool fits = path_join(cases[i].cwd, cases[i].path, buf, sizeof(buf));

                assert_int_equal(fits, cases[i].result != NULL);
                if (fits)
                        assert_string_equal(buf, cases[i].result);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cgroup),
                cmocka_unit_test(test_host),
                cmocka_unit_test(test_join),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
