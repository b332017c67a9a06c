#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill a collector with known violations through its real protocol: seed.py FOLDER URL CA TOKEN NAME COUNT

Times fall back one minute a record from START; every tenth record is a bypass by tor; record 3 is tampering, which
has neither channel nor user; record 7 carries markup
in every text, as does the device's status. Prints the device's id.
With --days before FOLDER and no COUNT: a device with three weeks of coverage records, some with holes (DAYS), a refused policy, and two
people who ask for an exemption.
With --gap before FOLDER and no COUNT: a device whose first four records never come. Prints the collector's answer."""
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from device import Device  # noqa: E402

START = 1_790_000_000_000
TAMPER = 'somebody changed the nftables table; it was restored'
MARKUP = '<img src=x onerror=document.title="owned">'
STATUS = {'version': MARKUP, 'policy': {'serial': 7, 'mode': MARKUP, 'refused': {'reason': MARKUP}}, 'sensors': MARKUP}


def change(i):
    c = {'time': START - i * 60_000, 'count': 1 + i % 3}
    if i % 10 == 9:
        c.update(app_name='Tor', own={'channel': 'tor', 'channel_name': 'Tor', 'category': 'anonymiser', 'class': 'bypass', 'entry': 'suffix torproject.org'})
    if i == 3:
        c.update(class_uid=2004, category_uid=2, type_uid=200401, app_name=None, actor=None, own={
            'class': 'tamper', 'tier': 'none', 'layer': 'agent', 'outcome': 'denied', 'channel': None, 'channel_name': None,
            'category': None, 'entry': None, 'entry_source': None, 'notified': False, 'detail': TAMPER})
    if i == 7:  # in every field that is text; ids have room for 64 bytes
        c['actor'] = {'user': {'name': MARKUP, 'uid': '1007'}, 'process': {'pid': 1, 'name': MARKUP, 'file': {'path': MARKUP, 'name': MARKUP, 'type_id': 1}}}
        c.update(app_name=MARKUP, dst_endpoint={'ip': MARKUP, 'hostname': MARKUP, 'port': 443}, own={k: MARKUP for k in (
            'channel', 'channel_name', 'category', 'class', 'tier', 'layer', 'outcome', 'verdict', 'entry', 'entry_source', 'detail', 'package')})
    return c


NONE = dict.fromkeys(('class', 'tier', 'layer', 'outcome', 'verdict', 'channel', 'channel_name', 'category', 'entry', 'entry_source', 'notified'))
HOUR_MS = 3600_000
DAYS = {-15: 'monitor', -12: 'gap', -10: 'explained', -8: 'off', -5: 'doubt'}  # before today, UTC; the others: covered


def coverage(at_ms, boot=1, event='heartbeat', **more):
    own = {**NONE, 'kind': 'coverage', 'boottime_ms': at_ms % 10**12, 'coverage': {
        'event': event, 'mode': 'enforce', 'self_test_passed': True, 'canary': 'blocked', 'lost': 0, 'refused': 0, 'unresolved': 0, 'gap_ms': 0,
        'heartbeat': 3600, **more}}
    return {'time': at_ms, 'actor': None, 'app_name': None, 'class_uid': 5019, 'category_uid': 5, 'type_uid': 501901, 'own': own,
            'device': {'hostname': 'ws-0777', 'type_id': 3, 'boot_uid': f'boot-{boot}'}}


def asks(name, uid, reason, hours):
    user = {'name': name, 'uid': str(uid)}
    own = {**NONE, 'kind': 'request', 'channel': 'whatsapp', 'channel_name': 'WhatsApp', 'reason': reason, 'hours': hours}
    return {'actor': {'user': user}, 'user': user, 'class_uid': 3005, 'category_uid': 3, 'type_uid': 300599, 'app_name': None, 'own': own}


def days_of_records():
    """Hourly records of three weeks."""
    now = int(time.time() * 1000)
    today = now - now % (24 * HOUR_MS)
    for day in range(-20, 1):
        what = DAYS.get(day)
        for hour in range(24):
            at = today + (day * 24 + hour) * HOUR_MS
            after_off = day > -8
            if at > now:
                return
            if what == 'off':
                if hour == 0:
                    yield coverage(at, event='stop', detail='enforcement goes on')
                continue
            if (what == 'gap' and 10 < hour < 14) or (what == 'explained' and 10 < hour < 13):
                continue
            if what == 'explained' and hour == 13:
                yield coverage(at, event='gap', gap_ms=3 * HOUR_MS, detail='the agent did not run for at most 10800 s')
            yield coverage(at, boot=2 if after_off else 1, event='start' if day == -7 and hour == 0 else 'heartbeat',
                           mode='monitor' if what == 'monitor' and hour == 12 else 'enforce',
                           self_test_passed=not (what == 'doubt' and hour == 12))


def days():
    device = Device(*sys.argv[2:5], sys.argv[6])
    assert device.enrol(sys.argv[5]).status == 200
    records = [*days_of_records(), asks('anna', 1000, 'a client in Brazil uses nothing else', 48), {'time': 2**53 - 1, **asks(MARKUP, 1001, MARKUP, 0)}]
    for first in range(0, len(records), 200):
        answer = device.send(records[first:first + 200])
        assert answer.status == 200, answer
    status = {'version': '0.1.0', 'sensors': 'exec=lsm dns=cgroup_skb', 'tags': ['trading-floor', None, 'london', {}], 'self_test_passed': True,
              'policy': {'serial': 42, 'mode': 'enforce', 'expired': False,
                         'refused': {'file': 'policy.ini', 'line': 12, 'reason': "there is no channel 'carrier-pigeon'"}},
              'counters': {'lost': 0}, 'spool': {'queue': 0}, 'exemptions': [None, 'x', {'id': {}, 'state': []}],
              'exemptions_refused': [7, {'reason': ['odd']}]}
    answer = device.call('/v1/status', data=json.dumps(status).encode(), headers=['Content-Type: application/json'])
    assert answer.status == 200, answer
    print(device.id)


def gap():
    device = Device(*sys.argv[2:5], sys.argv[6])
    assert device.enrol(sys.argv[5]).status == 200
    print(device.post(device.batch(first=5)[0]).status)


def main():
    if sys.argv[1] == '--gap':
        return gap()
    if sys.argv[1] == '--days':
        return days()
    folder, url, ca, token, name, count = sys.argv[1:]
    device = Device(folder, url, ca, name)
    answer = device.enrol(token)
    assert answer.status == 200, answer
    for first in range(0, int(count), 200):
        answer = device.send([change(i) for i in range(first, min(first + 200, int(count)))])
        assert answer.status == 200, answer
    answer = device.call('/v1/status', data=json.dumps(STATUS).encode(), headers=['Content-Type: application/json'])
    assert answer.status == 200, answer
    print(device.id)


main()
