"""A child process for the tests of hcq_cli.process: does what a message asks for."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from hcq_cli.process import ParentConnection, die_with_parent, limit_memory


def main() -> None:
    die_with_parent()
    parent = ParentConnection()
    while True:
        message = parent.receive()
        match message["do"]:
            case "echo":
                parent.send({"text": message["text"], "stdin": sys.stdin.read()}, message.get("payload", b""))
            case "chatter":
                os.write(1, b"said by a library\n")
                os.write(parent._sink.fileno(), b'said\n[1]\n7\n{"payload_bytes": "x"}\nand half a line')
                parent.send({})
            case "sleep twice":
                for _ in range(2):
                    time.sleep(message["seconds"])
                    parent.send({"alive": True})
            case "fill":
                limit_memory(1 << 30)
                try:
                    bytearray(2 << 30)
                except MemoryError:
                    parent.send({"memory": True})
            case "leave":
                print("an excuse", file=sys.stderr)
                os._exit(7)
            case "start":
                parent.send({"pid": subprocess.Popen(["sleep", "100"]).pid})


if __name__ == "__main__":
    main()
