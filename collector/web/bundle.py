#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundle the page with esbuild and write it as C: bundle.py SOURCE OUTPUT.c

The packages are installed into a copy of the sources beside OUTPUT, so that the source tree
stays clean and two build folders never share one."""
import hashlib
import pathlib
import shutil
import subprocess
import sys

TYPES = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
         '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml'}


def bundle(source, work):
    for name in ('package.json', 'package-lock.json', '.npmrc'):
        shutil.copy(source / name, work / name)
    shutil.rmtree(work / 'src', ignore_errors=True)
    shutil.copytree(source / 'src', work / 'src')
    lock = (work / 'package-lock.json').read_bytes()
    stamp = work / 'node_modules' / '.lock-installed'
    if not stamp.exists() or stamp.read_bytes() != lock:
        subprocess.run(['npm', 'ci', '--silent'], cwd=work, check=True)
        stamp.write_bytes(lock)
    subprocess.run(['npm', 'run', '--silent', 'bundle', '--', '--outdir=out', '--log-level=warning'], cwd=work, check=True)
    out = work / 'out'
    return {'/': source / 'src/index.html', '/icon.svg': source / 'src/icon.svg',
            '/main.js': out / 'main.js', '/style.css': out / 'style.css'}


def main():
    source, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).absolute()
    work = output.with_suffix('.work')
    work.mkdir(parents=True, exist_ok=True)
    lines = ['/* Made by bundle.py. */', '#include "collector/web/assets.h"', '']
    rows = []
    for number, (path, file) in enumerate(sorted(bundle(source, work).items())):
        data = file.read_bytes()
        etag = hashlib.sha256(data).hexdigest()[:32]
        body = ',\n'.join(','.join(map(str, data[i:i + 32])) for i in range(0, len(data), 32))
        lines += [f'static const unsigned char asset_{number}[] = {{', body, '};']
        rows.append(f'        {{"{path}", "{TYPES[file.suffix]}", "\\"{etag}\\"", asset_{number}, sizeof(asset_{number})}},')
    lines += ['', 'const struct web_asset web_assets[] = {', *rows, '};',
              'const size_t n_web_assets = sizeof(web_assets) / sizeof(web_assets[0]);', '']
    output.write_text('\n'.join(lines))


main()
