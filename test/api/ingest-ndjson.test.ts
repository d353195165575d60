import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ingestOf } from "../../src/api/ingest/ingest.js";
import { createLineSplitter } from "../../src/api/ingest/line-splitter.js";
import { readChunks } from "../../src/api/ingest/read-chunks.js";
import { route } from "../../src/api/route.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { countEvents, event, postLines } from "./ingest-events.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const lines = (count: number, account: string): string =>
  Array.from({ length: count }, (_, i) => `${JSON.stringify(event(i, { account_id: account }))}\n`).join("");
const good = (id: number, account = "acme") => JSON.stringify(event(id, { account_id: account }));

/** Sends a head and then pieces; resolves with the answer. Without an `end` the socket is cut after the last piece. */
function stream(
  pieces: readonly Buffer[],
  options: { cutAfter?: () => Promise<unknown> } = {},
): Promise<string> {
  const { hostname, port } = new URL(app.url);
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(Number(port), hostname, async () => {
      socket.write(
        `POST /analytics/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${app.adminKey}\r\n` +
          "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
      );
      for (const piece of pieces) {
        if (piece.length === 0) continue;
        const chunk = Buffer.concat([
          Buffer.from(`${piece.length.toString(16)}\r\n`),
          piece,
          Buffer.from("\r\n"),
        ]);
        if (!socket.write(chunk)) await new Promise<void>((done) => socket.once("drain", done));
        else await new Promise<void>((done) => setImmediate(done));
      }
      if (options.cutAfter) {
        await options.cutAfter();
        socket.destroy();
      } else socket.write("0\r\n\r\n");
    });
    socket.setEncoding("utf8").on("data", (text) => {
      received += text;
    });
    socket.on("error", () => {}).on("close", () => resolve(received));
  });
}

test("bad lines in the middle are refused by their line, blank ones are counted", async () => {
  const body = Buffer.concat([
    Buffer.from(`${good(1)}\n\n{"a":\r\n  \t\r\n${good(2)}\r\n`),
    Buffer.from([0x22, 0xc3, 0x28, 0x22, 0x0a]),
    Buffer.from(
      `${"[".repeat(200_000)}\n${"x".repeat(1_000_001)}\n{"type":"x"}\n[]\n\ufeff${good(3)}\n${good(4)}`,
    ),
  ]);
  const reply = await postLines(app, body);
  expect([reply.status, reply.json.accepted, reply.json.rejected_total]).toEqual([200, 3, 7]);
  expect(
    reply.json.rejected.map(({ index, code }: { index: number; code: string }) => `${index} ${code}`),
  ).toEqual([
    "2 invalid_json",
    "5 invalid_utf8",
    "6 too_deep",
    "7 line_too_long",
    "8 missing_field",
    "9 invalid_value",
    "10 invalid_json",
  ]);
});

test("more than one batch, duplicates across batches, gzip", async () => {
  const body = lines(3_500, "many");
  expect((await postLines(app, body)).json).toEqual({
    accepted: 3_500,
    duplicates: 0,
    rejected: [],
    rejected_total: 0,
  });
  const again = await postLines(app, gzipSync(body), { headers: { "content-encoding": "gzip" } });
  expect(again.json).toEqual({ accepted: 0, duplicates: 3_500, rejected: [], rejected_total: 0 });
  expect((await postLines(app, "")).json).toEqual({
    accepted: 0,
    duplicates: 0,
    rejected: [],
    rejected_total: 0,
  });
});

test("the list of refusals ends at 1,000, the first ones", async () => {
  const reply = await postLines(app, "x\n".repeat(2_500));
  expect([reply.json.rejected_total, reply.json.rejected.length, reply.json.rejected[999].index]).toEqual([
    2_500, 1_000, 999,
  ]);
});

test("lines are the same wherever the bytes are cut", () => {
  const line = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constant("größe 🟢"),
    fc.constant(""),
    fc.constant("x".repeat(30)),
  );
  fc.assert(
    fc.property(
      fc.array(line),
      fc.boolean(),
      fc.array(fc.nat(200), { maxLength: 20 }),
      (texts, ends, cuts) => {
        const text = texts.map((part) => part.replaceAll("\n", "")).join("\n") + (ends ? "\n" : "");
        const bytes = Buffer.from(text);
        const expected = text.split("\n").map((part) => (Buffer.byteLength(part) > 20 ? undefined : part));
        if (expected.at(-1) === "") expected.pop();
        const seen: (string | undefined)[] = [];
        const splitter = createLineSplitter(20, (found, index) => {
          expect(index).toBe(seen.length);
          seen.push(found?.toString());
        });
        const places = [
          0,
          ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
          bytes.length,
        ];
        places.slice(1).forEach((end, i) => {
          splitter.push(bytes.subarray(places[i], end));
        });
        splitter.end();
        expect(seen).toEqual(expected);
      },
    ),
  );
});

