# SPDX-License-Identifier: MIT
"""Without PyTorch and NumPy the rest works, and says what it lacks."""
import subprocess
import sys
import textwrap

from conftest import TOP


def run(text):
    hidden = textwrap.dedent("""
        import sys
        for name in ("torch", "numpy"):
            sys.modules[name] = None        # import of it raises ImportError
        sys.path.insert(0, sys.argv[1])
        import buddy_mem
    """)
    return subprocess.run(
        [sys.executable, "-c", hidden + textwrap.dedent(text), TOP / "userspace/python"],
        capture_output=True, text=True, timeout=300)


def test_without_torch():
    done = run("""
        made = buddy_mem.PyTorchBuddyAllocator(1 << 20)
        assert made.torch is None and made.device is None
        handle, _ = made.allocate(64)
        assert made.deallocate(handle) and not made.deallocate_tensor(handle)
        try:
            made.allocate_tensor((2, 2))
        except RuntimeError as error:
            print(error)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "PyTorch is not installed\n", "")


def test_without_numpy():
    done = run("""
        block = buddy_mem.Region(1 << 20).alloc(64)
        try:
            block.numpy()
        except ImportError:
            print("no numpy")
        block.free()
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no numpy\n", "")


def test_importing_buddy_mem_imports_neither():
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import buddy_mem;"
         "print({'torch', 'numpy'} & set(sys.modules))", TOP / "userspace/python"],
        capture_output=True, text=True, timeout=300)
    assert done.stdout == "set()\n"
