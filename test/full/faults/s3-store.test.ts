import { createHash, randomBytes, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { ArtifactStore } from "../../../src/exports/artifacts/artifact-store.js";
import { encryptedStore } from "../../../src/exports/artifacts/encrypted.js";
import { createKeyRing } from "../../../src/exports/artifacts/key-ring.js";
import { createS3Store } from "../../../src/exports/artifacts/s3.js";
import { callMs, type S3Limits } from "../../../src/exports/artifacts/s3-client.js";
import { partBytes } from "../../../src/exports/artifacts/s3-upload.js";
import {
  type BlackHole,
  type FaultyProxy,
  startBlackHole,
  startFaultyProxy,
} from "../../support/faulty-proxy.js";
import { hasSwift, startS3, type TestS3 } from "../../support/s3.js";

const MIB = 1024 * 1024;
const PART = partBytes(1);
const limits: S3Limits = {
  connectMs: 1_000,
  answerMs: 1_500,
  bytesPerSecond: 16 * MIB,
  silenceMs: 500,
  cleanupMs: 2_000,
};
const piece = randomBytes(MIB);
/** Two whole parts and a bit. */
const pieces = (PART / MIB) * 2 + 1;
async function* large(): AsyncGenerator<Buffer> {
  for (let i = 0; i < pieces; i++) yield piece;
}
const sha256 = (() => {
  const hash = createHash("sha256");
  for (let i = 0; i < pieces; i++) hash.update(piece);
  return hash.digest("hex");
})();
const measure = { bytes: pieces * MIB, sha256 };
const nobody = async () => new Set<string>();

describe.skipIf(!hasSwift)("a store in S3", () => {
  let s3: TestS3;
  let proxy: FaultyProxy;
  let hole: BlackHole;
  let store: ArtifactStore;
  let behindHole: ArtifactStore;
  const newKey = () => `${randomUUID()}/1`;
  beforeAll(async () => {
    s3 = await startS3();
    [proxy, hole] = await Promise.all([startFaultyProxy(s3.url), startBlackHole(s3.url)]);
    store = createS3Store(s3.settings({ endpoint: proxy.url }), limits);
    behindHole = createS3Store(s3.settings({ endpoint: hole.url }), limits);
  });
  afterEach(() => {
    proxy.decide = () => "pass";
    proxy.seen = [];
    hole.limit = Number.POSITIVE_INFINITY;
  });
  afterAll(async () => {
    await Promise.all([proxy?.stop(), hole?.stop()]);
    await s3?.stop();
  });

  /** Nothing is left of a write, or what is left is gone after a sweep. */
  async function expectNothing(ofKey: string): Promise<void> {
    expect(await store.size(ofKey)).toBeUndefined();
    expect(await s3.uploads()).toEqual([]);
    expect(await s3.objects()).toEqual([]);
  }

  it("takes a large file in parts and gives it back, whole and in ranges over their edges", async () => {
    const key = newKey();
    expect(await store.write(key, large())).toEqual(measure);
    expect(proxy.seen.filter((call) => call.includes("partNumber="))).toHaveLength(3);
    const hash = createHash("sha256");
    for await (const chunk of (await store.open(key))!) hash.update(chunk as Buffer);
    expect(hash.digest("hex")).toBe(sha256);
    const range = await buffer((await store.open(key, { start: PART - 10, end: PART + 9 }))!);
    expect(range.equals(Buffer.concat([piece.subarray(-10), piece.subarray(0, 10)]))).toBe(true);
    await store.remove(key);
    await expectNothing(key);
  });

  it("keeps a large file encrypted, and reads any range of it", async () => {
    const ring = createKeyRing([{ id: "k1", key: randomBytes(32).toString("base64") }]);
    const sealed = encryptedStore(store, ring);
    const key = sealed.newKey(`${randomUUID()}/1`);
    expect(await sealed.write(key, large())).toEqual(measure);
    expect(await sealed.size(key)).toBe(measure.bytes);
    expect(await store.size(key)).toBeGreaterThan(measure.bytes);
    const range = await buffer((await sealed.open(key, { start: PART - 10, end: PART + 9 }))!);
    expect(range.equals(Buffer.concat([piece.subarray(-10), piece.subarray(0, 10)]))).toBe(true);
    await sealed.remove(key);
    await expectNothing(key);
  });

  it("F18: errors, slow-downs and a part that was cut are made good", async () => {
    const key = newKey();
    const faults = [
      { status: 500, code: "InternalError" },
      { cutAfter: MIB },
      { status: 503, code: "SlowDown" },
    ] as const;
    let next = 0;
    proxy.decide = ({ url }) => (url!.includes("partNumber=") ? (faults[next++] ?? "pass") : "pass");
    expect(await store.write(key, large())).toEqual(measure);
    expect(next).toBeGreaterThan(faults.length);
    expect(await store.size(key)).toBe(measure.bytes);
    await store.remove(key);
  });

  it("F18: a store that keeps failing ends the write, and no upload is left", async () => {
    const key = newKey();
    proxy.decide = ({ url }) =>
      url!.includes("partNumber=2") ? { status: 500, code: "InternalError" } : "pass";
    await expect(store.write(key, large())).rejects.toMatchObject({ code: "file_store_unavailable" });
    await expectNothing(key);
  });

  it("F18: what cannot be taken back at once, the sweep takes back, but not what is young or in use", async () => {
    const key = newKey();
    proxy.decide = ({ url, method }) =>
      url!.includes("partNumber=2") || method === "DELETE" ? { status: 500, code: "InternalError" } : "pass";
    await expect(store.write(key, large())).rejects.toMatchObject({ code: "file_store_unavailable" });
    proxy.decide = () => "pass";
    expect(await s3.uploads()).toEqual([`files/${key}`]);
    const later = new Date(Date.now() + 3_600_000);
    expect(await store.sweep("", nobody, new Date(Date.now() - 3_600_000))).toBe(0);
    expect(await store.sweep("", async (keys) => new Set(keys), later)).toBe(0);
    expect(await s3.uploads()).toHaveLength(1);
    expect(await store.sweep("", nobody, later)).toBe(1);
    await expectNothing(key);
  });

  it.each(["partNumber=1&", "uploadId="])("F18: another ETag (%s) is no file", async (where) => {
    const key = newKey();
    proxy.decide = ({ url, method }) =>
      url!.includes(where) && (method === "PUT") === (where !== "uploadId=") ? "other-etag" : "pass";
    await expect(store.write(key, large())).rejects.toThrow(/ETag/);
    proxy.decide = () => "pass";
    await expectNothing(key);
  });

  it("F18: another ETag of a small file is no file", async () => {
    const key = newKey();
    proxy.decide = ({ method }) => (method === "PUT" ? "other-etag" : "pass");
    await expect(store.write(key, Readable.from([piece]))).rejects.toThrow(/ETag/);
    await expectNothing(key);
  });

  it("F18: a completion whose answer is lost is found to be complete", async () => {
    const key = newKey();
    let lost = 0;
    proxy.decide = ({ method, url }) =>
      method === "POST" && url!.includes("uploadId=") && lost++ === 0 ? "lose-answer" : "pass";
    expect(await store.write(key, large())).toEqual(measure);
    expect(await store.size(key)).toBe(measure.bytes);
    await store.remove(key);
  });

  it("F18: a cancel in the middle of parts that hang leaves nothing, within two seconds", async () => {
    const key = newKey();
    const cancel = new AbortController();
    proxy.decide = ({ url }) => (url!.includes("partNumber=") ? "hang" : "pass");
    const writing = store.write(key, large(), cancel.signal);
    writing.catch(() => {});
    await vi.waitFor(() => expect(proxy.seen.some((call) => call.includes("partNumber=1"))).toBe(true));
    const started = performance.now();
    cancel.abort(new Error("cancelled by the user"));
    await expect(writing).rejects.toThrow("cancelled by the user");
    expect(performance.now() - started).toBeLessThan(2_000);
    await expectNothing(key);
  });

  it("F13: a connection that goes dead ends every call in its time, and the next one goes through", async () => {
    const key = newKey();
    await behindHole.write(key, large());
    const longest = callMs(limits, 0);
    const dead: [string, () => Promise<unknown>][] = [
      ["size", () => behindHole.size(key)],
      ["open", () => behindHole.open(key)],
      ["remove", () => behindHole.remove(key)],
      ["sweep", () => behindHole.sweep("", nobody, new Date())],
    ];
    hole.limit = 0;
    const begun = performance.now();
    await Promise.all(
      dead.map(([name, act]) =>
        expect(act(), name).rejects.toMatchObject({ code: "file_store_unavailable" }),
      ),
    );
    expect(performance.now() - begun).toBeLessThan(longest + 500);
    hole.limit = 2 * MIB;
    const started = performance.now();
    const body = await behindHole.open(key);
    await expect(buffer(body!)).rejects.toThrow("sent nothing");
    await expect(behindHole.write(newKey(), large())).rejects.toMatchObject({
      code: "file_store_unavailable",
    });
    expect(performance.now() - started).toBeLessThan(callMs(limits, PART) * 2 + limits.cleanupMs + 1_000);
    hole.limit = Number.POSITIVE_INFINITY;
    expect(await behindHole.size(key)).toBe(measure.bytes);
    await behindHole.remove(key);
    await store.sweep("", nobody, new Date(Date.now() + 3_600_000));
    await expectNothing(key);
  });

  it("F13: who reads slowly is not taken for a dead connection", async () => {
    const key = newKey();
    await store.write(key, large());
    const body = (await store.open(key))!;
    let read = 0;
    for await (const chunk of body) {
      if (read === 0) await new Promise((resolve) => setTimeout(resolve, limits.silenceMs * 3));
      read += (chunk as Buffer).length;
    }
    expect(read).toBe(measure.bytes);
    await store.remove(key);
  });
});

describe("parts", () => {
  it("are small, and ten thousand of them hold the largest object", () => {
    let total = 0;
    for (let number = 1; number <= 10_000; number++) total += partBytes(number);
    expect(total).toBeGreaterThanOrEqual(5 * 2 ** 40);
    expect(partBytes(1_000)).toBe(8 * MIB);
    expect(partBytes(10_000)).toBeLessThan(1.3 * 2 ** 30);
  });
});
