# SPDX-License-Identifier: GPL-3.0-or-later
"""A second verifier of evidence bundles, written from onchannel-evidence(5) and the RFCs, not from lib/evidence.

verify(bytes) gives a list of (line, device, seq, sentence): what is broken; empty when everything holds."""
import base64
import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Broken(Exception):
    pass


def sha(*parts):
    return hashlib.sha256(b''.join(parts)).digest()


def signed(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- RFC 9162 2.1.3.2 and 2.1.4.2 ----

def root_of(leaf, index, size, proof):
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            raise Broken('the proof is too long')
        if fn & 1 or fn == sn:
            r = sha(b'\1', p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha(b'\1', r, p)
        fn, sn = fn >> 1, sn >> 1
    if sn or index >= size:
        raise Broken('the proof is too short')
    return r


def consistent(old, old_root, new, new_root, proof):
    if old == new:
        return not proof and old_root == new_root
    if old > new:
        return False
    if old == 0:
        return not proof
    proof = list(proof) if old & (old - 1) else [old_root, *proof]
    if not proof:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for p in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = sha(b'\1', p, fr), sha(b'\1', p, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha(b'\1', sr, p)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == new_root and sn == 0


# ---- C2SP signed-note ----

def note_open(note, name, key):
    """The text of a note that this key has signed."""
    text, blank, signatures = note.rpartition('\n\n')
    if not blank or not signatures.endswith('\n'):
        raise Broken('not a note')
    text += '\n'
    key_id = sha(name.encode(), b'\n\1', key)[:4]
    for line in signatures.splitlines():
        dash, who, what = line.split(' ')
        raw = base64.b64decode(what, validate=True)
        if dash == '\u2014' and who == name and raw[:4] == key_id and signed(key, raw[4:], text.encode()):
            return text
    raise Broken(f'not signed by {name}')


def checkpoint_open(note, name, key):
    origin, size, root = note_open(note, name, key).split('\n')[:3]
    if origin != name:
        raise Broken('another log')
    return int(size), base64.b64decode(root, validate=True)


class Verifier:
    def __init__(self):
        self.problems, self.logs, self.seen, self.echoes = [], {}, set(), []
        self.head = self.device = self.ended = None
        self.present = self.audits = self.line = 0
        self.hash = hashlib.sha256()

    def problem(self, sentence, seq=0, line=None):
        self.problems.append((line or self.line, self.device['device'] if self.device else '', seq, sentence))

    def leaf(self, o, entry):
        if 'log' not in o:
            return False
        size, root = self.logs[o['log']][1:]
        if root_of(sha(b'\0', entry.encode()), o['leaf'], size, [bytes.fromhex(h) for h in o['proof']]) != root:
            raise Broken('not in the log')
        return True

    def on_head(self, o):
        if self.line != 1 or o['onchannel'] != 'evidence/v1':
            raise Broken('not a head')
        self.head = o

    def on_checkpoint(self, o):
        name, key_id, key = o['key'].split('+', 2)
        raw = base64.b64decode(key, validate=True)
        if raw[0] != 1 or sha(name.encode(), b'\n', raw)[:4].hex() != key_id or name in self.logs:
            raise Broken('not a key of a log')
        self.logs[name] = (raw[1:], *checkpoint_open(o['checkpoint'], name, raw[1:]))

    def on_cosigned(self, o):
        key, size, root = self.logs[o['log']]
        old = checkpoint_open(o['cosigned'], o['log'], key)
        if not consistent(*old, size, root, [bytes.fromhex(h) for h in o['proof']]):
            raise Broken('not in the history of the log')

    def on_device(self, o):
        self.device = o
        key = bytes.fromhex(o['key'])
        self.own_id, tilde, branch = o['device'].partition('~')
        if tilde and (branch != str(int(branch)) or not 2 <= int(branch) <= 99):
            raise Broken('not the name of a branch')
        if self.own_id != 'd-' + base64.b32encode(sha(key)[:15]).decode().lower():
            raise Broken('the name is not that of the key')
        self.next = self.tip = None

    def on_batch(self, o, records):
        device, first, n, prev, head = o['batch'], o['first'], o['n'], bytes.fromhex(o['prev']), bytes.fromhex(o['head'])
        key, line = bytes.fromhex(self.device['key']), self.line
        if device != self.device['device']:
            raise Broken('another device')
        if self.next is None and first == 1 and prev != sha(b'onchannel-chain/v1', key):
            self.problem('does not hang on the key', 1)
        if self.next is not None and (first, prev) != (self.next, self.tip):
            self.problem('missing records or a fork', first)
        self.next, self.tip = first + n, head
        if not signed(key, bytes.fromhex(o['sig']), b'onchannel-batch/v1\n' + self.own_id.encode() + struct.pack('>QQ', first, n) + prev + head):
            self.problem('wrong seal', first)
        entry = f"onchannel-leaf/v1 batch {device} {o['boot']} {first} {n} {o['prev']} {o['head']} {o['sig']} {o['received']}"
        try:
            self.leaf(o, entry)
        except Broken as e:
            self.problem(str(e), first + n - 1)
        walk = prev
        for i, item in enumerate(o.get('records', [])):
            commitment, _, salt = item.partition(':')
            before, seq = walk, first + i
            walk = sha(b'\2', self.own_id.encode(), struct.pack('>Q', seq), walk, bytes.fromhex(commitment))
            if not salt or salt == 'erased':
                continue
            self.line += 1
            if not records:
                self.problem('a record is missing', seq, self.line)
                self.line -= 1
                break
            self.record(seq, before, records.pop(0), bytes.fromhex(commitment), bytes.fromhex(salt))
        if 'records' in o and walk != head:
            self.problem('the commitments do not lead to the head', first, line)

    def record(self, seq, before, text, commitment, salt):
        if sha(b'\3', salt, text) != commitment:
            self.problem('changed', seq)
            return
        self.present += 1
        o = json.loads(text)
        own = o['unmapped']['onchannel']
        if o['metadata']['uid'] != f"{self.own_id}:{seq}" or own.get('prev', before.hex()) != before.hex():
            self.problem('sealed, but not this record', seq)
        seen = own.get('coverage', {}).get('checkpoint')
        if seen:
            self.echoes.append((self.line, seq, seen['log'], seen['size'], seen['root']))

    def on_audit(self, o, records):
        self.device = None
        if not records:
            raise Broken('the text is missing')
        text = records.pop(0)
        entry = f"onchannel-leaf/v1 audit {o['audit']} {sha(bytes([3]), bytes.fromhex(o['salt']), text).hex()}"
        if not self.leaf(o, entry):
            raise Broken('in no log')
        self.line += 1
        self.audits += 1

    def on_seen(self, o):
        _, size, root = self.logs[o['log']]
        if not consistent(o['seen'], bytes.fromhex(o['root']), size, root, [bytes.fromhex(h) for h in o['proof']]):
            raise Broken('not in the history of the log')
        self.seen.add((o['log'], o['seen'], o['root']))

    def on_end(self, o, digest):
        self.ended = True
        origin = self.head['origin']
        expected = f'onchannel evidence bundle\n{origin}\n{self.line - 1}\n{digest}\n'
        if note_open(o['end'], origin, self.logs[origin][0]) != expected:
            raise Broken('not the bundle that was signed')

    def take(self, line, records):
        digest = self.hash.hexdigest()
        for part in (line, *records):
            self.hash.update(part + b'\n')
        self.line += 1
        begin, first = self.line, True
        try:
            body, _, tail = line.rpartition(b',"sum":"')
            if self.ended or tail != hashlib.sha256(body).hexdigest()[:16].encode() + b'"}':
                raise Broken('this line was changed')
            o = json.loads(line)
            kind = next(iter(o))
            kind = 'head' if kind == 'onchannel' else kind
            method = getattr(self, 'on_' + kind)
            if kind in ('batch', 'audit'):
                method(o, records)
            else:
                method(o, *([digest] if kind == 'end' else []))
        except (Broken, KeyError, ValueError, TypeError, StopIteration, AttributeError) as e:
            self.problem(f'{type(e).__name__}: {e}', line=begin)
            first = False
        if records and first:
            self.line += 1
            self.problem('a line that belongs to nothing')
            self.line -= 1
        self.line = begin + self.count


BEGINS = tuple(b'{"%s":' % k for k in (b'onchannel', b'checkpoint', b'cosigned', b'batch', b'audit', b'seen', b'end')) + (b'{"device":"',)


def verify(data):
    v = Verifier()
    lines = data.split(b'\n')
    if lines.pop() != b'':
        v.problems.append((len(lines) + 1, '', 0, 'cut short'))
    i = 0
    while i < len(lines):
        end = i + 1
        while end < len(lines) and not lines[end].startswith(BEGINS):
            end += 1
        v.count = end - i - 1
        v.take(lines[i], lines[i + 1:end])
        i = end
    for line, seq, *echo in v.echoes:
        if tuple(echo) not in v.seen:
            v.problem('the device saw another log', seq, line)
    if not v.ended:
        v.problem('the end is missing')
    return v


if __name__ == '__main__':
    result = verify(open(sys.argv[1], 'rb').read())
    for p in result.problems:
        print(*p)
    print(f'{result.present} records, {result.audits} actions:', 'broken' if result.problems else 'holds')
    sys.exit(bool(result.problems))
