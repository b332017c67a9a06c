# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of a test's own: a new cluster in a folder, on a socket there, as a user without rights."""
import glob
import pathlib
import pwd
import os
import shutil
import signal
import subprocess
import tempfile


def programs():
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin'))
    return pathlib.Path(found[-1]) if found else None


class Postgres:
    def __init__(self, follow=None, options='', folder=None, network=()):
        """follow: the server whose streaming replica this one is; network: the command that enters the one it is in."""
        self.bin, self.options, self.network, self.frozen = programs(), options, network, []
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix='oc-pg-'))
        self.user = pwd.getpwnam('nobody')
        shutil.chown(self.folder, 'nobody', self.user.pw_gid)
        self.folder.chmod(0o755)
        if follow:
            self.run('pg_basebackup', '-h', follow.folder, '-U', 'onchannel', '-D', self.folder / 'db', '-X', 'stream', '-R')
        else:
            self.run('initdb', '-D', self.folder / 'db', '-U', 'onchannel', '--locale=C', '-E', 'UTF8', '-A', 'trust')
        self.start()

    @property
    def url(self):
        return f'postgresql://onchannel@/postgres?host={self.folder}'

    def run(self, program, *args, check=True):
        as_nobody = ('setpriv', '--reuid', 'nobody', '--regid', str(self.user.pw_gid), '--clear-groups', '--')
        result = subprocess.run([*self.network, *as_nobody, self.bin / program, *map(str, args)], cwd='/', capture_output=True,
                                text=True, check=False, stdin=subprocess.DEVNULL)
        assert not check or result.returncode == 0, f'{program} {args}: {result.stdout}{result.stderr}{self.log()}'
        return result.stdout

    def log(self):
        log = self.folder / 'log'
        return log.read_text(errors='replace')[-2000:] if log.exists() else ''

    def start(self):
        self.run('pg_ctl', '-D', self.folder / 'db', '-w', '-l', self.folder / 'log', '-o',
                 f"-k {self.folder} -c listen_addresses='' {self.options}", 'start')

    def stop(self, how='immediate'):
        self.run('pg_ctl', '-D', self.folder / 'db', '-w', '-m', how, 'stop', check=False)

    def promote(self):
        self.run('pg_ctl', '-D', self.folder / 'db', '-w', 'promote')

    def freeze(self):
        """Every process of this server stands still, the first one first, so that it makes no more."""
        first = int((self.folder / 'db/postmaster.pid').read_text().split()[0])
        os.kill(first, signal.SIGSTOP)
        self.frozen = [first, *map(int, pathlib.Path(f'/proc/{first}/task/{first}/children').read_text().split())]
        for pid in self.frozen[1:]:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.frozen:
            os.kill(pid, signal.SIGCONT)
        self.frozen = []

    def sql(self, statement):
        """Rows as lists of text."""
        text = self.run('psql', '-h', self.folder, '-U', 'onchannel', '-d', 'postgres', '-X', '-A', '-t', '-c', statement)
        return [line.split('|') for line in text.splitlines()]

    def remove(self):
        self.thaw()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
