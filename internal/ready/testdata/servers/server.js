// An HTTP server on descriptor 3, after a slow start.
require("fs").readFileSync(process.env.GATE);
require("http").createServer((_, res) => res.end("ready")).listen({ fd: 3 });
