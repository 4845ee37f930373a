# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests for tests/vm/run and tests/vm/guest: what they are made of, how they boot, what they tell."""

import ctypes
import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent

# user space, kernel, and the version of systemd in it
ROWS = {
    1: ("tree-trixie", "kernel-trixie", 257),
    2: ("tree-trixie", "kernel-trixie-backports", 257),
    3: ("tree-bookworm", "kernel-bookworm-backports", 252),
}
# mke2fs is in /usr/sbin, which a plain user may not have in PATH
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ublkd"
SCRATCH_BYTES = 4 << 30
# With more CPUs the kernel starts on one, for an emulated machine takes too long for all at once; who wants the others
# puts them online.
SMP_AT_ONCE = 8
# Host side limits. A guest is emulated and the host may be busy: they only have to end a hang.
BOOT_LIMIT = {"mini": 90, "full": 400}
POWEROFF_LIMIT = 120


class Error(Exception):
    pass


def end_on_signals():
    """A killed driver takes its guests and temporary files along."""

    def end(number, _):
        raise SystemExit(128 + number)

    for s in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, end)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


_prepared = {}
_prepare_lock = threading.Lock()


def prepared(name):
    """Path of an object of the cache, made if it is not there."""
    with _prepare_lock:
        if name not in _prepared:
            r = subprocess.run([HERE / "prepare", name], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            if r.returncode:
                raise Error(f"cannot prepare {name}")
            _prepared[name] = Path(r.stdout.strip())
        return _prepared[name]


def host_release():
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=")[1].strip('"')
    return "unknown"


def row_skip_reason(row, dest):
    """Why the files under test cannot run in the guest of this row, or None."""
    if row == 3 and dest is not None and host_release() != "bookworm":
        return "what this host builds needs newer libraries than Debian 12 has: row 3 needs a build on Debian 12"
    return None


def build(sanitize=False):
    """Builds the tree under test and returns the directory it is installed into. With sanitizers their libraries are
    linked in, so that the guest needs none."""
    top = SOURCE / "build" / ("vm-sanitize" if sanitize else "vm")
    tree, dest = top / "tree", top / "dest"
    top.mkdir(parents=True, exist_ok=True)
    with open(top / "lock", "w") as lock, open(top / "log", "w") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        commands = []
        if not (tree / "build.ninja").exists():
            shutil.rmtree(tree, ignore_errors=True)
            options = []
            if sanitize:
                commands.append(["cc", "-O1", "-c", str(HERE / "sanitize.c"), "-o", str(top / "sanitize.o")])
                options = ["-Db_sanitize=address,undefined", "-Db_lundef=false",
                           "-Dc_link_args=" + repr(["-static-libasan", "-static-libubsan", str(top / "sanitize.o")])]
            commands.append(["meson", "setup", "-Dwerror=true", "-Dtests=false", *options, str(tree), str(SOURCE)])
        commands.append(["meson", "compile", "-C", str(tree)])
        commands.append(["meson", "compile", "-C", str(tree), "vm-tools"])
        commands.append(["meson", "install", "-C", str(tree), "--quiet", "--no-rebuild", "--destdir", str(dest) + ".new"])
        shutil.rmtree(str(dest) + ".new", ignore_errors=True)
        env = dict(os.environ, LC_ALL="C.UTF-8")
        for command in commands:
            log.write("$ " + " ".join(command) + "\n")
            log.flush()
            if subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env).returncode:
                print(Path(log.name).read_text()[-6000:])
                raise Error("the tree under test cannot be built: " + " ".join(command))
        new = Path(str(dest) + ".new")
        new.mkdir(exist_ok=True)
        # /lib is a link in the guest
        for name in ("lib", "bin", "sbin", "lib64"):
            if (new / name).is_dir():
                shutil.copytree(new / name, new / "usr" / name, symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(new / name)
        # what cases run and nobody installs
        tools = new / "usr/local/bin"
        tools.mkdir(parents=True)
        for tool in ("torture", "pauses", "load", "stranger", "keep-ring"):
            shutil.copy2(tree / "tests/tools" / tool, tools)
        shutil.rmtree(top / "units", ignore_errors=True)
        (top / "units").mkdir()
        for variant in (tree / "units").glob("ublk*.service.[0-9]*"):
            shutil.copy2(variant, top / "units")
        # A copy for this run: the next build replaces the other.
        shutil.rmtree(dest, ignore_errors=True)
        new.rename(dest)
        mine = Path(tempfile.mkdtemp(prefix="ublkd-vm-dest-", dir=tmp_dir()))
        shutil.copytree(dest, mine / "dest", symlinks=True)
        shutil.copytree(top / "units", mine / "units")
        if sanitize:
            (mine / "sanitized").touch()
        return mine / "dest"


def tmp_dir():
    return os.environ.get("TMPDIR") or "/var/tmp"


def wait_for_slot():
    """As many guests at once as there are processors, whoever starts them: more would only be slow, and late ones have
    limits. The slot is free again when the file is closed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    while True:
        for n in range(os.cpu_count() or 1):
            slot = open(CACHE / f"guest-{n}.lock", "w")
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return slot
            except BlockingIOError:
                slot.close()
        time.sleep(0.2)


class Guest:
    """One boot. `jobs` are (timeout, name, script text) that its runner works off."""

    def __init__(self, row, kind, work, dest=None, files=(), data_disk=None, memory=2048, smp=2, append="",
                 env=None, shutdown=True, icount=False, extra=None, qemu=()):
        self.row, self.kind, self.work, self.dest = row, kind, Path(work), dest
        self.files, self.data_disk, self.memory, self.smp, self.append = list(files), data_disk, memory, smp, append
        self.env = env or {}
        self.shutdown, self.icount, self.extra, self.qemu = shutdown, icount, extra, list(qemu)
        if dest is not None and (Path(dest).parent / "sanitized").exists():
            # the shadow memory may be where more random bits put a program
            self.append += " sysctl.vm.mmap_rnd_bits=28"
        self.token = secrets.token_hex(6)
        self.process = self.pid_file = None
        self.work.mkdir(parents=True, exist_ok=True)

    def start(self, jobs):
        tree, kernel = (prepared(name) for name in ROWS[self.row][:2])
        qemu = prepared("qemu")
        w = self.work
        payload = w / "payload"
        shutil.copytree(HERE / "lib", payload / "lib")
        (payload / "cases").mkdir()
        (payload / "files").mkdir()
        if (HERE / "files").is_dir():
            shutil.copytree(HERE / "files", payload / "files", dirs_exist_ok=True)
        for f in self.files:
            f = Path(f)
            (shutil.copytree if f.is_dir() else shutil.copy2)(f, payload / "files" / f.name)
        for _, name, script in jobs:
            (payload / "cases" / f"{name}.sh").write_text(script)
        (payload / "list").write_text("".join(f"{limit} {name}\n" for limit, name, _ in jobs))
        env = {"VM_TOKEN": self.token, "VM_KIND": self.kind, "VM_ROW": self.row, "VM_LONG": 0,
               "VM_ICOUNT": int(self.icount), **self.env}
        if seconds := os.environ.get("VM_TORTURE_SECONDS"):
            env["VM_TORTURE_SECONDS"] = int(seconds)
        (payload / "env").write_text("".join(f"{k}={v}\n" for k, v in env.items()))
        if self.dest is not None:
            shutil.copytree(self.dest, payload / "dest", symlinks=True)
            self._choose_units(payload / "dest")
        used = sum(f.lstat().st_size for f in payload.rglob("*"))
        with open(w / "payload.img", "wb") as f:
            f.truncate((used * 5 // 4 // 1048576 + 16) << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", payload, w / "payload.img"],
                       check=True, stdin=subprocess.DEVNULL, env=dict(os.environ, PATH=PATH))
        shutil.rmtree(payload)
        # /init comes from the source tree, behind the cached part: the kernel unpacks one after the other
        shutil.rmtree(w / "initrd", ignore_errors=True)
        (w / "initrd").mkdir()
        shutil.copy2(HERE / "lib" / "init", w / "initrd" / "init")
        os.chmod(w / "initrd" / "init", 0o755)
        tail = subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], input=b"init\n", cwd=w / "initrd",
                              stdout=subprocess.PIPE, check=True).stdout
        base = (kernel / "initrd.cpio").read_bytes()
        (w / "initrd.cpio").write_bytes(base + b"\0" * (-len(base) % 512) + tail)
        for n in (0, 1):
            with open(w / f"scratch{n}.img", "wb") as f:
                f.truncate(SCRATCH_BYTES)

        disks = [("root", tree / "root.img", "snapshot=on"), ("modules", kernel / "modules.img", "readonly=on"),
                 ("payload", w / "payload.img", "readonly=on"),
                 ("scratch0", w / "scratch0.img", ""), ("scratch1", w / "scratch1.img", "")]
        if self.data_disk:
            disks.append(("data", self.data_disk, ""))
        if self.extra:
            suite = ROWS[self.row][0].removeprefix("tree-")
            disks.append(("extra", prepared(f"{self.extra}-{suite}") / "extra.img", "readonly=on"))
        if self.smp > SMP_AT_ONCE:
            self.append += " maxcpus=1"
        machine = ["-accel", "tcg,thread=multi", "-smp", str(self.smp), "-cpu", "max"]
        if self.icount:
            # One virtual nanosecond for one instruction, idle time skipped: what is measured in time is a count. One
            # "rep movsb" would be an instruction for every byte.
            machine = ["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off", "-seed", "1",
                       "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-machine", "q35,hpet=off",
                       "-cpu", "max,-erms,-fsrm"]
            self.append += (" nokaslr norandmaps tsc=reliable no_timer_check nowatchdog audit=0"
                            # threads of the kernel that begin when they like
                            " transparent_hugepage=never cryptomgr.notests damon_stat.enabled=N"
                            " sysctl.kernel.hung_task_timeout_secs=0")
        command = [str(qemu / "qemu"), "-nodefaults", *machine, "-m", str(self.memory), "-nic", "none", "-no-reboot", "-display", "none",
                   "-kernel", str(kernel / "vmlinuz"), "-initrd", str(w / "initrd.cpio"),
                   "-append", f"console=ttyS0 quiet loglevel=7 log_buf_len=4M panic=-1 random.trust_cpu=on tsc=nowatchdog "
                              # on a busy host the timer may be too late for the kernel, which panics then
                              f"no_timer_check "
                              f"rcupdate.rcu_cpu_stall_timeout=60 "
                              f"mitigations=off systemd.show_status=no vm.kind={self.kind} {self.append}",
                   "-serial", f"file:{w}/console.log",
                   # under icount the same random numbers at each boot: those of the CPU, which -seed makes
                   *([] if self.icount else ["-device", "virtio-rng-pci"]), "-device", "virtio-serial-pci",
                   "-chardev", "file,id=out,path=/dev/fd/1", "-device", "virtserialport,chardev=out,name=vm.out"]
        for name, path, options in disks:
            # The data disk outlives a killed QEMU: what the guest flushed is in the host's page cache by then, and
            # what it did not flush may be there as well or not.
            cache = "cache=writeback" if name == "data" else "cache=unsafe"
            command += ["-drive", f"if=none,id={name},file={path},format=raw,discard=unmap,{cache}"
                        + (f",{options}" if options else ""),
                        "-device", f"virtio-blk-pci,drive={name},serial={name}"]
        command += self.qemu
        (w / "command").write_text(" ".join(command) + "\n")
        self.command = command
        self.slot = wait_for_slot()
        self.timed_out = False
        self._launch()

    def _launch(self):
        self.stderr = open(self.work / "qemu.log", "wb")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.stderr, env=dict(os.environ, TMPDIR=str(self.work)),
                                        start_new_session=True, preexec_fn=die_with_parent)
        if self.pid_file:
            Path(self.pid_file + ".new").write_text(f"{self.process.pid}\n")
            os.rename(self.pid_file + ".new", self.pid_file)
        self.deadline = time.monotonic() + BOOT_LIMIT[self.kind]
        threading.Thread(target=self._watchdog, args=(self.process,), daemon=True).start()

    def _choose_units(self, dest):
        """What was installed suits the systemd of this host; the guest gets the variant for its own, as a build there
        would have installed it."""
        for unit in (dest / "usr/lib/systemd/system").glob("ublk*.service"):
            fitting = [v for v in (Path(self.dest).parent / "units").glob(unit.name + ".[0-9]*")
                       if int(v.suffix[1:]) <= ROWS[self.row][2]]
            if fitting:
                shutil.copyfile(max(fitting, key=lambda v: int(v.suffix[1:])), unit)

    def _watchdog(self, process):
        while process.poll() is None:
            if time.monotonic() > self.deadline:
                self.timed_out = True
                process.kill()
                return
            time.sleep(0.5)

    def events(self, limits, on_line=None):
        """Yields (event, name, rest) as the guest tells them; lines between go to on_line. Ends with the guest."""
        mark = f"@{self.token} ".encode()
        for raw in self._lines():
            raw = raw.rstrip(b"\r\n")
            if not raw.startswith(mark):
                if on_line:
                    on_line(raw.decode(errors="replace"))
                continue
            words = raw[len(mark):].decode().split()
            event, name = words[0], words[1] if len(words) > 1 else ""
            now = time.monotonic()
            if event == "begin":
                self.deadline = now + limits[name] + 120
            elif event == "done":
                self.deadline = now + POWEROFF_LIMIT
            else:
                self.deadline = now + BOOT_LIMIT[self.kind]
            yield event, name, words[2:]

    def _lines(self):
        for launches in range(1, 4):
            told = False
            for raw in self.process.stdout:
                told = True
                yield raw
            self.process.wait()
            # Where two CPUs run at once, the emulator may have translated an instruction while the kernel had a
            # breakpoint there in order to patch it: nothing of ours, and seen only while the kernel boots.
            if told or launches == 3 or not any("Oops: int3" in line for line in self.console_tail(2000)):
                return
            print(f"the kernel of row {self.row} fell over a breakpoint of its own; boots again", file=sys.stderr)
            self.process.stdout.close()
            self.stderr.close()
            self._launch()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process:
            self.process.stdout.close()
            self.stderr.close()
            self.slot.close()

    def console_tail(self, n=60):
        lines = (self.work / "console.log").read_text(errors="replace").splitlines() if (
            self.work / "console.log").exists() else []
        lines += (self.work / "qemu.log").read_text(errors="replace").splitlines()
        return [re.sub(r"\x1b[^a-zA-Z]*[a-zA-Z]", "", line).rstrip() for line in lines[-n:]]
