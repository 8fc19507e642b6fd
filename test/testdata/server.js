// Node's http on the socket that LISTEN_FDS hands over, after 3 seconds in which nothing else can run.
const fs = require("fs"), http = require("http"), path = require("path");
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
fs.writeFileSync(path.join(process.env.IMPORTED, String(process.pid)), "");
http.createServer((_, response) => response.end(String(process.pid))).listen({ fd: 3 });
process.on("SIGTERM", () => process.exit(0));
