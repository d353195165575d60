import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseDeepJson, parseJson, readJsonBody } from "../../src/api/body.js";
import { route } from "../../src/api/route.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

const MAX_BYTES = 1_000_000;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    routes: () => [
      route({
        method: "post",
        path: "/body",
        access: "public",
        async handler(request, response) {
          response.json({ got: await readJsonBody(request, { maxBytes: MAX_BYTES }) });
        },
      }),
    ],
  });
});
afterAll(() => app.close());

const json = { "content-type": "application/json" };
const post = (raw: string | Uint8Array, headers: Record<string, string> = json) =>
  call(app.url, "POST", "/body", { raw, headers });

/** Sends a head and pieces on a bare socket until the server closes it; the answer is what came back. */
function sendRaw(head: string[], pieces: () => Generator<Buffer>): Promise<string> {
  const { hostname, port } = new URL(app.url);
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(Number(port), hostname, () => {
      socket.write(`${["POST /body HTTP/1.1", "host: x", ...head].join("\r\n")}\r\n\r\n`);
      const source = pieces();
      const pump = () => {
        while (!socket.destroyed && socket.writable) {
          const next = source.next();
          if (next.done) return;
          if (!socket.write(next.value)) {
            socket.once("drain", pump);
            return;
          }
        }
      };
      pump();
    });
    socket.setEncoding("utf8").on("data", (chunk) => {
      received += chunk;
      if (received.includes("\r\n\r\n")) socket.destroy();
    });
    socket.on("error", () => {}).on("close", () => resolve(received));
  });
}

/** Runs it and says how long it took and by how much the process grew. */
async function measured<T>(work: () => Promise<T>) {
  const before = process.memoryUsage.rss();
  const started = performance.now();
  const result = await work();
  return { result, ms: performance.now() - started, grownBytes: process.memoryUsage.rss() - before };
}

test("JSON in UTF-8, also gzipped, with or without a charset", async () => {
  const value = { text: "größe 🟢", list: [1, null, true], nested: { a: '\\"[{' } };
  const text = JSON.stringify(value);
  expect((await post(text)).json).toEqual({ got: value });
  expect((await post(text, { "content-type": 'Application/JSON; Charset="UTF-8"' })).json.got).toEqual(value);
  expect((await post(gzipSync(text), { ...json, "content-encoding": "gzip" })).json.got).toEqual(value);
  expect((await post(text, { ...json, "content-encoding": "identity" })).json.got).toEqual(value);
});

test.each([
  ["no content type", "{}", { "content-type": "" }, 415, "unsupported_media_type"],
  ["a form", "a=1", { "content-type": "application/x-www-form-urlencoded" }, 415, "unsupported_media_type"],
  [
    "another charset",
    "{}",
    { "content-type": "application/json; charset=utf-16" },
    415,
    "unsupported_media_type",
  ],
  ["brotli", "{}", { ...json, "content-encoding": "br" }, 415, "unsupported_encoding"],
  ["two encodings", "{}", { ...json, "content-encoding": "gzip, gzip" }, 415, "unsupported_encoding"],
  ["gzip that is none", "{}", { ...json, "content-encoding": "gzip" }, 400, "invalid_encoding"],
  [
    "cut gzip",
    gzipSync("{}").subarray(0, 15),
    { ...json, "content-encoding": "gzip" },
    400,
    "invalid_encoding",
  ],
  ["double gzip", gzipSync(gzipSync("{}")), { ...json, "content-encoding": "gzip" }, 400, "invalid_json"],
  ["UTF-16", Buffer.from("{}", "utf16le"), json, 400, "invalid_json"],
  ["malformed UTF-8", Buffer.from([0x22, 0xc3, 0x28, 0x22]), json, 400, "invalid_json"],
  ["half a character", Buffer.from([0x22, 0xf0, 0x9f, 0x22]), json, 400, "invalid_json"],
  ["a byte order mark", Buffer.from("\ufeff{}"), json, 400, "invalid_json"],
  ["nothing", "", json, 400, "invalid_json"],
  ["broken JSON", "{a:1}", json, 400, "invalid_json"],
  ["65 levels", "[".repeat(65) + "]".repeat(65), json, 400, "invalid_json"],
  ["200,000 levels", "[".repeat(200_000), json, 400, "invalid_json"],
  ["200,000 objects", '{"a":'.repeat(199_000), json, 400, "invalid_json"],
  ["one byte too many", `"${"x".repeat(MAX_BYTES - 1)}"`, json, 413, "body_too_large"],
])("%s is refused with a problem", async (_what, raw, headers, status, code) => {
  const reply = await post(raw, headers);
  expect([reply.status, reply.json.code]).toEqual([status, code]);
  const next = await post("[1]");
  expect(next.status).toBe(200);
});

