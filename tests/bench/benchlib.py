# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the drivers of tests/bench have in common: one guest with the tree under test, and tables."""

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vm"))

import vmlib  # noqa: E402

Error = vmlib.Error


def arguments(parser):
    """Those that all drivers have."""
    parser.add_argument("--row", type=int, default=2, choices=(1, 2), help="kernel and user space (default 2)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here, too")
    parser.add_argument("--timeout", type=int, default=3600, metavar="SECONDS")
    parser.add_argument("--keep", metavar="DIR", help="directory for console.log and all else of the boot")


def in_guest(args, work, script, on_line, files=(), **options):
    """Builds the tree, boots a guest and runs the script in it; its lines go to on_line()."""
    dest = vmlib.build()
    guest, status, others = None, None, []
    try:
        guest = vmlib.Guest(args.row, "mini", args.keep or work / "guest", dest=dest, files=files,
                            env={"VM_GUEST_COMMAND": "1"}, **options)
        # The script's limit is in the guest's own time, of which one that counts instructions has much.
        guest.start([(1000000, "bench", (HERE / script).read_text())])
        for event, _, rest in guest.events({"bench": args.timeout}, lambda text: on_line(text) or others.append(text)):
            if event == "end":
                status = int(rest[0])
        if status != 0:
            print("\n".join(others[-40:] + guest.console_tail()), file=sys.stderr)
            raise Error(f"the guest failed ({'timeout' if guest.timed_out else status})")
    finally:
        if guest:
            guest.stop()
        shutil.rmtree(os.path.dirname(dest), ignore_errors=True)


def table(rows):
    """The first row and the first column are titles."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]).rstrip())
    print()


class Pairs:
    """What pairs-guest.sh prints: devices of ours and others, in turns. Told are medians of ratios within one turn."""

    FIGURES = ("iops", "p50", "p99")

    def __init__(self):
        self.kernel, self.rounds = None, {}

    def line(self, text):
        """Whether it is one of ours."""
        what, _, rest = text.partition(" ")
        if what == "kernel":
            self.kernel = rest
        elif what == "result":
            place, load, device, _, figures = rest.split(" ", 4)
            self.rounds.setdefault(place, {}).setdefault(load, {}).setdefault(device, []).append(json.loads(figures))
        else:
            return False
        return True

    def ratios(self):
        """Of each place, other device, load and figure: the median over the rounds, and the range of all"""
        result = {}
        for place, loads in self.rounds.items():
            for load, devices in loads.items():
                for other in sorted(set(devices) - {"ublk"}):
                    pair = {}
                    for figure in self.FIGURES:
                        every = [a[figure] / b[figure] for a, b in zip(devices["ublk"], devices[other])]
                        pair[figure] = [round(f(every), 3) for f in (statistics.median, min, max)]
                    result.setdefault(f"{place} / {other}", {})[load] = pair
        return result


def show_pairs(report):
    print(f"kernel {report['kernel']}; ublkd to others, median of {report['rounds']} (range)\n")
    for place, loads in report["ratios"].items():
        table([[place, "IOPS", "p50", "p99"]] +
              [[load] + [f"{m:.2f} ({low:.2f}-{high:.2f})" for m, low, high in figures.values()]
               for load, figures in loads.items()])


def main_pairs(text, script, rounds, **options):
    """A driver as a whole: its help, its script for the guest."""
    p = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(p)
    p.add_argument("--rounds", type=int, default=rounds, metavar="N")
    p.add_argument("--seconds", type=int, default=2, metavar="N", help="of each turn (default 2)")

    def measure(args, work):
        (work / "pairs.env").write_text(f"ROUNDS={args.rounds}\nSECONDS_EACH={args.seconds}\n")
        pairs = Pairs()
        in_guest(args, work, script, pairs.line, [work / "pairs.env", HERE / "pairs-guest.sh"], smp=2, **options)
        return {"version": 1, "kernel": pairs.kernel, "row": args.row, "rounds": args.rounds,
                "ratios": pairs.ratios(), "devices": pairs.rounds}

    return main(p.parse_args(), measure, show_pairs)


def main(args, measure, show):
    """measure(args, work) gives what show() prints and --json gets."""
    vmlib.end_on_signals()
    work = Path(tempfile.mkdtemp(prefix="ublkd-bench-", dir=vmlib.tmp_dir()))
    start = time.monotonic()
    try:
        report = measure(args, work)
    except Error as e:
        print(f"{Path(sys.argv[0]).name}: {e}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    show(report)
    print(f"{time.monotonic() - start:.0f} s")
    if args.json:
        # innermost objects have a line each
        text = re.sub(r"\{([^{}]*)\}", lambda m: "{" + " ".join(m[1].split()) + "}", json.dumps(report, indent=1))
        Path(args.json).write_text(text + "\n")
    return 0
