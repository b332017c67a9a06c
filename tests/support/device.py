# SPDX-License-Identifier: GPL-3.0-or-later
"""A device in Python: enrols, chains, seals and sends records over real mTLS with curl.

Written from ARCHITECTURE.md and lib/record/chain.h, not from their code, so that the two check each other."""
import base64
import hashlib
import json
import os
import pathlib
import secrets
import struct
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID


class Answer:
    def __init__(self, status, body, headers=''):
        self.status, self.body, self.headers = status, body, headers

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f'<{self.status} {self.body[:200]!r}>'


def curl(url, *args, data=None, headers=(), ca=None, timeout=20, prefix=()):
    """One HTTP/2 request; `prefix` is put before curl (a namespace's entry)."""
    command = [*prefix, 'curl', '--silent', '--show-error', '--http2', '--max-time', str(timeout), '--output', '-',
               '--write-out', '\n%{http_code}', *args]
    if ca:
        command += ['--cacert', str(ca)]
    for h in headers:
        command += ['-H', h]
    if data is not None:
        command += ['--data-binary', '@-']
    result = subprocess.run([*command, url], input=data, capture_output=True, check=False)
    body, _, status = result.stdout.rpartition(b'\n')
    if result.returncode and status in (b'', b'000'):
        raise ConnectionError(f'curl {result.returncode}: {result.stderr.decode().strip()}')
    return Answer(int(status), body)


