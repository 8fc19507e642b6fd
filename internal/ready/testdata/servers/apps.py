"""What gunicorn (wsgi) and uvicorn (asgi) serve: the answer to any request is "ready"."""

import gate  # noqa: F401  a slow import


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"ready"]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"ready"})
