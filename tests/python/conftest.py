# SPDX-License-Identifier: MIT
"""What the tests of buddy_mem share: the backend, and TAP for tests/run.

BUDDY_BACKEND says which backend is tested; without it, process. With --tap pytest
prints TAP and nothing else.
"""
import os
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("BUDDY_BACKEND", "process")
if "BUDDY_MEM_INSTALLED" not in os.environ:
    sys.path.insert(0, str(TOP / "userspace" / "python"))

import pytest  # noqa: E402

import buddy_mem  # noqa: E402

MIB = 1 << 20


@pytest.fixture
def on_device():
    return os.environ["BUDDY_BACKEND"] == "device"


@pytest.fixture
def allocator():
    """1 MiB of blocks of 64 bytes and more; sound at the end of each test."""
    made = buddy_mem.BuddyAllocator(MIB, 64)
    yield made
    assert made._verify() is None


@pytest.fixture
def region():
    made = buddy_mem.Region(4 * MIB)
    yield made
    assert made._verify() is None


def pytest_addoption(parser):
    parser.addoption("--tap", action="store_true", help="print TAP, nothing else")


class Tap:
    def __init__(self):
        self.number = 0

    def pytest_collection_finish(self, session):
        print(f"1..{len(session.items)}", flush=True)

    def pytest_collectreport(self, report):
        if report.failed:
            print(f"Bail out! {report.nodeid}\n{report.longrepr}", flush=True)

    def line(self, word, report, why=""):
        self.number += 1
        name = report.nodeid.split("/")[-1].replace("#", "")
        print(f"{word} {self.number} - {name}{why}", flush=True)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            for line in str(report.longrepr).splitlines():
                print(f"# {line}")
        if report.when == "teardown" and report.failed:
            print("Bail out! a test left something behind", flush=True)
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.line("ok", report, f" # SKIP {reason}")
        elif report.when == "call" or report.failed:
            self.line("not ok" if report.failed else "ok", report)


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if config.getoption("--tap"):
        # the usual reporter has to be there, but TAP is all that is printed
        config.get_terminal_writer()._file = open(os.devnull, "w", encoding="ascii")
        config.pluginmanager.register(Tap(), "buddy-tap")
