"""A Python for the programs that tests start, in which torch, MMEngine and mmseg are imported already.

A new interpreter needs three to four seconds of processor time to import them, and the tests start over a hundred.
:func:`warm_python` is an executable to use in place of ``sys.executable``, also as ``python`` of a shell script: it
hands its arguments, environment, folder and standard files to a server, which forks, and the fork runs what a new
interpreter would. Nothing of mmwsss is imported in the server: every program imports it anew.

What is not as in a new interpreter: importing the packages underneath prints nothing, the hashes of strings are those
of the server, and a program whose executable is killed is killed a moment later. Tests of what happens when a program
starts use ``sys.executable`` itself; so do all on a machine with a GPU, and with MMWSSS_TEST_NEW_PYTHON=1.
"""
import atexit
import contextlib
import gc
import importlib
import io
import json
import multiprocessing.process
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Mapping
from pathlib import Path

# The packages underneath, and those of their modules that are imported late in a training, a test or a pipeline.
PRELOADED = ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmengine.runner', 'mmengine.hub', 'mmseg.models', 'mmseg.datasets',
             'mmseg.engine', 'mmseg.evaluation', 'mmseg.visualization', 'torch._dynamo.utils', 'torch.distributed.run',
             'matplotlib.pyplot', 'scipy.ndimage', 'rich.progress', 'rich.table')
# Of the variables PYTHON*, which Python reads when it starts, what a fork can still heed, and what is not read by
# Python but by tools/dist_run.sh and torch.distributed.run.
HEEDED = ('PYTHONPATH', 'PYTHONWARNINGS', 'PYTHONUNBUFFERED', 'PYTHONDONTWRITEBYTECODE', 'PYTHON', 'PYTHON_EXEC')
CLIENT = f'''#!{sys.executable} -ISs
import json, os, signal, socket, sys
numbers = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
link = socket.socket(socket.AF_UNIX)
link.connect(os.path.join(os.path.dirname(sys.argv[0]), 'socket'))
request = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), os.getpgrp() == os.getpid()]).encode()
socket.send_fds(link, [len(request).to_bytes(8, 'big')], [0, 1, 2])
link.sendall(request)
for number in numbers:
    signal.signal(number, lambda number, frame: link.send(bytes([number])))
signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
code = int.from_bytes(link.recv(4), 'big', signed=True)
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
'''
_executable = _server = None


def warm_python() -> str:
    """Path of the executable; its server is started at the first call and ends with this process."""
    global _executable
    if _executable is None:
        _executable = _start()
    return _executable


def _start() -> str:
    import torch
    first_line = CLIENT.splitlines()[0]  # the kernel takes neither long paths nor blanks
    if (os.environ.get('MMWSSS_TEST_NEW_PYTHON') or not hasattr(os, 'pidfd_open') or torch.cuda.is_available()
            or len(first_line) > 120 or first_line.count(' ') > 1):
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix='warm-python-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    executable = folder / 'python'
    executable.write_text(CLIENT)
    executable.chmod(0o700)
    environment = {key: value for key, value in os.environ.items() if key not in HEEDED}
    global _server
    _server = subprocess.Popen([sys.executable, __file__, str(folder / 'socket')], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env={**environment, 'OMP_NUM_THREADS': '1'},
                               start_new_session=True)
    atexit.register(_server.wait)
    atexit.register(_server.stdin.close)  # comes before the wait; the server also ends when this process is killed
    # It cannot begin where no socket can be made, such as in a folder with a long name.
    return str(executable) if _server.stdout.readline() == b'ready\n' else sys.executable


class _Program:
    """A fork that runs what a client has asked for."""

    def __init__(self, pid: int, client: socket.socket, is_group: bool) -> None:
        self.pid, self.client, self.is_group, self.process = pid, client, is_group, os.pidfd_open(pid)

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if self.is_group else os.kill)(self.pid, number)

    def forget(self) -> None:
        self.client.close()
        os.close(self.process)

    def report(self) -> None:
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with contextlib.suppress(OSError):
            self.client.sendall(code.to_bytes(4, 'big', signed=True))


