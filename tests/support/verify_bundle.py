# SPDX-License-Identifier: GPL-3.0-or-later
"""A second verifier of evidence bundles, written from onchannel-evidence(5) and the RFCs, not from lib/evidence.

verify(bytes) gives a Verifier; its problems are (line, device, seq, sentence), none when everything holds."""
import base64
import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, StopIteration, struct.error)


def require(holds, sentence):
    if not holds:
        raise ValueError(sentence)


def sha(*parts):
    return hashlib.sha256(b''.join(parts)).digest()


def signed(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- RFC 9162 2.1.3.1 and 2.1.4.1, where a proof is made, read backwards ----

def split(size):
    """The largest power of two below it: how many leaves a tree's left half has."""
    return 1 << (size - 1).bit_length() - 1


def root_of(leaf, index, size, proof):
    require(0 <= index < size, 'not a place in this log')
    if size == 1:
        require(not proof, 'the proof is too long')
        return leaf
    k, rest, other = split(size), proof[:-1], proof[-1]
    if index < k:
        return sha(b'\1', root_of(leaf, index, k, rest), other)
    return sha(b'\1', other, root_of(leaf, index - k, size - k, rest))


def two_roots(old, new, proof, old_root):
    """Of the tree's first leaves and of all; old_root is known where the proof leaves it out, inside it is None."""
    if old == new:
        known, = [*proof, old_root] if old_root else proof
        return known, known
    k, rest, other = split(new), proof[:-1], proof[-1]
    if old <= k:
        before, after = two_roots(old, k, rest, old_root)
        return before, sha(b'\1', after, other)
    before, after = two_roots(old - k, new - k, rest, None)
    return sha(b'\1', other, before), sha(b'\1', other, after)


def require_history(old, old_root, new, new_root, proof):
    require(0 <= old <= new, 'of another history')
    roots = two_roots(old, new, [bytes.fromhex(h) for h in proof], old_root) if old else (old_root, new_root)
    require(roots == (old_root, new_root) and (old or not proof), 'not in the history of the log')


# ---- C2SP signed-note and tlog-checkpoint ----

def note_open(note, name, key):
    """The text of a note that this key has signed."""
    text, blank, signatures = note.rpartition('\n\n')
    require(blank and signatures.endswith('\n'), 'not a note')
    text += '\n'
    key_id = sha(name.encode(), b'\n\1', key)[:4]
    for line in signatures.splitlines():
        dash, who, what = line.split(' ')
        raw = base64.b64decode(what, validate=True)
        if (dash, who, raw[:4]) == ('\u2014', name, key_id) and signed(key, raw[4:], text.encode()):
            return text
    raise ValueError(f'not signed by {name}')


def checkpoint_open(note, name, key):
    origin, size, root = note_open(note, name, key).split('\n')[:3]
    require(origin == name, 'another log')
    return int(size), base64.b64decode(root, validate=True)


class Verifier:
    """A method on_… for each sort of line, by its first member. It takes what follows the line from `rest`: (number, bytes)."""

    def __init__(self):
        self.problems, self.logs, self.seen, self.echoes = [], {}, set(), []
        self.device, self.origin, self.ended = '', None, False
        self.present = self.audits = self.line = 0
        self.hash = hashlib.sha256()

    def problem(self, sentence, seq=0, line=None):
        self.problems.append((line or self.line, self.device, seq, sentence))

    def on_onchannel(self, o, rest):
        require(self.line == 1 and o['onchannel'] == 'evidence/v1', 'not a head')
        self.origin = o['origin']

    def on_checkpoint(self, o, rest):
        name, key_id, key = o['key'].split('+', 2)
        raw = base64.b64decode(key, validate=True)
        require(raw[0] == 1 and sha(name.encode(), b'\n', raw)[:4].hex() == key_id and name not in self.logs, 'not a key of a log')
        self.logs[name] = (raw[1:], *checkpoint_open(o['checkpoint'], name, raw[1:]))

    def on_cosigned(self, o, rest):
        key, size, root = self.logs[o['log']]
        require_history(*checkpoint_open(o['cosigned'], o['log'], key), size, root, o['proof'])

    def on_seen(self, o, rest):
        require_history(o['seen'], bytes.fromhex(o['root']), *self.logs[o['log']][1:], o['proof'])
        self.seen.add((o['log'], o['seen'], o['root']))

    def on_device(self, o, rest):
        require({'name', 'enrolled'} <= o.keys(), 'a member is missing')
        self.device, self.key, self.next = o['device'], bytes.fromhex(o['key']), None
        self.own_id, tilde, branch = self.device.partition('~')
        require(not tilde or branch == str(int(branch)) and 2 <= int(branch) <= 99, 'not the name of a branch')
        require(self.own_id == 'd-' + base64.b32encode(sha(self.key)[:15]).decode().lower(), 'the name is not that of the key')

    def on_batch(self, o, rest):
        require(o['batch'] == self.device, 'another device')
        first, n, prev, head = o['first'], o['n'], bytes.fromhex(o['prev']), bytes.fromhex(o['head'])
        if self.next is None and first == 1 and prev != sha(b'onchannel-chain/v1', self.key):
            self.problem('does not hang on the key', 1)
        if self.next not in (None, (first, prev)):
            self.problem('missing records or a fork', first)
        self.next = (first + n, head)
        if not signed(self.key, bytes.fromhex(o['sig']), b'onchannel-batch/v1\n' + self.own_id.encode() + struct.pack('>QQ', first, n) + prev + head):
            self.problem('wrong seal', first)
        try:
            entry = (o[member] for member in ('batch', 'boot', 'first', 'n', 'prev', 'head', 'sig', 'received'))
            if 'log' in o:
                self.require_leaf(o, 'batch', *entry)
        except BROKEN as e:
            self.problem(str(e), first + n - 1)
        if 'records' in o:
            self.walk(o['records'], first, prev, head, rest)

    def walk(self, commitments, seq, walk, head, rest):
        for seq, item in enumerate(commitments, seq):
            commitment, _, salt = item.partition(':')
            before, walk = walk, sha(b'\2', self.own_id.encode(), struct.pack('>Q', seq), walk, bytes.fromhex(commitment))
            if salt and salt != 'erased':
                line, text = next(rest, (self.line, b''))
                if sha(b'\3', bytes.fromhex(salt), text).hex() == commitment:
                    self.record(line, seq, before, json.loads(text))
                else:
                    self.problem('changed', seq, line)
        if walk != head:
            self.problem('the commitments do not lead to the head', seq)

    def record(self, line, seq, before, o):
        self.present += 1
        own = o['unmapped']['onchannel']
        if o['metadata']['uid'] != f'{self.own_id}:{seq}' or own.get('prev', before.hex()) != before.hex():
            self.problem('sealed, but not this record', seq, line)
        if seen := own.get('coverage', {}).get('checkpoint'):
            self.echoes.append((line, seq, (seen['log'], seen['size'], seen['root'])))

    def on_audit(self, o, rest):
        self.device = ''
        self.require_leaf(o, 'audit', o['audit'], sha(b'\3', bytes.fromhex(o['salt']), next(rest)[1]).hex())
        self.audits += 1

    def require_leaf(self, o, *entry):
        size, root = self.logs[o['log']][1:]
        leaf = sha(b'\0', ' '.join(map(str, ('onchannel-leaf/v1', *entry))).encode())
        require(root_of(leaf, o['leaf'], size, [bytes.fromhex(h) for h in o['proof']]) == root, 'not in the log')

    def on_end(self, o, rest):
        self.ended = True
        signed_text = note_open(o['end'], self.origin, self.logs[self.origin][0])
        require(signed_text == f'onchannel evidence bundle\n{self.origin}\n{self.line - 1}\n{self.hash.hexdigest()}\n', 'not the bundle that was signed')

    def take(self, number, lines):
        """A line of JSON, and those up to the next one."""
        self.line, rest = number, enumerate(lines[1:], number + 1)
        try:
            body, _, tail = lines[0].rpartition(b',"sum":"')
            require(not self.ended and tail == sha(body).hex()[:16].encode() + b'"}', 'this line was changed')
            o = json.loads(lines[0])
            getattr(self, f'on_{next(iter(o))}')(o, rest)
            for line, _ in rest:
                self.problem('a line that belongs to nothing', line=line)
        except BROKEN as e:
            self.problem(f'{type(e).__name__}: {e}')
        self.hash.update(b''.join(line + b'\n' for line in lines))


BEGINS = tuple(b'{"%s":' % k for k in (b'onchannel', b'checkpoint', b'cosigned', b'batch', b'audit', b'seen', b'end')) + (b'{"device":"',)


def verify(data):
    v = Verifier()
    *lines, after = data.split(b'\n')
    begins = [i for i, line in enumerate(lines) if line.startswith(BEGINS) or i == 0]
    for i, end in zip(begins, [*begins[1:], len(lines)]):
        v.take(i + 1, lines[i:end])
    for line, seq, echo in v.echoes:
        if echo not in v.seen:
            v.problem('the device saw another log', seq, line)
    if after or not v.ended:
        v.problem('the end is missing')
    return v


if __name__ == '__main__':
    result = verify(open(sys.argv[1], 'rb').read())
    for p in result.problems:
        print(*p)
    print(f'{result.present} records, {result.audits} actions:', 'broken' if result.problems else 'holds')
    sys.exit(bool(result.problems))
