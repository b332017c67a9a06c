/* SPDX-License-Identifier: GPL-3.0-or-later */
/* onchannel-notify: tells the person who runs it on their desktop what was stopped and what to use instead. What it knows is
 * what the agent tells that user (`onchannel notices`); it speaks to nobody but the agent and the session's bus. */
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "cli/cli.h"

/* Desktop Notifications Specification 1.2 */
#define BUS_NAME      "org.freedesktop.Notifications"
#define BUS_PATH      "/org/freedesktop/Notifications"
#define CALL_US       5000000u
#define URGENCY       1 /* normal */
#define CHANNELS_MAX  32 /* that are remembered */
#define QUIET_MS      10000u /* between two notifications of one channel */
#define RETRY_SECONDS 5u

struct shown {
        char channel[64]; /* "": none */
        uint32_t id; /* the notification server's, for the next one of the channel to replace */
        uint64_t when_ms; /* CLOCK_MONOTONIC */
};

struct notifier {
        struct shown shown[CHANNELS_MAX];
        char since[TIME_TEXT_MAX]; /* what happened before is not shown */
        bool is_mute; /* that nobody shows notifications was said */
};

static const char notify_usage[] = "Usage: onchannel-notify [--socket PATH]\n"
                                   "Shows on your desktop what the agent stops, and what to use instead.\n";

/* The one of that channel, else the oldest. */
static struct shown *shown_find(struct notifier *n, const char *channel)
{
        struct shown *oldest = n->shown;

        for (size_t i = 0; i < CHANNELS_MAX; i++) {
                if (strcmp(n->shown[i].channel, channel) == 0)
                        return &n->shown[i];
                if (n->shown[i].when_ms < oldest->when_ms)
                        oldest = &n->shown[i];
        }
        *oldest = (struct shown){0};
        snprintf(oldest->channel, sizeof(oldest->channel), "%s", channel);
        return oldest;
}

static int server_reads_markup(sd_bus *bus, bool *ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *capability;
        int r;

        r = sd_bus_call_method(bus, BUS_NAME, BUS_PATH, BUS_NAME, "GetCapabilities", NULL, &reply, NULL);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "s");
        *ret = false;
        while (r >= 0 && (r = sd_bus_message_read(reply, "s", &capability)) > 0)
                *ret |= strcmp(capability, "body-markup") == 0;
        return r;
}

static void add_text(struct buf *b, const char *s, bool is_markup)
{
        for (; *s; s++) {
                const char *as = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : NULL;

                if (is_markup && as)
                        buf_add_string(b, as);
                else
                        buf_add(b, s, 1);
        }
}

static int notify(const json_t *notice, uint32_t *id)
{
        const char *text = json_text(notice, "text"), *help = json_text(notice, "help");
        const char *program = json_text(notice, "program"), *slash = strrchr(program, '/');
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_buf_ struct buf title = {0}, body = {0};
        bool is_markup = false;
        int r;

        r = sd_bus_open_user(&bus);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, CALL_US);
        if (r >= 0)
                r = server_reads_markup(bus, &is_markup);
        if (r < 0)
                return r;
        buf_add_string(&title, json_text(notice, "channel_name"));
        if (*program)
                buf_addf(&title, " (%s)", slash ? slash + 1 : program);
        add_text(&body, *text ? text : "This channel is not approved.", is_markup);
        buf_add_string(&body, *help ? "\n" : "");
        add_text(&body, help, is_markup);
        r = buf_error(&title) < 0 ? buf_error(&title) : buf_error(&body);
        if (r < 0)
                return r;
        r = sd_bus_call_method(bus, BUS_NAME, BUS_PATH, BUS_NAME, "Notify", NULL, &reply, "susssasa{sv}i",
                               "onchannel", *id, "dialog-information", title.data, body.data, 0, 1, "urgency", "y",
                               URGENCY, -1);
        return r < 0 ? r : sd_bus_message_read(reply, "u", id);
}

static void show(struct notifier *n, const json_t *notice)
{
        struct shown *s = shown_find(n, json_text(notice, "channel"));
        uint64_t now_ms = clock_monotonic_ms();
        int r;

        if (strcmp(json_text(notice, "time"), n->since) < 0 || (s->id && now_ms - s->when_ms < QUIET_MS))
                return;
        r = notify(notice, &s->id);
        if (r >= 0)
                s->when_ms = now_ms;
        else if (!n->is_mute)
                fprintf(stderr, "onchannel-notify: nobody shows notifications in this session: %s\n", strerror(-r));
        n->is_mute = r < 0;
}

static void follow(const struct cli *c, struct notifier *n)
{
        _cleanup_(agent_closep) struct agent_reader *a = NULL;
        json_auto_t *first = NULL;
        const json_t *notice;
        size_t i;
        int r;

        r = agent_open(c, json_pack("{s:s,s:b}", "verb", "notices", "follow", 1), &a);
        if (r == STATUS_OK)
                r = agent_next(c, a, &first);
        json_array_foreach(json_object_get(first, "notices"), i, notice) show(n, notice);
        while (r == STATUS_OK) {
                json_auto_t *o = NULL;

                r = agent_next(c, a, &o);
                if (r == STATUS_OK)
                        show(n, json_object_get(o, "notice"));
        }
}

int main(int argc, char **argv)
{
        struct cli c = {.socket = CLI_SOCKET, .usage = notify_usage};
        struct notifier n = {0};
        int r;

        r = cli_options(&c, NULL, &argc, &argv);
        if (r < 0 || argc != 0)
                return cli_usage(&c, r);
        time_format(time(NULL), n.since);
        for (;; sleep(RETRY_SECONDS)) {
                while (access(c.socket, F_OK) < 0)
                        sleep(RETRY_SECONDS);
                follow(&c, &n);
                time_format(time(NULL), n.since);
        }
}
