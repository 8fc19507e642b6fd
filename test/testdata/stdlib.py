"""The standard library's http.server, one request at a time: "served by PID, release RELEASE".

It stops as examples/python/app.py does. While the working directory has a file "brokenN" worker N fails at start.
"""

import http.server
import os
import signal
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    body = f"served by {os.getpid()}, release {os.environ.get('RELEASE', '')}\n".encode()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


def serve(handler):
    if os.path.exists("broken" + os.environ["PREFORKD_WORKER_ID"]):
        sys.exit("this worker cannot start")
    server = http.server.HTTPServer(("", 0), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
    server.socket.setblocking(False)  # a sibling may win the race to accept: then go back to waiting
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    serve(Handler)
