# SPDX-License-Identifier: GPL-3.0-or-later
"""The device's chain read and hashed from lib/record/chain.h and lib/spool/spool.h, not by their code: what stands in the
spool's segments, and whether a database holds it."""
import hashlib
import json
import struct

from verify_bundle import sha, signed

MAGIC, HEADER, RECORD, SEAL = b'ONCHSPL1', 48, 1, 2


def crc32c(data, table=[]):  # pylint: disable=dangerous-default-value
    if not table:
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            table.append(n)
    crc = 0xFFFFFFFF
    for b in data:
        crc = crc >> 8 ^ table[(crc ^ b) & 255]
    return crc ^ 0xFFFFFFFF


def segment(path):
    """Of one segment: ({seq: (salt, hash, record)}, [(first, n, head)] of its seals). What is torn at its end is left out."""
    data, records, seals = path.read_bytes(), {}, []
    if data[:8] != MAGIC:
        return {}, []
    at = HEADER
    while at + 8 <= len(data):
        size, crc = struct.unpack_from('>II', data, at)
        body = data[at + 8:at + 8 + size]
        if size == 0 or len(body) < size or crc32c(body) != crc:
            break
        if body[0] == RECORD:
            seq, = struct.unpack_from('>Q', body, 1)
            records[seq] = (body[9:25], body[25:57], body[57:])
        elif body[0] == SEAL:
            first, n = struct.unpack_from('>QQ', body, 1)
            seals.append((first, n, body[49:81]))
        at += 8 + size
    return records, seals


def problems(device, public_key, next_seq, head, seals, records):
    """What does not hold of one device in a database. seals: (first, n, prev, head, signature), records: (seq, hash, salt, body),
    each in order of first and seq."""
    found = []
    if [r[0] for r in records] != list(range(1, next_seq)):
        found.append(f'records are not 1 to {next_seq - 1}, each once: {len(records)} of them')
    by_seq = {r[0]: r[1:] for r in records}
    tip, expected = sha(b'onchannel-chain/v1', public_key), 1
    for first, n, prev, end, signature in seals:
        if (first, prev) != (expected, tip):
            found.append(f'the seal of {first} does not follow record {expected - 1}')
        message = b'onchannel-batch/v1\n' + device.encode() + struct.pack('>QQ', first, n) + prev + end
        if not signed(public_key, signature, message):
            found.append(f'the seal of {first} is not signed')
        tip = prev
        for seq in range(first, first + n):
            if seq not in by_seq:
                found.append(f'record {seq} is missing')
                break
            kept, salt, body = by_seq[seq]
            own = json.loads(body)['unmapped']['onchannel']
            if own.get('prev', tip.hex()) != tip.hex():
                found.append(f'record {seq} names another one before it')
            tip = sha(b'\2', device.encode(), struct.pack('>Q', seq), tip, sha(b'\3', salt, body))
            if tip != kept:
                found.append(f'record {seq} was changed')
        if tip != end:
            found.append(f'the seal of {first} has another head')
        expected = first + n
    if (expected, tip) != (next_seq, head):
        found.append(f'the head of the device is not that of its last seal: {expected}, {next_seq}')
    return found


def subtree(leaves):
    """RFC 6962 2.1"""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b'\1', subtree(leaves[:k]), subtree(leaves[k:]))


def root(entries):
    return subtree([sha(b'\0', e) for e in entries]) if entries else hashlib.sha256().digest()