class Device:
    def __init__(self, folder, url, ca, name='ws-test'):
        self.folder, self.url, self.ca, self.name = pathlib.Path(folder), url, ca, name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        digest = hashlib.sha256(self.public).digest()[:15]
        self.id = 'd-' + base64.b32encode(digest).decode().lower()
        self.head = hashlib.sha256(b'onchannel-chain/v1' + self.public).digest()
        self.next_seq = 1
        self.boot = '00000000-0000-4000-8000-000000000001'
        self.prefix = ()
        self.n_identities = 0
        self.proof_key = None

    def identity(self):
        """The certificate and the key in use, as files that stay when they are renewed."""
        return self.folder / f'cert{self.n_identities}.pem', self.folder / f'key{self.n_identities}.pem'

    def _arguments(self, identity):
        certificate, key = identity or (self.folder / 'cert.pem', self.folder / 'key.pem')
        return ['--cert', str(certificate), '--key', str(key)]

    def call(self, path, identity=None, **keys):
        return curl(self.url + path, *self._arguments(identity), ca=self.ca, prefix=self.prefix, **keys)

    def hold(self, path):
        """curl, waiting for another answer than the one that there is."""
        command = [*self.prefix, 'curl', '--silent', '--http2', '--max-time', '300', '--cacert', str(self.ca), *self._arguments(None)]
        first = subprocess.run([*command, '--head', '-X', 'GET', self.url + path], capture_output=True, text=True, check=True).stdout
        etag, = [line.split(': ')[1] for line in first.splitlines() if line.lower().startswith('etag')]
        return subprocess.Popen([*command, '-H', f'If-None-Match: {etag}', self.url + path], stdout=subprocess.DEVNULL)

    def request(self):
        """A new TLS key and its certificate request, PEM."""
        tls = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.id)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(tls, hashes.SHA256())
        return tls, csr.public_bytes(serialization.Encoding.PEM)

    def keep(self, tls, certificate):
        key = tls.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.n_identities += 1
        for name, data in (('cert', certificate.encode()), ('key', key)):
            for path in (self.folder / f'{name}.pem', self.folder / f'{name}{self.n_identities}.pem'):
                path.write_bytes(data)
                os.chmod(path, 0o600)

    def enrol(self, token, identity=None):
        """By token, or with None by a firm's certificate."""
        tls, pem = self.request()
        body = {'csr': pem.decode(), 'device_key': self.public.hex(), 'name': self.name,
                'proof': (self.proof_key or self.key).sign(b'onchannel-enrol/v1\n' + pem).hex()}
        if token is not None:
            body['token'] = token
        answer = curl(self.url + '/v1/enrol', *(self._arguments(identity) if identity else []), data=json.dumps(body).encode(), ca=self.ca,
                      prefix=self.prefix, headers=['Content-Type: application/json'])
        if answer.status == 200:
            assert answer.json['device'] == self.id, 'device ids are computed differently'
            self.keep(tls, answer.json['certificate'])
        return answer

    def renew(self, identity=None, store=True):
        tls, pem = self.request()
        answer = self.call('/v1/renew', identity, data=json.dumps({'csr': pem.decode()}).encode(), headers=['Content-Type: application/json'])
        if answer.status == 200 and store:
            self.keep(tls, answer.json['certificate'])
        return answer

    def record(self, seq, prev, **change):
        """One violation record as an agent would write it."""
        now = change.pop('time', int(time.time() * 1000))
        own = {'kind': 'violation', 'id': secrets.token_hex(16), 'class': 'use', 'tier': 'name', 'layer': 'dns',
               'outcome': 'dropped', 'verdict': 'block', 'channel': 'whatsapp', 'channel_name': 'WhatsApp', 'category': 'messenger',
               'entry': 'suffix whatsapp.com', 'entry_source': 'whatsapp.ini:10', 'prev': prev.hex(), 'boottime_ms': 1,
               'notified': True}
        own.update(change.pop('own', {}))
        record = {'class_uid': 4003, 'category_uid': 4, 'activity_id': 1, 'type_uid': 400301, 'time': now,
                  'start_time': now, 'end_time': now, 'count': 1, 'severity_id': 3, 'action_id': 2, 'disposition_id': 6,
                  'is_alert': True, 'app_name': 'WhatsApp',
                  'metadata': {'version': '1.8.0', 'uid': f'{self.id}:{seq}', 'sequence': seq,
                               'profiles': ['host', 'security_control'],
                               'product': {'name': 'onchannel', 'vendor_name': 'onchannel', 'version': '0'}},
                  'device': {'uid': self.id, 'hostname': self.name, 'type_id': 3},
                  'actor': {'user': {'name': 'anna', 'uid': '1000'},
                            'process': {'pid': 4711, 'name': 'curl', 'file': {'name': 'curl', 'path': '/usr/bin/curl', 'type_id': 1}}},
                  'policy': {'uid': 'Example Bank plc', 'version': '42'}, 'unmapped': {'onchannel': own}}
        record.update(change)
        for part in (record, own):  # None: not there
            for key in [k for k, v in part.items() if v is None]:
                del part[key]
        return json.dumps(record, separators=(',', ':')).encode()

    def next_hash(self, seq, prev, salt, record):
        commitment = hashlib.sha256(b'\x03' + salt + record).digest()
        return hashlib.sha256(b'\x02' + self.id.encode() + struct.pack('>Q', seq) + prev + commitment).digest()

    def batch(self, changes=({},), *, records=None, first=None, prev=None):
        """A signed batch of records (one per dict of changes, or given bytes); does not move the head."""
        first, prev = first or self.next_seq, prev or self.head
        head, salts, lines = prev, b'', []
        for i, change in enumerate(records or changes):
            record = change if isinstance(change, bytes) else self.record(first + i, head, **dict(change))
            salt = secrets.token_bytes(16)
            head = self.next_hash(first + i, head, salt, record)
            salts += salt
            lines.append(record)
        n = len(lines)
        signed = b'onchannel-batch/v1\n' + self.id.encode() + struct.pack('>QQ', first, n) + prev + head
        header = {'v': 1, 'device': self.id, 'boot': self.boot, 'first': first, 'n': n, 'prev': prev.hex(),
                  'head': head.hex(), 'sig': self.key.sign(signed).hex(), 'salts': salts.hex()}
        return b''.join(line + b'\n' for line in [json.dumps(header).encode(), *lines]), first + n, head

    def post(self, ndjson):
        packed = subprocess.run(['zstd', '-q', '-c'], input=ndjson, capture_output=True, check=True).stdout
        return self.call('/v1/reports', data=packed,
                         headers=['Content-Type: application/x-ndjson', 'Content-Encoding: zstd'])

    def send(self, changes=({},)):
        ndjson, next_seq, head = self.batch(changes)
        answer = self.post(ndjson)
        if answer.status == 200:
            self.next_seq, self.head = next_seq, head
        return answer
