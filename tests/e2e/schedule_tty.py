"""tunesmith schedule on a terminal: completion, history, Ctrl-C, unsaved steps."""
import os
import re
import signal
import sys
import time

from terminal import Terminal

FILE = sys.argv[1]
STATE = os.environ["XDG_STATE_HOME"] + "/tunesmith"
PROMPT = r"schedule> "


def begin(file=FILE):
    t = Terminal(["tunesmith", "schedule", file])
    t.prompt(PROMPT)
    return t


def check(ok, what):
    if not ok:
        sys.exit("FAIL: " + what)


t = begin()
t.keys('b = get_bl\t"m\t\r')  # a primitive and a block name
t.expect(r"b: block mm")
t.prompt(PROMPT)
t.keys("i, j, k = get_lo\tb\r")
t.expect(r"k: loop k, 32 iterations")
t.prompt(PROMPT)
t.keys("split j [_, 8] ta\tp\t\r")  # a keyword and its word
t.expect(r"for j_1 in 0\.\.8")
t.prompt(PROMPT)
t.keys("undo\r")
t.expect(r"undone: split j \[_, 8\] tail=perfect")
t.prompt(PROMPT)
t.keys("re\t\t")  # several words begin so
t.expect(r"redo\s+reindex\s+")
t.settle()
t.keys("\x15")  # the line is dropped
for _ in range(3):  # Ctrl-C returns to the prompt, as often as it is pressed
    t.settle()
    t.keys("half a line\x03")
    t.prompt(PROMPT)
t.keys("redo\r")
t.expect(r"again: split j")
t.prompt(PROMPT)
t.keys("\x1b[A\x1b[A\r")  # up, up: undo
t.expect(r"undone: split j")
t.prompt(PROMPT)
t.keys("parallel i\r")
t.expect(r"for i in 0\.\.16 parallel")
t.prompt(PROMPT)
t.keys("\x04")  # end of input
check(t.wait() == 0, "the exit code at the end of input")
m = re.search(r"unsaved steps are in (.+\.trace)", t.seen)
check(m, "nothing was said of unsaved steps:\n" + t.seen)
text = open(m.group(1)).read()
check(text == 'trace 1\nb = get_block "mm"\ni, j, k = get_loops b\nparallel i\n', "the recovered trace is\n" + text)

t = begin()  # the history is still there
t.keys("\x1b[A")
t.expect(r"parallel i")
t.keys("\x15load " + m.group(1) + "\r")
t.expect(r"3 steps of 3")
t.prompt(PROMPT)
t.keys("vectorize k\r")
t.expect(r"witness: k = ")
t.prompt(PROMPT)
t.keys("quit\r")
check(t.wait() == 0, "the exit code of quit")
check("unsaved" not in t.seen, "loaded steps count as unsaved:\n" + t.seen)

t = begin(sys.argv[2])  # a run of many minutes
t.keys('b = get_block "mm"\r')
t.expect(r"b: block mm")
t.prompt(PROMPT)
t.keys("run\r")
t.runs()
time.sleep(0.5)
t.keys("\x03")
t.expect(r"stopped by a signal")
t.prompt(PROMPT)
t.keys("names\r")  # the session goes on with what it had
t.expect(r"b: block mm")
t.prompt(PROMPT)
t.keys("undo\rquit\r")
check(t.wait() == 0, "the exit code after a stopped run")

t = begin()  # ended from outside: the steps are kept
t.keys('b = get_block "mm"\r')
t.expect(r"b: block mm")
t.prompt(PROMPT)
os.kill(t.pid, signal.SIGTERM)
check(t.wait() == 0, "the exit code after SIGTERM")
check("unsaved steps are in" in t.seen, "nothing was said after SIGTERM:\n" + t.seen)
check(len([f for f in os.listdir(STATE) if f.endswith(".trace")]) == 2, "files in the state folder: %s" % os.listdir(STATE))