test("a body in pieces of 1, 7 and 1,000 bytes gives the same answer", async () => {
  const body = Buffer.from(
    `${good(1, "cut")}\nbad\n\n${JSON.stringify(event("🟢", { account_id: "cut" }))}\n${good(2, "cut")}`,
  );
  for (const [round, size] of [1, 7, 1_000].entries()) {
    const pieces = Array.from({ length: Math.ceil(body.length / size) }, (_, i) =>
      body.subarray(i * size, (i + 1) * size),
    );
    const answer = JSON.parse((await stream(pieces)).split("\r\n\r\n")[1]!.replace(/^[0-9a-f]+\r\n/, ""));
    expect(answer).toMatchObject({
      accepted: round === 0 ? 3 : 0,
      duplicates: round === 0 ? 0 : 3,
      rejected_total: 1,
    });
    expect(answer.rejected[0]).toMatchObject({ index: 1, code: "invalid_json" });
  }
});

test("a cut stream keeps what came before, each whole line of it", async () => {
  const body = Buffer.from(`${lines(2_500, "broken")}{"account_id":"broken"`);
  const arrived = () =>
    expect.poll(() => countEvents(app, "broken"), { timeout: 10_000 }).toBeGreaterThanOrEqual(2_000);
  await stream([body], { cutAfter: arrived });
  await expect.poll(() => countEvents(app, "broken"), { timeout: 10_000 }).toBe(2_500);
});

test("gzip that breaks off: 400, and what came before is kept", async () => {
  const whole = gzipSync(lines(2_000, "torn"));
  const reply = await postLines(app, whole.subarray(0, whole.length - 20), {
    headers: { "content-encoding": "gzip" },
  });
  expect([reply.status, reply.json.code]).toEqual([400, "invalid_encoding"]);
  expect(await countEvents(app, "torn")).toBeGreaterThan(500);
});

test("a gzip bomb of one endless line is read in flat memory", async () => {
  const bomb = gzipSync(Buffer.alloc(300_000_000, 0x78));
  const before = process.memoryUsage.rss();
  const reply = await postLines(app, bomb, { headers: { "content-encoding": "gzip" } });
  expect(reply.json).toMatchObject({
    accepted: 0,
    rejected: [{ index: 0, code: "line_too_long" }],
    rejected_total: 1,
  });
  expect(process.memoryUsage.rss() - before).toBeLessThan(100_000_000);
});

test("a sender is not read faster than the database stores", async () => {
  const { batcher } = ingestOf(app.context);
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, batcher.counts().waiting);
  }, 1);
  const reply = await postLines(app, lines(30_000, "pressed"));
  clearInterval(watch);
  expect(reply.json.accepted).toBe(30_000);
  expect(most).toBeLessThan(4_000);
});

test.each([
  ["another charset", { "content-type": "application/x-ndjson; charset=utf-16" }, 415],
  ["brotli", { "content-encoding": "br" }, 415],
  ["gzip that is none", { "content-encoding": "gzip" }, 400],
])("%s", async (_what, headers, status) => {
  expect((await postLines(app, good(1), { headers })).status).toBe(status);
});

test("a sender that stalls gets 408; one that waits for us does not", async () => {
  let slow: Promise<void> | undefined;
  await using own = await startTestApp({
    routes: () => [
      route({
        method: "post",
        path: "/read",
        access: "public",
        stream: true,
        async handler(request, response) {
          await readChunks(request, { idleMs: 500 }, () => slow);
          response.json({ read: true });
        },
      }),
    ],
  });
  const send = (finish: boolean): Promise<string> =>
    new Promise((resolve) => {
      const { hostname, port } = new URL(own.url);
      let received = "";
      const socket = connect(Number(port), hostname, () => {
        socket.write(
          "POST /read HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        socket.write(`1\r\nx\r\n${finish ? "0\r\n\r\n" : ""}`);
      });
      socket.setEncoding("utf8").on("data", (text) => {
        received += text;
        socket.end();
      });
      socket.on("error", () => {}).on("close", () => resolve(received));
    });
  expect(await send(false)).toMatch(/^HTTP\/1.1 408 [\s\S]*idle_timeout/);
  slow = new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(await send(true)).toMatch(/^HTTP\/1.1 200 /);
});
