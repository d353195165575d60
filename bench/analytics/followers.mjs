/** Clients of `GET /analytics/metrics/stream` in a process of their own; says when each has seen which total. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";

const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
const [url, apiKey, ...paths] = JSON.parse(readFileSync(process.env.FOLLOW, "utf8"));
let open = 0;

for (const [index, path] of paths.entries()) {
  const sent = request(url + path, { agent, headers: { authorization: `Bearer ${apiKey}` } });
  sent.on("error", (error) => process.send({ type: "failed", index, reason: error.message }));
  sent.on("response", (response) => {
    if (response.statusCode !== 200)
      process.send({ type: "failed", index, reason: `status ${response.statusCode}` });
    let rest = "";
    response.setEncoding("utf8").on("data", (part) => {
      const blocks = (rest + part).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) see(index, block);
    });
    response.on("close", () => process.send({ type: "failed", index, reason: "ended" }));
  });
  sent.end();
}

const seen = new Set();
function see(index, block) {
  const data = /^data: (.*)$/m.exec(block)?.[1];
  if (data === undefined) return;
  const total = JSON.parse(data).totals.reduce((sum, row) => sum + row.messages_sent, 0);
  process.send({ type: "seen", index, total, at: Date.now() });
  if (seen.has(index)) return;
  seen.add(index);
  open += 1;
  if (open === paths.length) process.send({ type: "ready" });
}

process.once("SIGTERM", () => process.exit(0));