test("64 levels and exactly the limit are accepted", async () => {
  expect((await post("[".repeat(64) + "]".repeat(64))).status).toBe(200);
  expect((await post(`"${"x".repeat(MAX_BYTES - 2)}"`)).status).toBe(200);
});

test("__proto__ stays an ordinary key", () => {
  const value = parseJson(Buffer.from('{"__proto__":{"admin":true}}')) as { admin?: boolean };
  expect(value.admin).toBeUndefined();
  expect(Object.keys(value)).toEqual(["__proto__"]);
});

describe("bodies that are too large are refused at once, with flat memory", () => {
  const megabyte = Buffer.alloc(1_000_000, 0x20);
  function* hundredMegabytes() {
    for (let i = 0; i < 100; i++) yield megabyte;
  }
  function* chunks() {
    const head = Buffer.from("f4240\r\n");
    for (let i = 0; i < 100; i++) yield Buffer.concat([head, megabyte, Buffer.from("\r\n")]);
  }

  test("Content-Length of 100 MB, of which nothing is ever sent", async () => {
    const { result, ms } = await measured(() =>
      sendRaw(["content-type: application/json", "content-length: 100000000"], function* () {}),
    );
    expect(result).toMatch(/^HTTP\/1.1 413 [\s\S]*connection: close/i);
    expect(ms).toBeLessThan(1_000);
  });

  test.each([
    ["100 MB", "content-length: 100000000", hundredMegabytes],
    ["100 MB in chunks without a length", "transfer-encoding: chunked", chunks],
  ])("%s, sent as fast as it goes", async (_what, head, pieces) => {
    const { result, ms, grownBytes } = await measured(() =>
      sendRaw(["content-type: application/json", head], pieces),
    );
    expect(result).toMatch(/^HTTP\/1.1 413 /);
    expect(ms).toBeLessThan(2_000);
    expect(grownBytes).toBeLessThan(64_000_000);
  });

  test("a gzip bomb: 100 kB that inflate to 100 MB", async () => {
    const bomb = gzipSync(Buffer.alloc(100_000_000));
    expect(bomb.length).toBeLessThan(MAX_BYTES);
    const { result, ms, grownBytes } = await measured(() =>
      post(bomb, { ...json, "content-encoding": "gzip" }),
    );
    expect([result.status, result.json.code]).toEqual([413, "body_too_large"]);
    expect(ms).toBeLessThan(1_000);
    expect(grownBytes).toBeLessThan(64_000_000);
  });

  test("gzip members that inflate to nothing, for ever", async () => {
    const empty = gzipSync("");
    const many = Buffer.concat(Array.from({ length: 60_000 }, () => empty));
    const reply = await post(many, { ...json, "content-encoding": "gzip" });
    expect(reply.status).toBe(413);
  });

  test("a client that sends everything before it reads still gets the 413", async () => {
    const { hostname, port } = new URL(app.url);
    const body = Buffer.alloc(20_000_000, 0x20);
    const head = `POST /body HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    const answer = await new Promise<string>((resolve, reject) => {
      let received = "";
      const socket = connect(Number(port), hostname).pause();
      socket.on("error", reject).on("close", () => resolve(received));
      socket.setEncoding("utf8").on("data", (chunk) => {
        received += chunk;
      });
      socket.pause().write(head);
      socket.write(body, () => socket.resume());
    });
    expect(answer).toMatch(/^HTTP\/1.1 413 /);
  });
});

test("a client that goes away in the middle harms nobody", async () => {
  const { hostname, port } = new URL(app.url);
  const head =
    "POST /body HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
  for (const leave of ["end", "resetAndDestroy"] as const) {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {}).write(`${head}{"a"`);
    await new Promise<void>((resolve) => socket.once("connect", resolve));
    socket[leave]();
    socket.resume();
    await new Promise<void>((resolve) => socket.once("close", () => resolve()));
    expect((await post("[1]")).status).toBe(200);
  }
});

test.each([
  ['{"a":[[1,2],"]",{"b":[]}],"c":1}', { a: [[], "]", {}], c: 1 }],
  ['[[["\\"]",{}]],[[2]]]', [[[]], [[]]]],
  ["[[1]]", [[1]]],
])("%s, three levels of it", (text, value) => {
  expect(parseDeepJson(Buffer.from(text), 3).value).toEqual(value);
});

test("what is not built costs nothing: 1,500,000 levels", () => {
  const text = Buffer.from("[".repeat(1_500_000) + "]".repeat(1_500_000));
  expect(parseDeepJson(text, 2)).toEqual({ value: [[]], deep: true });
  expect(() => parseDeepJson(text.subarray(0, -1), 2)).toThrow("not valid JSON");
});
