import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, constants, deflateSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, type Installation, startInstallation } from "../e2e/installation.js";
import { sendRaw } from "../support/raw-request.js";

const MEGABYTE = 1_000_000;
const MAX_GROWTH = 20 * MEGABYTE;
const TIMEOUT_MS = 2_000;

let service: Installation;
let url: string;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bodies-"));
  await writeFile(join(folder, "security.yaml"), "rate_limits: { default: 0 }\n");
  await writeFile(join(folder, "performance.yaml"), `timeout: ${TIMEOUT_MS / 1000}\n`);
  service = await startInstallation({ queues: "postgres", processes: ["api"], env: { CONFIG_DIR: folder } });
  url = (await service.process("api").ready).url;
  await warmUp();
});
afterAll(async () => {
  await service?.stop();
  await rm(folder, { recursive: true });
});

const head = (fields: Record<string, string | number>, path = "/analytics/events") =>
  [
    `POST ${path} HTTP/1.1`,
    "host: service",
    `authorization: Bearer ${API_KEY}`,
    ...Object.entries({ "content-type": "application/json", ...fields }).map(
      ([name, value]) => `${name}: ${value}`,
    ),
    "\r\n",
  ].join("\r\n");
const gzip = { "content-encoding": "gzip" };

/** Bodies of the sizes that are allowed: what the process needs for them it has from then on. */
async function warmUp(): Promise<void> {
  const largest = Buffer.alloc(3 * MEGABYTE - 100, 0x20);
  const bodies: [Buffer, object][] = [
    [largest, {}],
    [gzipSync(largest), gzip],
  ];
  for (let round = 0; round < 10; round++)
    for (const [body, fields] of bodies) {
      const answer = await sendRaw(url, [
        head({ "content-length": body.length, connection: "close", ...fields }),
        body,
      ]);
      expect(answer.status).toBe(400);
    }
}

/** Resident memory of the API, and the most of it since it was last asked to forget that. */
async function memory(): Promise<{ now: number; most: number }> {
  const text = await readFile(`/proc/${service.process("api").pid}/status`, "utf8");
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)![1]) * 1024;
  return { now: bytes("VmRSS"), most: bytes("VmHWM") };
}
const forgetMost = () => writeFile(`/proc/${service.process("api").pid}/clear_refs`, "5");

function* hundredMegabytes(of: Buffer) {
  for (let sent = 0; sent < 100; sent++) yield of;
}

const spaces = Buffer.alloc(MEGABYTE, 0x20);
const chunk = Buffer.concat([Buffer.from(`${MEGABYTE.toString(16)}\r\n`), spaces, Buffer.from("\r\n")]);
const zeros = Buffer.alloc(200 * MEGABYTE);
const bomb = gzipSync(zeros);
const brotli = brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
const withLength = (fields: object, body: Buffer) => [
  head({ "content-length": body.length, connection: "close", ...fields }),
  body,
];

/** What is sent, and how it is refused. */
const attacks: [what: string, status: number, code: string, bytes: () => Iterable<Buffer | string>][] = [
  [
    "100 MB of JSON",
    413,
    "body_too_large",
    function* () {
      yield head({ "content-length": 100 * MEGABYTE });
      yield* hundredMegabytes(spaces);
    },
  ],
  [
    "100 MB in chunks without a length",
    413,
    "body_too_large",
    function* () {
      yield head({ "transfer-encoding": "chunked" });
      yield* hundredMegabytes(chunk);
    },
  ],
  ["200 MB as gzip", 413, "body_too_large", () => withLength(gzip, bomb)],
  ["200 MB as brotli", 415, "unsupported_encoding", () => withLength({ "content-encoding": "br" }, brotli)],
  [
    "200 MB as deflate",
    415,
    "unsupported_encoding",
    () => withLength({ "content-encoding": "deflate" }, deflateSync(zeros)),
  ],
  [
    "gzip in gzip that says so",
    415,
    "unsupported_encoding",
    () => withLength({ "content-encoding": "gzip, gzip" }, gzipSync(bomb)),
  ],
  ["gzip in gzip that says one layer", 400, "invalid_json", () => withLength(gzip, gzipSync(bomb))],
  [
    "a length that is twice there",
    400,
    "bad_request",
    () => [head({ "content-length": "2\r\ncontent-length: 3" }), "{}"],
  ],
  [
    "a length and chunks",
    400,
    "bad_request",
    () => [head({ "content-length": 2, "transfer-encoding": "chunked" }), "2\r\n{}\r\n0\r\n\r\n"],
  ],
];

// The memory of another process is read from /proc.
describe.runIf(process.platform === "linux")(
  "a body that is refused costs less than 20 MB and a second, and its connection",
  () => {
    it.each(attacks)("F27: %s is %i %s", { timeout: 60_000 }, async (_what, status, code, bytes) => {
      await forgetMost();
      const { now } = await memory();
      const answers = [];
      for (let time = 0; time < 3; time++) answers.push(await sendRaw(url, bytes()));
      const { most } = await memory();
      for (const answer of answers) {
        expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(code)]);
        expect(answer.text).toMatch(/connection: close/i);
        expect(answer.answeredMs).toBeLessThan(1_000);
      }
      expect(most - now).toBeLessThan(MAX_GROWTH);
    });
  },
);

describe("a Content-Length that is wrong", () => {
  const body = '{"events":[]}';

  it("F27: more than is sent, by a client that waits: 408 after the time-out, closed", async () => {
    const answer = await sendRaw(url, [head({ "content-length": 1_000 }), body]);
    expect([answer.status, answer.text]).toEqual([408, expect.stringContaining("body_timeout")]);
    expect(answer.answeredMs).toBeLessThan(TIMEOUT_MS + 1_000);
  });

  it("F27: more than is sent, by a client that ends: closed at once, nothing is taken", async () => {
    const answer = await sendRaw(url, [head({ "content-length": 1_000 }), body], true);
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining("bad_request")]);
    expect(answer.answeredMs).toBeLessThan(1_000);
  });

  it("F27: less than is sent: what is there is answered, the rest is no request, closed", async () => {
    const whole = await sendRaw(url, [head({ "content-length": body.length }), `${body}\0\0rest`]);
    expect([whole.status, whole.text]).toEqual([200, expect.stringMatching(/connection: close/i)]);
    const cut = await sendRaw(url, [head({ "content-length": body.length - 1 }), body]);
    expect([cut.status, cut.text]).toEqual([400, expect.stringContaining("invalid_json")]);
    expect(whole.text.match(/^HTTP/gm)).toHaveLength(1);
  });
});
