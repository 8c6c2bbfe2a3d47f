"""Examine this installation and this machine: what is broken, and how to mend it."""

from __future__ import annotations

import argparse
import json
import textwrap
import time

_MARKS = {"ok": "ok", "warning": "WARNING", "broken": "BROKEN"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--runs", default="runs", metavar="DIR", help="the folder of the runs (default: runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; the exit status is 1 if something is broken."""
    start = time.perf_counter()
    from tinygrad_lab.inspect.doctor import BROKEN, examine

    findings = examine(arguments.runs)
    seconds, broken = time.perf_counter() - start, sum(finding.state == BROKEN for finding in findings)
    if arguments.json:
        rows = [finding.as_json() for finding in findings]
        print(json.dumps({"broken": broken, "seconds": round(seconds, 2), "findings": rows}, indent=2))
        return int(broken > 0)
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        head = f"{_MARKS[finding.state]:<8} {finding.subject:<{width}}  "
        wrap = textwrap.TextWrapper(118, head, " " * len(head), break_long_words=False, break_on_hyphens=False)
        print(wrap.fill(finding.text))  # paths whole, so that they can be copied
        if finding.remedy:
            print(f"{' ' * len(head)}to mend it: {finding.remedy}")
    warnings = sum(finding.state == "warning" for finding in findings)
    print(f"{broken} broken, {warnings} warnings, {len(findings)} checks in {seconds:.1f} s")
    return int(broken > 0)
