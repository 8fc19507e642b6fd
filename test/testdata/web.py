"""A web application for gunicorn (web:wsgi) and uvicorn (web:asgi), quick to import: "served by PID, release RELEASE".

Where the working directory has a file "broken" this is a bad release: after 1.5 s its import fails.
"""

import os
import time

if os.path.exists("broken"):
    time.sleep(1.5)
    import a_module_that_the_new_release_forgot  # noqa: F401

body = f"served by {os.getpid()}, release {os.environ.get('RELEASE', '')}\n".encode()


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        if scope["path"] == "/busy":
            time.sleep(0.3)  # in the event loop, which does nothing else meanwhile
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
