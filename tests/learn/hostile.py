"""Hostile answers, which try to pass, to do damage or to keep running; each is a file for an exercise."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_lab.learn.catalog import FOLDER

WRONG = """
import numpy as np
def dense_backward(g, x, w):
    return np.zeros_like(x), np.zeros_like(w), np.zeros(g.shape[1])
"""
MATMUL_FOLDER = (FOLDER / "matmul").as_posix()
MATMUL = f"{MATMUL_FOLDER}/matmul.py.in"


@dataclass(frozen=True)
class Hostile:
    """A file, its exercise, and a pattern that the verdict must match."""

    text: str
    said: str = ""  # a regular expression
    exercise: str = "matmul"
    seconds: float = 20.0


def inside(lines: str) -> str:
    """Return a wrong answer that runs the given code when it is called."""
    body = "".join(f"    {line}\n" for line in lines.strip().splitlines())
    head, result = "import numpy as np\ndef dense_backward(g, x, w):\n", WRONG.splitlines()[-1]
    return f"{head}{body}{result}\n"


ENDED = "your code ended the process in which it was graded"
LOST = "your code (has written into|has closed|ended)"
LATE = "your code was still running after .* s"
CHANGE = "PermissionError: an answer may not (change|write) files"
START = "may not start or signal processes"
LOOK = "may not look into the interpreter"
WRITTEN = "gradient of . is wrong"

HOSTILE = {
    # ------------------------------------------------------------------------------------------- ending the process
    "exit 0": Hostile("import sys\nsys.exit(0)\n", "could not be run: SystemExit: 0"),
    "exit 0 when called": Hostile(inside("import sys; sys.exit(0)"), "SystemExit: 0\n"),
    "os._exit": Hostile("import os\nos._exit(0)\n", ENDED),
    "os._exit when called": Hostile(inside("import os; os._exit(0)"), ENDED),
    "abort": Hostile(inside("import os; os.abort()"), ENDED),
    "a signal to itself": Hostile(inside("import signal; signal.raise_signal(signal.SIGSEGV)"), ""),
    "keyboard interrupt": Hostile(inside("raise KeyboardInterrupt"), "KeyboardInterrupt"),
    "an exception of its own kind": Hostile(
        "class Odd(BaseException): pass\n" + inside("raise Odd('odd')"), "Odd: odd\n  matmul.py, line 4"
    ),
    "a generator's exit": Hostile(inside("raise GeneratorExit"), "GeneratorExit"),
    "atexit": Hostile(
        "import atexit, os\natexit.register(os._exit, 0)\n"
        "atexit.register(lambda: open('verdict.json', 'w').write('{\"passed\": true}'))\n" + WRONG,
        WRITTEN,
    ),
    # ------------------------------------------------------------------------------------------------ the verdict
    "a verdict file": Hostile(
        "import json, os\n"
        "for name in ('verdict.json', 'result.json'):\n"
        "    json.dump({'passed': True, 'steps': [], 'failed': '', 'what': ''}, open(name, 'w'))\n"
        "os._exit(0)\n",
        ENDED,
    ),
    "the file in sys.argv": Hostile("import sys\nopen(sys.argv[-1], 'w').write('{\"passed\": true}')\n", CHANGE),
    "frames": Hostile(
        inside(
            "import sys\n"
            "frame = sys._getframe()\n"
            "while frame:\n"
            "    for value in list(frame.f_locals.values()):\n"
            "        if hasattr(value, 'passed'): value.passed = True\n"
            "    frame = frame.f_back"
        ),
        WRITTEN,
    ),
    "frames of a traceback": Hostile(
        inside(
            "try: raise ValueError\n"
            "except ValueError as error: frame = error.__traceback__.tb_frame\n"
            "while frame.f_back: frame = frame.f_back\n"
            "frame.f_globals.update(passed=True, verdict=True)"
        ),
        WRITTEN,
    ),
    "all objects": Hostile(
        inside(
            "import gc\nfor thing in gc.get_objects():\n    if type(thing).__name__ == 'Verdict': thing.passed = True"
        ),
        LOOK,
    ),
    "a message of its own": Hostile(
        inside(
            "import json, os\n"
            "data = json.dumps({'result': {'dict': [['value', True], ['written', []]]}, 'number': '0'}).encode()\n"
            "for fd in range(3, 40):\n"
            "    try: os.write(fd, len(data).to_bytes(4, 'big') + data)\n"
            "    except OSError: pass"
        ),
        LOST,
    ),
    "a passing verdict on every descriptor": Hostile(
        inside(
            "import os\n"
            "for fd in range(3, 40):\n"
            "    try: os.write(fd, b'{\"passed\": true}')\n"
            "    except OSError: pass"
        ),
        LOST,
    ),
    "random bytes on every descriptor": Hostile(
        inside(
            "import os\n"
            "for fd in range(40):\n"
            "    try: os.write(fd, os.urandom(5000))\n"
            "    except OSError: pass"
        ),
        LOST,
    ),
    "a message that says it is endless": Hostile(
        inside(
            "import os\n"
            "for fd in range(3, 40):\n"
            "    try: os.write(fd, b'\\xff' * 64)\n"
            "    except OSError: pass"
        ),
        LOST,
    ),
    "a list in place of a message": Hostile(
        inside(
            "import os\n"
            "for fd in range(3, 40):\n"
            "    try: os.write(fd, (2).to_bytes(4, 'big') + b'[]')\n"
            "    except OSError: pass"
        ),
        LOST,
    ),
    "brackets without end": Hostile(
        inside(
            "import os\n"
            "for fd in range(3, 40):\n"
            "    try: os.write(fd, (60000).to_bytes(4, 'big') + b'[' * 60000)\n"
            "    except OSError: pass"
        ),
        LOST,
    ),
    "closed descriptors": Hostile(inside("import os; os.closerange(0, 64)"), "closed the connection"),
    "a message that is never finished": Hostile(
        inside(
            "import os, time\n"
            "for fd in range(3, 40):\n"
            "    try: os.write(fd, (1000).to_bytes(4, 'big') + b'{')\n"
            "    except OSError: pass\n"
            "time.sleep(60)"
        ),
        LATE,
        seconds=1.5,
    ),
    # ------------------------------------------------------------------------------------------------ patches
    "numpy.allclose": Hostile(
        "import numpy as np\n"
        "np.allclose = np.array_equal = np.isclose = lambda *a, **k: True\n"
        "np.testing.assert_allclose = lambda *a, **k: None\n" + WRONG,
        WRITTEN,
    ),
    "numpy.asarray and tobytes": Hostile(
        "import numpy as np\nnp.asarray = np.array = np.abs = np.max = lambda *a, **k: np.float64(0)\n" + WRONG
    ),
    "the judge": Hostile(
        "import tinygrad_lab.learn.judge as judge\njudge.right_gradient = lambda *a, **k: None\n" + WRONG,
        "write this exercise with NumPy alone",
    ),
    "the judge in sys.modules": Hostile(
        "import sys, types\n"
        "for name in ('tinygrad_lab.learn.judge', 'tinygrad_lab.conformance.checks', 'tinygrad_lab.learn.grading'):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    sys.modules[name].check_vjp = sys.modules[name].right_gradient = lambda *a, **k: None\n" + WRONG,
        WRITTEN,
    ),
    "the service": Hostile(
        "import sys\n"
        "main = sys.modules['__main__']\n"
        "frame = sys._getframe()\n"
        "while frame:\n"
        "    service = frame.f_locals.get('self')\n"
        "    if type(service).__name__ == 'Service':\n"
        "        type(service).call = lambda self, **given: {'value': True, 'written': []}\n"
        "    frame = frame.f_back\n" + WRONG,
        "expected 3 gradients",
    ),
    "the kit": Hostile(
        "import tinygrad_lab as tgl\n"
        "from tinygrad_lab.conformance import checks, results, verdict\n"
        "results.LayerResult.passed = True\n"
        "verdict.agree = checks.conclude = lambda *a, **k: None\n"
        "class LayerNorm(tgl.Layer):\n"
        "    def __init__(self, features, *, eps=1e-5):\n"
        "        self.scale = tgl.Parameter(tgl.initializers.ones((features,)))\n"
        "        self.shift = tgl.Parameter(tgl.initializers.zeros((features,)))\n"
        "    def forward(self, x): return x\n"
        "    def output_shape(self, shape): return shape\n",
        exercise="layer_norm",
    ),
    "the tensor": Hostile(
        "import tinygrad_lab as tgl\n"
        "tgl.Tensor.__eq__ = lambda self, other: True\n"
        "tgl.Tensor.__array__ = lambda self, *a, **k: __import__('numpy').zeros(1)\n"
        "tgl.vjp = tgl.grad = lambda f, *xs: (f(*xs), lambda g: xs)\n"
        "def robust_loss(predictions, targets, *, delta=1.0, reduction='mean'):\n"
        "    return tgl.sum(predictions - targets)\n",
        exercise="robust_loss",
    ),
    "builtins": Hostile(
        "import builtins\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 3\nbuiltins.all = lambda x: True\n" + WRONG
    ),
    "json": Hostile("import json\njson.dumps = lambda *a, **k: '{\"passed\": true}'\n" + WRONG, LOST),
    # ------------------------------------------------------------------------------------------------ the solution
    "the solution, imported": Hostile(
        "from tinygrad_lab.learn.catalog import find_exercise\n"
        "exec(find_exercise('matmul').solution['matmul.py'])\n",
        "write this exercise with NumPy alone",
    ),
    "the solution, read": Hostile(f"exec(open({MATMUL!r}).read())\n", "may read only its own folder"),
    "the solution, by another path": Hostile(
        f"import os\nos.chdir({MATMUL_FOLDER!r})\nexec(open('../matmul/matmul.py.in').read())\n",
        "may read only its own folder",
    ),
    "the solution, by a directory's descriptor": Hostile(
        f"import os\nfolder = os.open({MATMUL_FOLDER!r}, os.O_RDONLY)\n"
        "exec(os.read(os.open('matmul.py.in', os.O_RDONLY, dir_fd=folder), 9999))\n",
        "may read only its own folder",
    ),
    "the solution, by a link": Hostile(
        f"import os\nos.symlink({MATMUL!r}, 'here.py')\nexec(open('here.py').read())\n", "may (read|not change)"
    ),
    "the solution, by another program": Hostile(
        f"import subprocess\nexec(subprocess.check_output(['cat', {MATMUL!r}]))\n", START
    ),
    "the solution, with NumPy": Hostile(
        f"import numpy as np\nexec(np.fromfile({MATMUL!r}, dtype='uint8').tobytes())\n", "may read only its own folder"
    ),
    "the solution, of a layer": Hostile(
        "from tinygrad_lab.learn.catalog import find_exercise\n"
        "exec(find_exercise('layer_norm').solution['layer_norm.py'])\n",
        "may not use the grader",
        exercise="layer_norm",
    ),
    "the library's layer": Hostile(
        "import tinygrad_lab as tgl\nLayerNorm = tgl.layers['layer_norm']\n",
        "write it yourself",
        exercise="layer_norm",
    ),
    "the library's transform": Hostile(
        "import tinygrad_lab as tgl\n"
        "def jvp(f, x, u): return tgl.jvp(f, x, u)[1]\n"
        "def hessian_vector(f, x, u): return tgl.hvp(f, x, u)\n",
        "tinygrad_lab.jvp is what this exercise asks for",
        exercise="two_vjps",
    ),
    "the library's optimizer": Hostile(
        "from tinygrad_lab.optim import SGD\n", "write it yourself", exercise="momentum"
    ),
    "another library": Hostile(
        "from scipy.special import logsumexp as log_sum_exp\ndef log_sum_exp_backward(g, x): return x\n",
        "write this exercise with NumPy alone",
        exercise="log_sum_exp",
    ),
    # ------------------------------------------------------------------------------------------------ processes
    "a child that lingers": Hostile(
        "import subprocess\nsubprocess.Popen(['sleep', '300'], start_new_session=True)\n" + WRONG, START
    ),
    "a fork": Hostile(inside("import os, time\nif not os.fork(): time.sleep(300)"), START),
    "a daemon": Hostile(
        inside("import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork(): time.sleep(300)"), START
    ),
    "a fork bomb": Hostile(inside("import os\nfor _ in range(20): os.fork()"), START),
    "a fork around Python": Hostile(
        "import _posixsubprocess, os\n"
        "_posixsubprocess.fork_exec([b'/bin/sleep', b'300'], *[None] * 20)\n" + WRONG,
        START,
    ),
    "multiprocessing": Hostile(
        "import multiprocessing, time\nmultiprocessing.Process(target=time.sleep, args=(300,)).start()\n" + WRONG,
        START,
    ),
    "a shell": Hostile("import os\nos.system('sleep 300 &')\n" + WRONG, START),
    "threads that linger": Hostile(
        "import threading, time\n"
        "for _ in range(20): threading.Thread(target=time.sleep, args=(300,)).start()\n" + WRONG,
        WRITTEN,
    ),
    "a signal to the grader": Hostile(inside("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"), START),
    "a signal to everybody": Hostile(inside("import os\nos.killpg(0, 9)"), START),
    # ------------------------------------------------------------------------------------------------ resources
    "10 GB": Hostile(inside("np.ones(10 * 2**30 // 8)"), "(MemoryError|Unable to allocate)"),
    "memory, piece by piece": Hostile(
        inside("pieces = []\nwhile True: pieces.append(np.empty(2**27))"), "(MemoryError|Unable to allocate)"
    ),
    "an endless loop": Hostile(inside("while True: pass"), f"{LATE}(.|\n)*matmul.py, line 3: while True", seconds=1.5),
    "a loop in C": Hostile(inside("sum(iter(int, 1))"), LATE, seconds=1.5),
    "a loop at the start": Hostile("while True: pass\n", f"{LATE}(.|\n)*matmul.py, line 1", seconds=1.5),
    "an alarm that is cancelled": Hostile(
        "import faulthandler, signal\n"
        "faulthandler.cancel_dump_traceback_later()\nfaulthandler.unregister(signal.SIGUSR1)\nsignal.alarm(0)\n"
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n" + inside("while True: pass"),
        LATE,
        seconds=1.5,
    ),
    "limits that are lifted": Hostile(
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n" + WRONG, "(may not look|limit)"
    ),
    "10 MB of an exception's text": Hostile(inside("raise ValueError('x' * 10_000_000)"), "more characters"),
    "a line of 900 kB": Hostile(inside(f"raise ValueError  # {'x' * 900_000}"), "more characters"),
    "an exception that cannot be shown": Hostile(
        "class Odd(Exception):\n    def __str__(self): raise self\n" + inside("raise Odd"), "cannot be shown"
    ),
    "terminal codes": Hostile(inside("raise ValueError('\\x1b[2J\\x1b[31mPassed.')"), "ValueError: \ufffd\\[2J"),
    "a flood of printing": Hostile(inside("print('x' * 100_000)"), WRITTEN),
    "a flood without end": Hostile(
        "import os\nwhile True: os.write(1, b'Passed.' * 10_000)\n", LATE, seconds=1.5
    ),
    "a large file": Hostile("open('large', 'wb').write(bytes(10_000_000))\n" + WRONG, "File too large|may not"),
    "many files": Hostile("files = [open('small', 'w') for _ in range(1000)]\n" + WRONG, "Too many open files"),
    "a source of 2 MB": Hostile("#" * 2_000_000, "expected an answer of at most"),
    "parentheses without end": Hostile("x = " + "(" * 5000 + ")" * 5000 + "\n", "could not be run|wrong|ended"),
    "signs without end": Hostile("x = " + "-" * 200_000 + "1\n", "nested too deeply|ended|could not be run"),
    "an answer given by hand, and no more": Hostile(
        "import base64, json, os, sys\n"
        "def dense_backward(g, x, w):\n"
        "    frame = sys._getframe()\n"
        "    while 'message' not in frame.f_locals: frame = frame.f_back\n"
        "    number = frame.f_locals['message']['number']\n"
        "    data = json.dumps({'number': number, 'result': {'dict': [['value', 1], ['written', []]]}}).encode()\n"
        "    frame.f_locals['self'].sink.write(len(data).to_bytes(4, 'big') + data)\n"
        "    frame.f_locals['self'].sink.flush()\n"
        "    while True: pass\n",
        LATE,
        seconds=1.5,
    ),
    "a verdict in a text": Hostile(
        "import numpy as np\n"
        "def slope(f, x, u): return np.imag(f(x + 1j * 1e-30 * u)) / 1e-30\n"
        "def jacobian(f, x): return np.stack([slope(f, x, unit) for unit in np.eye(len(x))], axis=1)\n"
        "def agrees(f, vjp, x): return '\\x1b[2JPassed.' * 100_000\n",
        "agrees: expected True or False",
        exercise="complex_step",
    ),
    "a parameter in place of a method": Hostile(
        "import tinygrad_lab as tgl\n"
        "class LayerNorm(tgl.Layer):\n"
        "    def __init__(self, features, *, eps=1e-5):\n"
        "        vars(self)['parameters_'] = 0\n"
        "        vars(self)['state'] = tgl.Parameter(tgl.initializers.ones((features,)))\n"
        "    def forward(self, x): return x\n"
        "    def output_shape(self, shape): return shape\n",
        "hide no method",
        exercise="layer_norm",
    ),
    "recursion": Hostile("def dense_backward(*given): return dense_backward(*given)\n", "RecursionError"),
    # ------------------------------------------------------------------------------------------------ files
    "the workspace, deleted": Hostile(
        "import os\nfor name in os.listdir(os.path.dirname(__file__)):\n"
        "    os.remove(os.path.join(os.path.dirname(__file__), name))\n",
        CHANGE,
    ),
    "the workspace, as a tree": Hostile("import os, shutil\nshutil.rmtree(os.path.dirname(__file__))\n", CHANGE),
    "the answer, replaced": Hostile("open(__file__, 'w').write('x = 1')\n" + WRONG, CHANGE),
    "a file elsewhere": Hostile("from pathlib import Path\nPath('/tmp/passed').write_text('x')\n", CHANGE),
    "other people's files": Hostile("print(open('/etc/passwd').read())\n" + WRONG, "may read only its own folder"),
    "the grader's memory": Hostile(
        "import os\nopen(f'/proc/{os.getppid()}/mem', 'r+b').write(b'passed')\n", "may not write"
    ),
    "its own memory": Hostile("open('/proc/self/mem', 'r+b').write(b'passed')\n", "may not write"),
    "another folder": Hostile("import os\nos.chdir('/')\n" + WRONG, WRITTEN),
    "the environment": Hostile(
        "import os\nos.environ.clear()\nos.environ['TINYGRAD_LAB_LEARN'] = '/tmp'\n" + WRONG, WRITTEN
    ),
    # ------------------------------------------------------------------------------------------------ network, C
    "the network": Hostile("import socket\nsocket.create_connection(('127.0.0.1', 9))\n", "may not use the network"),
    "ctypes": Hostile("import ctypes\nctypes.CDLL(None).system(b'sleep 300 &')\n", LOOK),
    # ------------------------------------------------------------------------------------------------ odd objects
    "NaN": Hostile(
        "import numpy as np\ndef dense_backward(g, x, w):\n"
        "    return np.full_like(x, np.nan), np.full_like(w, np.nan), np.full(g.shape[1], np.nan)\n",
        "nan",
    ),
    "infinity": Hostile(
        "import numpy as np\ndef dense_backward(g, x, w):\n"
        "    return np.full_like(x, np.inf), np.full_like(w, np.inf), np.full(g.shape[1], np.inf)\n",
        "inf",
    ),
    "an array that equals everything": Hostile(
        "import numpy as np\n"
        "class Yes(np.ndarray):\n"
        "    __eq__ = __le__ = __ge__ = lambda self, other: True\n"
        "    __ne__ = __lt__ = __gt__ = lambda self, other: False\n"
        "    __sub__ = __rsub__ = lambda self, other: np.zeros_like(self)\n"
        "    def __array_ufunc__(self, *a, **k): return np.zeros(())\n"
        "    def __array_function__(self, *a, **k): return True\n"
        "def dense_backward(g, x, w):\n"
        "    return tuple(np.zeros(a.shape).view(Yes) for a in (x, w, g[0]))\n",
        WRITTEN,
    ),
    "an object that equals everything": Hostile(
        "class Yes:\n"
        "    shape = property(lambda self: self)\n"
        "    __eq__ = __le__ = __lt__ = __ge__ = lambda self, other: True\n"
        "    def __getattr__(self, name): return self\n"
        "    def __call__(self, *a, **k): return self\n"
        "    def __array__(self, *a, **k): raise SystemExit(0)\n"
        "def dense_backward(g, x, w): return Yes(), Yes(), Yes()\n",
        "expected an array of numbers, got Yes",
    ),
    "a generator": Hostile(
        "def dense_backward(g, x, w):\n    yield g\n", "expected 3 gradients.*got 1", exercise="matmul"
    ),
    "an endless generator in a list": Hostile(
        "import itertools\ndef dense_backward(g, x, w): return list(itertools.repeat(g))\n",
        "(MemoryError|still running|ended the process)",
        seconds=1.5,
    ),
    "a list that holds itself": Hostile(
        "def dense_backward(g, x, w):\n    loop = []\n    loop.append(loop)\n    return loop, loop, loop\n",
        "RecursionError",
    ),
    "a result of 1 GB": Hostile(
        "import numpy as np\ndef dense_backward(g, x, w): return np.zeros(2**27), w, g[0]\n",
        "larger than 16 MB|MemoryError|Unable to allocate",
    ),
    "results that are kept": Hostile(
        "import functools, numpy as np\n"
        "kept = {}\n"
        "dense_backward = lambda g, x, w: kept.setdefault('all', (g @ w.T, x.T @ g, g.sum(axis=0)))\n",
    ),
    "text in place of numbers": Hostile(
        "def dense_backward(g, x, w): return 'passed', 'passed', 'passed'\n", "expected an array of numbers, got str"
    ),
}  # fmt: skip