def _serve(path: str) -> tuple:
    """Forks for every request, until stdin ends; returns, in a fork, what it is to run."""
    programs: list[_Program] = []
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        print('ready', flush=True)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            key, _ = selector.select()[0]
            program = key.data
            if key.fileobj == 0:  # the tests are over
                for program in programs:
                    program.kill()
                os._exit(0)
            elif key.fileobj is listener:
                client, _ = listener.accept()
                size, files, *_ = socket.recv_fds(client, 8, 3)
                request = _read(client, int.from_bytes(size, 'big'))
                is_group = bool(request) and json.loads(request)[-1]
                pid = os.fork() if request else None
                if pid == 0:
                    if is_group:
                        os.setpgid(0, 0)
                    for program in programs:
                        program.forget()
                    client.close()
                    return (*json.loads(request)[:3], files)
                for file in files:
                    os.close(file)
                if pid is None:  # killed while it asked
                    client.close()
                    continue
                if is_group:
                    with contextlib.suppress(OSError):  # the fork was first
                        os.setpgid(pid, pid)
                program = _Program(pid, client, is_group)
                programs.append(program)
                selector.register(client, selectors.EVENT_READ, program)
                selector.register(program.process, selectors.EVENT_READ, program)
            elif key.fileobj is program.client:
                numbers = program.client.recv(16)
                for number in numbers or [signal.SIGKILL]:
                    program.kill(number)
                if not numbers:
                    selector.unregister(program.client)
            else:
                if program.client.fileno() in selector.get_map():
                    selector.unregister(program.client)
                selector.unregister(program.process)
                program.report()
                program.forget()
                programs.remove(program)


def _read(client: socket.socket, size: int) -> bytes:
    data = b''
    while len(data) < size and (part := client.recv(size - len(data))):
        data += part
    return data if len(data) == size else b''


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    """What was read when Python started, or torch was imported."""
    return {key: value for key, value in environment.items()
            if key == 'OMP_NUM_THREADS' or (key.startswith('PYTHON') and key not in HEEDED)}


def _run(arguments: list[str], environment: dict[str, str], folder: str, files: list[int], filters: int) -> None:
    """Does in this process, a fork of the server, what a new interpreter would.

    Args:
        arguments: Of the interpreter.
        environment: Of the process.
        folder: It works here.
        files: Its stdin, stdout and stderr.
        filters: How many of Python's own filters of warnings there are.
    """
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    rest, options = list(arguments), []
    while rest and (rest[0] == '-u' or rest[:2] == ['-W', 'ignore']):
        options += [rest.pop(0)]
        options += [rest.pop(0)] if options[-1] == '-W' else []
    is_program = bool(rest) and (rest[0] in ('-c', '-m') or not rest[0].startswith('-'))
    ignored = environment.get('PYTHONWARNINGS', '')
    if not is_program or ignored not in ('', 'ignore') or _fixed(environment) != _fixed(os.environ):
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name in ((1, 'stdout'), (2, 'stderr')):
        stream = getattr(sys, name)
        stream.reconfigure(line_buffering=number == 2 or stream.isatty())
        if '-u' in options or environment.get('PYTHONUNBUFFERED'):
            stream = io.TextIOWrapper(io.FileIO(number, 'wb', closefd=False), stream.encoding, stream.errors,
                                      write_through=True)
            setattr(sys, name, stream)
            setattr(sys, f'__{name}__', stream)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.dont_write_bytecode = bool(environment.get('PYTHONDONTWRITEBYTECODE'))
    multiprocessing.process.ORIGINAL_DIR = folder
    if ignored or '-W' in options:
        # After those of the libraries, which they have put before them.
        libraries, warnings.filters[:] = warnings.filters[:-filters], warnings.filters[-filters:]
        warnings.simplefilter('ignore')
        warnings.filters[:0] = libraries
        sys.warnoptions.append('ignore')
    import numpy
    numpy.random.seed()
    first = dict.get({'-c': '', '-m': folder}, rest[0], os.path.dirname(os.path.realpath(rest[0])))
    sys.path[:1] = [first, *filter(None, environment.get('PYTHONPATH', '').split(os.pathsep))]
    importlib.invalidate_caches()
    sys.modules['warm_python_server'] = sys.modules['__main__']
    main = sys.modules['__main__'] = types.ModuleType('__main__')
    if rest[0] == '-m':
        sys.argv[:] = rest[1:]
        runpy.run_module(rest[1], run_name='__main__', alter_sys=True)
        return
    if rest[0] == '-c':
        sys.argv[:] = ['-c', *rest[2:]]
        code = compile(rest[1], '<string>', 'exec', dont_inherit=True)
    else:
        sys.argv[:] = rest
        main.__file__ = os.path.abspath(rest[0])
        code = compile(Path(rest[0]).read_bytes(), main.__file__, 'exec', dont_inherit=True)
    main.__dict__['__builtins__'] = __builtins__
    exec(code, main.__dict__)


def _end(error: BaseException | None) -> None:
    """Ends this process as an interpreter does, but leaves it to the system to free what was imported."""
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    threading._shutdown()  # waits for those that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if isinstance(error, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 255)


def _preload() -> None:
    gc.disable()
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter('ignore')
        for name in PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.freeze()
    gc.enable()


if __name__ == '__main__':
    own_filters = len(warnings.filters)
    _preload()
    request = _serve(sys.argv[1])
    try:
        _run(*request, own_filters)
    except BaseException as error:  # a SystemExit above all
        _end(error)
    _end(None)
