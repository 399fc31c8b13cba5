#!/usr/bin/env python3
"""Run a command that ends with the process that started it, even where that one is killed.

    python training/child.py CORE COMMAND ARGUMENT ...

CORE is the number of the processor that the command is bound to, or "any". Standard input is a pipe that the starting
process keeps open: the system closes it with that process, whatever ends it, and the command is killed. The exit status is
that of the command, 128 and its number for a signal.
"""
import os
import subprocess
import sys
import threading


def main():
    core, *command = sys.argv[1:]
    if core != "any" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core)])
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def watch():
        os.read(0, 1)
        child.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
