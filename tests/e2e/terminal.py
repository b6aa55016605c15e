"""A program on a pseudo-terminal: keys in, what the screen was sent out. For the tests of line editing."""
import os
import pty
import re
import select
import sys
import termios
import time


class Terminal:
    def __init__(self, argv, before=None):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "vt100"
            if before:
                before()
            os.execvp(argv[0], argv)

    def keys(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other end is closed
            data = b""
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=120):
        """Wait until what came since the last expect matches; forget it up to the end of the match."""
        end = time.time() + seconds
        while True:
            m = re.search(pattern, self.seen)
            if m:
                self.seen = self.seen[m.end():]
                return m
            if time.time() > end or not self.read(max(0.0, end - time.time())) and time.time() > end:
                sys.exit("FAIL: no '%s' in:\n%s" % (pattern, self.seen))
            if not os.path.exists("/proc/%d" % self.pid) and not self.read(0.2):
                sys.exit("FAIL: the program ended before '%s':\n%s" % (pattern, self.seen))

    def settle(self):
        """Wait until nothing more comes, and forget what came: Ctrl-C throws away what is on its way in either direction."""
        while self.read(0.7):
            pass
        self.seen = ""

    def prompt(self, pattern):
        """Wait for a prompt, and until keys are read one by one there: a control key that comes earlier has another meaning."""
        self.expect(pattern)
        while self.read(0.1) or termios.tcgetattr(self.fd)[3] & termios.ICANON:
            pass

    def runs(self, seconds=120):
        """Wait until what was entered runs: keys are no longer read one by one."""
        end = time.time() + seconds
        while not termios.tcgetattr(self.fd)[3] & termios.ICANON:
            if time.time() > end:
                sys.exit("FAIL: nothing runs:\n" + self.seen)
            self.read(0.05)

    def wait(self, seconds=120):
        """The exit code, once the program ended; -signal when it was killed."""
        end = time.time() + seconds
        while time.time() < end:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while self.read(0.1):
                    pass
                return os.waitstatus_to_exitcode(status)
        sys.exit("FAIL: the program goes on; it showed:\n" + self.seen)
