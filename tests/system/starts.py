# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways in which a program comes to run that is no child of somebody's session, on a machine with systemd. Each runs the
same attempts in a folder of its own, so that what is recorded tells them apart by the program's path."""
import pathlib
import shutil
import subprocess

from harness import SLOW
from internet import COLLECTOR, WORLD4, wait_for

USER, UID = "emp", 4242
HOME = pathlib.Path(f"/home/{USER}")
CODES = "126 1 1 1 0"  # a messenger, its name, its address, its name in a hello; somebody innocent

PROBE = f"""#!/bin/sh
cd "${{0%/*}}" || exit 1
"$PWD/signal-desktop"; a=$?
"$PWD/fetch" -c 'exec 3<>/dev/tcp/web.whatsapp.com/443'; b=$?
"$PWD/fetch" -c 'exec 3<>/dev/tcp/149.154.167.50/443'; c=$?
"$PWD/fetch" -c 'exec 3<>/dev/tcp/{WORLD4}/8443 && cat ../hello >&3 && read -r -t 60 -N 1 <&3'; d=$?
"$PWD/fetch" -c 'exec 3<>/dev/tcp/{COLLECTOR}/8444'; e=$?
echo "$a $b $c $d $e $(id -u) $(grep ^0: /proc/self/cgroup)" >result.new
mv result.new result
"""
# In a cgroup that was handed to the person: born in one below it, as a thread below it, out of sight of the one above it.
DELEGATED = {
    "clone": """
fd = os.open(own + "/below", os.O_RDONLY)
pid = libc.syscall(435, struct.pack("11Q", 1 << 33, 0, 0, 0, 17, 0, 0, 0, 0, 0, fd), 88)  # clone3, CLONE_INTO_CGROUP
if pid:
    os.waitpid(pid, 0)
    sys.exit()
""",
    "threaded": """
open(own + "/below/cgroup.type", "w").write("threaded")
open(own + "/below/cgroup.threads", "w").write("0")
""",
    "namespace": """
open(own + "/below/cgroup.procs", "w").write("0")
if libc.unshare(0x12020000):  # CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP
    sys.exit("unshare")
open("/proc/self/uid_map", "w").write("4242 4242 1")
libc.mount(b"none", b"/", None, 0x44000, None)
if libc.mount(b"none", b"/mnt", b"cgroup2", 0, None):
    sys.exit("mount")
os.mkdir("/mnt/deeper")
open("/mnt/deeper/cgroup.procs", "w").write("0")
""",
}
DELEGATE = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
own = "/sys/fs/cgroup" + open("/proc/self/cgroup").read().strip().rpartition(":")[2]
os.mkdir(own + "/below")
"""

UNITS = f"""
mkdir -p {HOME}/.config/systemd/user {HOME}/.config/autostart {HOME}/.local/share/dbus-1/services
cd {HOME}/.config/systemd/user
for u in userbus socket; do printf '[Service]\\nType=oneshot\\nExecStart={HOME}/%s/probe\\n' $u >$u.service; done
printf '[Socket]\\nListenStream=%%t/test\\n' >socket.socket
printf '[Unit]\\nWants=xdg-desktop-autostart.target\\n' >desktop.target
printf '[Desktop Entry]\\nType=Application\\nName=a\\nExec={HOME}/autostart/probe\\n' >{HOME}/.config/autostart/a.desktop
cd {HOME}/.local/share/dbus-1/services
printf '[D-BUS Service]\\nName=test.sessionbus\\nExec={HOME}/sessionbus/probe\\n' >test.sessionbus.service
printf '[D-BUS Service]\\nName=test.userbus\\nExec=/bin/false\\nSystemdService=userbus.service\\n' >test.userbus.service
printf '[D-BUS Service]\\nName=test.systembus\\nExec=/bin/false\\nUser=root\\nSystemdService=systembus.service\\n' >/usr/share/dbus-1/system-services/test.systembus.service
printf '[Service]\\nType=oneshot\\nUser={USER}\\nExecStart={HOME}/systembus/probe\\n' >/run/systemd/system/systembus.service
mkdir -p {HOME}/.ssh /run/sshd
ssh-keygen -q -t ed25519 -N '' -f /root/key
cp /root/key.pub {HOME}/.ssh/authorized_keys
chown -R {USER}: {HOME}
chmod 755 {HOME}
chmod 700 {HOME}/.ssh
echo '@reboot {HOME}/cron/probe' | crontab -u {USER} -
systemctl daemon-reload
systemctl start dbus systemd-logind systemd-machined cron atd ssh
systemctl start user@{UID}
"""
ACTIVATE = "call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus StartServiceByName su"
AS_USER = f"runuser -u {USER} -- env XDG_RUNTIME_DIR=/run/user/{UID} DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{UID}/bus "
WAYS = {
    "sessionbus": AS_USER + f"dbus-run-session -- busctl --user {ACTIVATE} test.sessionbus 0",
    "userbus": AS_USER + f"busctl --user {ACTIVATE} test.userbus 0",
    "systembus": AS_USER + f"busctl --system {ACTIVATE} test.systembus 0",
    "run": AS_USER + f"systemd-run -q --user {HOME}/run/probe",
    "scope": AS_USER + f"systemd-run -q --user --scope --slice=mine.slice {HOME}/scope/probe",
    "timer": AS_USER + f"systemd-run -q --user --on-active=0 --timer-property=AccuracySec=1ms {HOME}/timer/probe",
    "socket": AS_USER + f"sh -c 'systemctl --user start socket.socket; python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect(\\\"/run/user/{UID}/test\\\")\"'",
    "autostart": AS_USER + "systemctl --user start desktop.target",
    "cron": "true",  # @reboot: when cron starts
    "at": AS_USER + f"sh -c 'cd {HOME}; echo {HOME}/at/probe | at now'",
    "su": f"su - {USER} -c {HOME}/su/probe",
    "machinectl": f"machinectl -q shell {USER}@.host {HOME}/machinectl/probe",
    "ssh": f"ssh -n -i /root/key -o StrictHostKeyChecking=no {USER}@127.0.0.1 {HOME}/ssh/probe",
    **{way: AS_USER + f"systemd-run -q --user -p Delegate=yes python3 {HOME}/{way}/delegate" for way in DELEGATED},
}


def begin(script):
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def prepare(hello):
    """The person, their files, and the services that start things for them; hello: bytes of a TLS client."""
    assert begin(f"useradd -m -u {UID} -s /bin/sh {USER}").wait() == 0
    (HOME / "hello").write_bytes(hello)
    for way in WAYS:
        folder = HOME / way
        folder.mkdir()
        shutil.copy("/usr/bin/true", folder / "signal-desktop")
        shutil.copy("/usr/bin/bash", folder / "fetch")
        (folder / "probe").write_text(PROBE)
        (folder / "probe").chmod(0o755)
        if way in DELEGATED:
            (folder / "delegate").write_text(DELEGATE + DELEGATED[way] + f"os.execv('{folder}/probe', ['{folder}/probe'])\n")
    r = begin("set -e" + UNITS)
    said = r.communicate()[0]
    assert r.returncode == 0, said


def results():
    """way -> (exit codes, uid, cgroup), of all that are started."""
    begun = {way: begin(command) for way, command in WAYS.items()}
    found = {}
    try:
        for way in WAYS:
            file = HOME / way / "result"
            wait_for(file.exists, 10 * SLOW, way)
            *codes, uid, _, cgroup = file.read_text().replace(" 0::", " 0:: ").split()
            found[way] = " ".join(codes), int(uid), cgroup
    except TimeoutError as e:
        raise AssertionError(f"{e} did not start; so far: {found}") from None
    finally:
        for process in begun.values():
            process.kill()
            said = process.communicate()[0]
            if said:
                print(f"{process.args[-1]}: {said}")
        begin(f"systemctl stop user@{UID} systemd-machined cron atd ssh").wait()
    return found
