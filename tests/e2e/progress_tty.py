"""Progress on a terminal of 50 columns: a line that is rewritten in place must never be longer, and what else is said has a line of its own."""
import fcntl
import re
import struct
import sys
import termios

from terminal import Terminal

t = Terminal(["tunesmith", "tune", "matmul q4f16_1 A=f32 K=1048576 N=1048576 n=1", "softmax A=f32 V=256 inv_temperature=1.0 n=1", "--trials", "30", "--store", sys.argv[1]],
             before=lambda: fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0)))
code = t.wait(300)
if code != 1:
    sys.exit("FAIL: exit code %d:\n%s" % (code, t.seen))
lines = re.split(r"\r\n|\r", t.seen)
drawn = [x.replace("\x1b[K", "") for x in lines if "tune " in x]
if len(drawn) < 3 or any(len(x) > 49 for x in drawn):
    sys.exit("FAIL: lines of progress:\n%s" % "\n".join(drawn))
if not any(re.fullmatch(r"(\x1b\[K)?error: matmul .* is too large  \[worker-failed\]", x) for x in lines):
    sys.exit("FAIL: an error has no line of its own:\n%s" % "\n".join(lines))
