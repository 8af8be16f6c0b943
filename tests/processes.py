"""What the system says of processes that tests have started."""


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended, waited for or not."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):  # it ended before the file was opened, or read
        return False
