import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readParts, reopenParts } from "../../src/db/queries/export-parts.js";
import type { RunKey } from "../../src/db/queries/runs.js";
import type { ArtifactStore } from "../../src/exports/artifacts/artifact-store.js";
import { encryptedStore } from "../../src/exports/artifacts/encrypted.js";
import { createKeyRing } from "../../src/exports/artifacts/key-ring.js";
import { openSegments } from "../../src/exports/artifacts/segments.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { openWork, seedMessages, seedRange, type TestWork, testSettings } from "../support/work.js";

const settings = { ...testSettings, exportPartRows: 2, exportParallelism: 1 };
let test: TestWork;
beforeAll(async () => {
  test = await openWork();
  await seedMessages(test, "shop");
});
afterAll(() => test.close());

const order = (params: Record<string, unknown>) =>
  test.insertRun("export", "shop", { dataset: "messages", ...seedRange, ...params });

/** Builds with a store whose files are opened by `open`; the names of those that were, in their order. */
async function build(key: RunKey, open: (file: string, count: number) => ReturnType<ArtifactStore["open"]>) {
  const opened: string[] = [];
  const artifacts = {
    ...test.artifacts,
    open(file: string) {
      opened.push(file);
      return open(file, opened.length);
    },
  };
  await test.work(buildExport, key, { settings, artifacts });
  return opened;
}

async function expectWhole(key: RunKey): Promise<void> {
  const file = await test.file(key);
  const sha256 = createHash("sha256").update(file).digest("hex");
  expect((await test.run(key)).artifact).toMatchObject({ bytes: file.length, sha256 });
}

it.each([
  { format: "csv", csv: { bom: true } },
  { format: "json" },
  { format: "ndjson", compression: "gzip" },
  { format: "parquet" },
  { format: "xlsx" },
])("every part is read once, the first while others are yet to be built: %j", async (params) => {
  const key = await order(params);
  const built: number[] = [];
  const opened = await build(key, async (file) => {
    built.push((await readParts(test.db, key)).filter((part) => part.done_at !== null).length);
    return test.artifacts.open(file);
  });
  const { artifact } = await test.run(key);
  expect(opened).toHaveLength(artifact!.content!.parts.length);
  expect(new Set(opened).size).toBe(opened.length);
  expect(built).toEqual(opened.map((_, index) => index + 1));
  await expectWhole(key);
});

it("a part that is built again after it was read is read again", async () => {
  const key = await order({ format: "csv" });
  const opened = await build(key, async (file, count) => {
    if (count === 2) await reopenParts(test.db, key, [(await readParts(test.db, key))[0]!.key!]);
    return test.artifacts.open(file);
  });
  const parts = (await test.run(key)).artifact!.content!.parts.length;
  expect(opened.length).toBeGreaterThan(parts);
  await expectWhole(key);
});

it("a part that is bad when it is read ahead is built again at once", async () => {
  const key = await order({ format: "csv" });
  const opened = await build(key, async (file, count) =>
    count === 1 ? Readable.from([Buffer.from("bad")]) : test.artifacts.open(file),
  );
  expect((await test.run(key)).artifact!.segments).not.toContainEqual(
    expect.objectContaining({ key: opened[0] }),
  );
  await expectWhole(key);
});

it("a part that cannot be decrypted is built again, too", async () => {
  const ring = createKeyRing([{ id: "one", key: randomBytes(32).toString("base64") }]);
  const artifacts = encryptedStore(test.artifacts, ring);
  const key = await order({ format: "csv" });
  let damaged: string | undefined;
  const open: ArtifactStore["open"] = async (file) => {
    if (damaged === undefined) {
      damaged = file;
      await writeFile(join(test.artifactRoot, file), randomBytes(500));
    }
    return artifacts.open(file);
  };
  await test.work(buildExport, key, { settings, artifacts: { ...artifacts, open } });
  const { segments, sha256 } = (await test.run(key)).artifact!;
  expect(segments).not.toContainEqual(expect.objectContaining({ key: damaged }));
  const file = await buffer((await openSegments(artifacts, segments))!);
  expect(createHash("sha256").update(file).digest("hex")).toBe(sha256);
});

it("a store that changes what it is given ends the attempt, and the parts are to be built again", async () => {
  const key = await order({ format: "csv" });
  const bad = async () => Readable.from([Buffer.from("bad")]);
  await expect(build(key, bad)).rejects.toThrow("not what was stored");
  for (const part of await readParts(test.db, key)) expect(part.done_at).toBeNull();
});
