# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of a test's own: a new cluster in a folder, on a socket there, as a user without rights."""
import glob
import pathlib
import pwd
import shutil
import subprocess
import tempfile


def programs():
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin'))
    return pathlib.Path(found[-1]) if found else None


class Postgres:
    def __init__(self, follow=None, options='', folder=None):
        """follow: the server whose streaming replica this one is."""
        self.bin, self.options = programs(), options
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
        result = subprocess.run([self.bin / program, *map(str, args)], cwd='/', capture_output=True, text=True, check=False,
                                user='nobody', group=self.user.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL)
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

    def sql(self, statement):
        """Rows as lists of text."""
        text = self.run('psql', '-h', self.folder, '-U', 'onchannel', '-d', 'postgres', '-X', '-A', '-t', '-c', statement)
        return [line.split('|') for line in text.splitlines()]

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
