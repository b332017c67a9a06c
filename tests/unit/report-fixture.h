/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What tests of agent/report/ share: a folder, an event loop, a rule set, and the records in the spool. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>
#include <systemd/sd-event.h>

#include "agent/report/internal.h"
#include "agent/report/journal.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/io.h"
#include "base/text.h"
#include "spool/spool.h"

#define BOOT           "0b1c2d3e-0000-4000-8000-000000000001"
#define DEADLINE_MS    10000
#define REPORT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static char dir[64];
static sd_event *event;

static struct rule_channel channels[] = {
        {0},
        {.id = "teams",
         .name = "Teams",
         .file = "teams.ini",
         .category = CATEGORY_WORKPLACE,
         .verdict = VERDICT_ALLOW,
         .programs = VERDICT_ALLOW},
        {.id = "whatsapp",
         .name = "WhatsApp",
         .file = "whatsapp.ini",
         .category = CATEGORY_MESSENGER,
         .class = CLASS_USE,
         .verdict = VERDICT_BLOCK,
         .programs = VERDICT_WATCH},
        {.id = "tor",
         .name = "Tor",
         .file = "tor.ini",
         .category = CATEGORY_ANONYMISER,
         .class = CLASS_BYPASS,
         .verdict = VERDICT_WATCH,
         .programs = VERDICT_WATCH},
};
static struct rule_entry entries[] = {
        {0},
        {.kind = ENTRY_SUFFIX, .channel = 2, .line = 12, .value = "whatsapp.com"},
        {.kind = ENTRY_PROBE, .channel = 2, .line = 13, .value = "use-whatsapp.net"},
};
static const struct ruleset rules = {
        .channels = channels,
        .n_channels = 4,
        .entries = entries,
        .n_entries = 3,
        .policy_serial = 42,
        .organisation = "Example Bank plc",
        .notice = "Use Teams.",
        .help = "https://intranet.example/",
};
static const struct record_context policy = {
        .policy_serial = 42,
        .policy_organisation = "Example Bank plc",
        .policy_hash = "aa",
        .policy_signer = "0123456789ABCDEF",
        .catalogue_version = "1",
};

static inline struct fact fact(enum layer layer, uint16_t channel, enum outcome outcome)
{
        struct fact f = {.layer = layer,
                         .tier = TIER_NAME,
                         .outcome = outcome,
                         .channel = channel,
                         .entry = 1,
                         .uid = 0,
                         .tgid = 77,
                         .comm = "curl",
                         .path = "/usr/bin/curl"};

        f.boottime_ns = clock_boottime_ms() * 1000000;
        f.flow = (struct fact_flow){
                .family = AF_INET, .protocol = IPPROTO_UDP, .remote_port = 53, .remote = {10, 0, 0, 53}};
        return f;
}

static inline int setup(void **state)
{
        strcpy(dir, "/tmp/test-report-XXXXXX");
        assert_non_null(mkdtemp(dir));
        assert_int_equal(sd_event_new(&event), 0);
        return 0;
}

static inline int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -rf %s", dir);

        event = sd_event_unref(event);
        return system(command);
}

static inline struct report_options options(void)
{
        return (struct report_options){.state_dir = dir,
                                       .device_name = "ws-0301",
                                       .boot_id = BOOT,
                                       .group = -1,
                                       .settle_ms = 20,
                                       .window_ms = 500};
}

static inline struct report *start(void)
{
        struct report_options o = options();
        struct report *r = NULL;

        assert_int_equal(report_new(&o, event, &r), 0);
        assert_int_equal(report_set_policy(r, &policy), 0);
        return r;
}

/* Runs the loop until `n` records are sealed. */
static inline void wait_records(struct report *r, uint64_t n)
{
        uint64_t end = clock_boottime_ms() + DEADLINE_MS;
        struct report_state state;

        do {
                assert_true(sd_event_run(event, 50000) >= 0);
                report_get_state(r, &state);
        } while (state.next_seq - 1 < n && clock_boottime_ms() < end);
        while (sd_event_run(event, 0) > 0)
                ;
        assert_int_equal(state.next_seq - 1, n);
}

static inline json_t *record(struct report *r, uint64_t seq)
{
        _cleanup_free_ char *path = format_new("%s/spool", dir), *public_path = format_new("%s/device.pub", dir);
        _cleanup_free_ char *hex = NULL;
        uint8_t public_key[DEVICE_KEY_SIZE];
        struct report_state state;
        uint64_t after, first, last;
        size_t size;

        report_get_state(r, &state);
        after = state.acknowledged;
        assert_int_equal(file_read(public_path, 128, &hex, &size), 0);
        hex[64] = '\0';
        assert_int_equal(hex_decode(hex, public_key, sizeof(public_key)), 0);
        for (;; after = last) {
                _cleanup_(batch_done) struct batch b = {0};
                _cleanup_free_ char *text = NULL;

                assert_int_equal(spool_read_batch(path, state.device_id, after, &text, &size, &first, &last), 0);
                assert_int_equal(batch_parse(text, size, public_key, &b, NULL), 0);
                if (seq <= last) {
                        json_t *root = json_loadb(b.records[seq - first], b.sizes[seq - first], 0, NULL);

                        assert_non_null(root);
                        return root;
                }
        }
}

static inline const char *extra(json_t *root, const char *key)
{
        return json_string_value(
                json_object_get(json_object_get(json_object_get(root, "unmapped"), "onchannel"), key));
}

static inline json_int_t count(json_t *root)
{
        return json_integer_value(json_object_get(root, "count"));
}
