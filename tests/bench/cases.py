# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests/bench/gauge measures."""

import re

# What is measured: requests, size, in flight; which of them --quick has
CASES = [
    ("read", "4K", 1, True),
    ("read", "4K", 4, False),
    ("read", "4K", 32, True),
    ("read", "4K", 128, False),
    ("write", "4K", 1, False),
    ("write", "4K", 32, True),
    ("read", "128K", 8, True),
    ("write", "128K", 8, False),
    ("read", "1M", 4, False),
    ("write", "1M", 4, False),
]
N_REQUESTS = {"4K": 8000, "128K": 1000, "1M": 200}
N_REQUESTS_ALONE = 2000  # at depth 1 all of them are alike, and a switch takes an emulator long
ROUNDS = 3

# The kernel's own: what it is, where gauge-guest.sh puts it
REFERENCES = {
    "null_blk": "/dev/nullb0",
    "brd": "/dev/ram1",
    "raw-file": "/backing/raw",
    "raw-nv": "/dev/nullb1",
    "loop-direct": "/dev/loop0",
    "loop-buffered": "/dev/loop1",
    "loop-nv": "/dev/loop2",
}
# Ours: [Backend], and the reference that it is to be held against. "nv" is a null_blk that takes 10 us.
BACKENDS = {
    "null": ("null_blk", "Type=null"),
    "unfilled": ("null_blk", "Type=null\nFill=none"),
    "memory": ("brd", "Type=memory"),
    "file": ("loop-direct", "Type=file\nPath=/backing/served-direct\nDirectIO=yes"),
    "buffered": ("loop-buffered", "Type=file\nPath=/backing/served-buffered\nDirectIO=no"),
    "nv": ("loop-nv", "Type=file\nPath=/dev/nullb1\nDirectIO=yes"),
}
# [Queues] of each; "auto" is what somebody gets who asks for nothing
VARIANTS = {
    "auto": "",
    "copy": "CopyMode=copy\nBatchIO=no",
    "user": "CopyMode=user-copy\nBatchIO=no",
    "zero": "CopyMode=zero-copy\nBatchIO=no",
    "copy-batch": "CopyMode=copy\nBatchIO=yes",
    "user-batch": "CopyMode=user-copy\nBatchIO=yes",
    "zero-batch": "CopyMode=zero-copy\nBatchIO=yes",
}
# The kernel's own server, of its tests (tools/testing/selftests/ublk), for gauge --kublk: what it is to be held
# against, and its words. It refuses user copy with batches.
KUBLK_BACKENDS = {
    "null": ("null_blk", "-t null"),
    "file": ("loop-direct", "-t loop /backing/served-direct"),
    "nv": ("loop-nv", "-t loop /dev/nullb1"),
}
KUBLK_VARIANTS = {
    "copy": "",
    "user": "--user_copy",
    "zero": "--auto_zc",
    "copy-batch": "--batch",
    "zero-batch": "--batch --auto_zc",
}
QUICK_REFERENCES = {"null_blk", "brd", "loop-direct", "loop-nv"}
QUICK_BACKENDS = {"null", "memory", "file", "nv"}
QUICK_VARIANTS = {"auto"}


def targets(quick, kublk):
    """(name, path or None, definition or None, name of the reference or None)"""
    for name, path in REFERENCES.items():
        if not quick or name in QUICK_REFERENCES:
            yield name, path, None, None
    for backend, (reference, section) in BACKENDS.items():
        for variant, queues in VARIANTS.items():
            if not quick or (backend in QUICK_BACKENDS and variant in QUICK_VARIANTS):
                yield (f"{backend}-{variant}", None,
                       f"[Device]\nSize=64M\n[Backend]\n{section}\n[Queues]\nCount=1\n{queues}\n", reference)
    for backend, (reference, words) in KUBLK_BACKENDS.items() if kublk else ():
        for variant, more in KUBLK_VARIANTS.items():
            yield f"kublk-{backend}-{variant}", f"kublk {more} {words}", None, reference


def case_key(case):
    return f"{case[0]}-{case[1]}-{case[2]}"


def options(case):
    """Of tests/tools/load."""
    rw, size, depth, _ = case
    n = N_REQUESTS_ALONE if depth == 1 else N_REQUESTS[size]
    return f"--block={size} --depth={depth} --requests={n} --warm-up={n // 4}" + (" --write" if rw == "write" else "")


def plan_write(work, quick, only, kublk=False, verb=f"case {{}} {ROUNDS}"):
    """Files for gauge-guest.sh. Returns the names of the targets with their references."""
    lines, references = [], {}
    (work / "plan.d").mkdir()
    for name, path, definition, reference in targets(quick, kublk):
        cases = [c for c in CASES if (c[3] or not quick) and re.search(only, f"{name}/{case_key(c)}")]
        if not cases:
            continue
        references[name] = reference
        if definition:
            (work / "plan.d" / f"{name}.conf").write_text(definition)
        lines.append(f"target {name} {path or '-'}")
        lines += [f"{verb.format(case_key(c))} {options(c)}" for c in cases]
    (work / "plan").write_text("".join(line + "\n" for line in lines))
    return references
