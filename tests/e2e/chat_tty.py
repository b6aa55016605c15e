"""tunesmith chat on a terminal: completion, history, Ctrl-C at the prompt and during an answer."""
import sys

from terminal import Terminal

DIR = sys.argv[1]
PROMPT = r">>> "

t = Terminal(["tunesmith", "chat", DIR, "--threads", "1", "--max-tokens", "4", "--seed", "1"])
t.prompt(PROMPT)
t.keys("/me\t\r")  # /metrics
t.expect(r"turns 0 count")
t.prompt(PROMPT)
t.keys("/set temp\t0\r")
t.prompt(PROMPT)
t.keys("/set\r")
t.expect(r"temperature=0 ")
t.prompt(PROMPT)
for _ in range(2):
    t.keys("half a line\x03")
    t.prompt(PROMPT)
t.keys("once\r")
t.prompt(PROMPT)
t.keys("\x1b[A\x1b[A\r")  # up, up: /set
t.expect(r"temperature=0 ")
t.prompt(PROMPT)
t.keys("/reload nowhere\r")  # the model stays
t.expect(r"error: nowhere")
t.prompt(PROMPT)
t.keys("/set max_tokens=0\r")
t.prompt(PROMPT)
t.keys("again and again\r")
t.expect(r"again and again\r\n")
t.keys("\x03")  # stops the answer, if it is not over yet
t.prompt(PROMPT)
t.keys("/stats\r")
t.expect(r"stopped: \w+")
t.prompt(PROMPT)
t.keys("\x04")
code = t.wait()
if code != 0:
    sys.exit("FAIL: exit code %d" % code)

t = Terminal(["tunesmith", "chat", DIR, "--threads", "1"])
t.prompt(PROMPT)
t.keys("\x1b[A")
t.expect(r"/stats")
t.keys("\x15/exit\r")
if t.wait() != 0:
    sys.exit("FAIL: /exit")
