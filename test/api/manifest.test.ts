import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { buildExport } from "../../src/jobs/build-export.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { compile } from "../support/compile.js";
import { openWork, seedMessages, seedRange, type TestWork, testSettings } from "../support/work.js";

let app: TestApp;
let test: TestWork;
let folder: string;
let messages: number;
beforeAll(async () => {
  app = await startTestApp();
  folder = await mkdtemp(join(tmpdir(), "manifest-test-"));
  const { db, pool, databaseUrl: url, config } = app.context;
  const artifactRoot = join(config.dataDir, "artifacts");
  test = await openWork({ test: { db, pool, url, close: async () => {} }, artifactRoot });
  messages = await seedMessages(app.context, "shop");
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await app.close();
});

const get = (path: string) => call(app.url, "GET", path, { key: app.adminKey });

async function exported(): Promise<string> {
  const key = await test.insertRun("export", "shop", {
    ...{ dataset: "messages", format: "json", columns: ["message_id", "contact_id"], ...seedRange },
  });
  const before = await get(`/analytics/exports/${key.runId}/manifest`);
  expect([before.status, before.json.code]).toEqual([409, "not_ready"]);
  await test.work(buildExport, key, { settings: { ...testSettings, exportPartRows: 5 } });
  return `/analytics/exports/${key.runId}`;
}

it("a file in parts has a manifest, by which each part can be checked and fetched again", async () => {
  const path = await exported();
  const { json: run } = await get(path);
  expect(run.links.manifest).toBe(`${path}/manifest`);
  const { json: manifest } = await get(run.links.manifest);
  const { text } = await get(run.links.download);
  expect(JSON.parse(text)).toHaveLength(messages);
  expect(manifest).toMatchObject({
    ...{ manifest: 1, kind: "export", account_id: "shop", rows: messages, bytes: Buffer.byteLength(text) },
    ...{ truncated: false, consistency: "snapshot", sha256: run.artifact.sha256 },
    columns: [
      { name: "message_id", type: "text" },
      { name: "contact_id", type: "text" },
    ],
    params: { dataset: "messages", from: seedRange.from },
  });
  expect(manifest.parts.length).toBe(Math.ceil(messages / 5));
  for (const { offset, bytes, sha256 } of manifest.parts) {
    const response = await fetch(`${app.url}${path}/download`, {
      headers: { authorization: `Bearer ${app.adminKey}`, range: `bytes=${offset}-${offset + bytes - 1}` },
    });
    expect(response.status).toBe(206);
    const part = Buffer.from(await response.arrayBuffer());
    expect(createHash("sha256").update(part).digest("hex")).toBe(sha256);
  }
});

async function reported(template: string): Promise<string> {
  const key = await test.insertRun("report", "shop", { template, format: "ndjson", ...seedRange });
  await test.work(buildReport, key, { settings: { ...testSettings, exportPartRows: 5 } });
  return `/analytics/reports/${key.runId}`;
}

it("a list of messages has one as an export has, in which the parts are", async () => {
  const path = await reported("message-log");
  const { json: manifest } = await get(`${path}/manifest`);
  const { text } = await get(`${path}/download`);
  expect(manifest).toMatchObject({
    ...{ kind: "report", rows: messages, bytes: Buffer.byteLength(text), consistency: "snapshot" },
    params: { template: "message-log" },
  });
  expect(Date.parse(manifest.as_of)).toBeGreaterThan(Date.parse(manifest.requested_at));
  expect(manifest.columns[1]).toEqual({ name: "message_id", type: "text" });
  expect(manifest.parts).toHaveLength(Math.ceil(messages / 5));
  for (const { offset, bytes, sha256 } of manifest.parts)
    expect(
      createHash("sha256")
        .update(Buffer.from(text).subarray(offset, offset + bytes))
        .digest("hex"),
    ).toBe(sha256);
});

it("a report of numbers has one of one part, by which it can be checked, and nothing about columns", async () => {
  const path = await reported("delivery-summary");
  const { json: manifest } = await get(`${path}/manifest`);
  const { rows, bytes, sha256 } = (await get(path)).json.artifact;
  expect(manifest).toMatchObject({
    ...{ kind: "report", rows, bytes, sha256, as_of: null, consistency: null, columns: null },
    parts: [{ offset: 0, bytes, rows, sha256 }],
  });
});

it("the command says whether a downloaded file is the one of its manifest, and what to fetch again", async () => {
  const { dist, remove } = await compile(["cli/verify-file.ts"]);
  onTestFinished(remove);
  const path = await exported();
  const manifest = join(folder, "manifest.json");
  const file = join(folder, "messages.json");
  await writeFile(manifest, (await get(`${path}/manifest`)).text);
  const { text } = await get(`${path}/download`);
  const verify = (...paths: string[]) =>
    new Promise<{ code: number; said: string }>((resolve) => {
      execFile(process.execPath, [join(dist, "cli/verify-file.js"), ...paths], (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), said: stdout + stderr }),
      );
    });
  await writeFile(file, text);
  expect(await verify(manifest, file)).toEqual({ code: 0, said: expect.stringContaining("as it should be") });
  const { json } = await get(`${path}/manifest`);
  const { offset, bytes } = json.parts[1];
  const broken = Buffer.from(text);
  broken[offset]! ^= 1;
  await writeFile(file, broken);
  const found = await verify(manifest, file);
  expect(found.code).toBe(1);
  expect(found.said).toContain(
    `Part 1 is broken: fetch it again with the header "Range: bytes=${offset}-${offset + bytes - 1}"`,
  );
  expect(found.said).not.toContain("Part 0");
  expect((await verify(manifest)).code).toBe(2);
  expect((await verify(file, manifest)).said).toContain("is no manifest");
});
