#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill a collector with known violations through its real protocol: seed.py FOLDER URL CA TOKEN NAME COUNT

Times fall back one minute a record from START; every tenth record is a bypass by tor; record 3 is tampering, which
has neither channel nor user; record 7 carries markup in its user name. Prints the device's id.
With --gap before FOLDER and no COUNT: a device whose first four records never come. Prints the collector's answer."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from device import Device  # noqa: E402

START = 1_790_000_000_000
TAMPER = 'somebody changed the nftables table; it was restored'
MARKUP = '<img src=x onerror=document.title="owned">'


def change(i):
    c = {'time': START - i * 60_000, 'count': 1 + i % 3}
    if i % 10 == 9:
        c.update(app_name='Tor', own={'channel': 'tor', 'channel_name': 'Tor', 'category': 'anonymiser', 'class': 'bypass', 'entry': 'suffix torproject.org'})
    if i == 3:
        c.update(class_uid=2004, category_uid=2, type_uid=200401, app_name=None, actor=None, own={
            'class': 'tamper', 'tier': 'none', 'layer': 'agent', 'outcome': 'denied', 'channel': None, 'channel_name': None,
            'category': None, 'entry': None, 'entry_source': None, 'notified': False, 'detail': TAMPER})
    if i == 7:
        c['actor'] = {'user': {'name': MARKUP, 'uid': '1007'}, 'process': {'pid': 1, 'file': {'path': '/tmp/x', 'name': 'x', 'type_id': 1}}}
    return c


def gap():
    device = Device(*sys.argv[2:5], sys.argv[6])
    assert device.enrol(sys.argv[5]).status == 200
    print(device.post(device.batch(first=5)[0]).status)


def main():
    if sys.argv[1] == '--gap':
        return gap()
    folder, url, ca, token, name, count = sys.argv[1:]
    device = Device(folder, url, ca, name)
    answer = device.enrol(token)
    assert answer.status == 200, answer
    for first in range(0, int(count), 200):
        answer = device.send([change(i) for i in range(first, min(first + 200, int(count)))])
        assert answer.status == 200, answer
    print(device.id)


main()
