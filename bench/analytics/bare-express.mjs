/** The peer of `serving`: Express with one route that has the bytes ready, in two processes on one port. */
import cluster from "node:cluster";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import express from "express";

const PROCESSES = 2;

if (cluster.isPrimary) {
  let ready = 0;
  for (let index = 0; index < PROCESSES; index++)
    cluster.fork().on("message", ({ port }) => {
      ready += 1;
      if (ready === PROCESSES) process.send({ type: "ready", url: `http://127.0.0.1:${port}` });
    });
  process.once("SIGTERM", () => process.exit(0));
} else {
  const answers = new Map(JSON.parse(readFileSync(process.env.ANSWERS, "utf8")));
  for (const [path, text] of answers) answers.set(path, Buffer.from(text));
  const app = express();
  app.get("/analytics/metrics", (request, response) => {
    const bytes = answers.get(request.originalUrl);
    response.setHeader("content-type", "application/json; charset=utf-8");
    response.setHeader("content-length", bytes.length);
    response.end(bytes);
  });
  // As many clients at once as ours takes.
  const server = createServer(app).listen({ port: 0, host: "127.0.0.1", backlog: 4_096 }, () =>
    process.send({ port: server.address().port }),
  );
}
