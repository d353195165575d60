import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startWorkers, type Workers } from "../../src/workers/start-workers.js";
import { call, type Reply, startTestApp, type TestApp } from "../support/app.js";
import { sendRaw } from "../support/raw-request.js";
import { makeZip } from "../support/zip.js";

const MAX_BYTES = 100_000;
let app: TestApp;
let workers: Workers;
let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "imports-test-"));
  app = await startTestApp({ env: { DATA_DIR: dataDir } });
  for (const account_id of ["shop", "other"])
    await send("POST", "/analytics/accounts", { body: { account_id } });
  workers = await startWorkers(app.context);
});
afterAll(async () => {
  await workers.drain(2_000);
  await app.close();
  await rm(dataDir, { recursive: true, force: true });
});

const send = (method: string, path: string, options: Parameters<typeof call>[3] = {}) =>
  call(app.url, method, path, { key: app.adminKey, ...options });
const upload = (
  query: Record<string, string>,
  raw: string | Buffer,
  options: Parameters<typeof call>[3] = {},
) =>
  send("POST", `/analytics/imports?${new URLSearchParams({ account_id: "shop", ...query })}`, {
    raw,
    ...options,
  });

async function finished(accepted: Reply) {
  expect(accepted.status, accepted.text).toBe(202);
  return vi.waitFor(
    async () => {
      const { json } = await send("GET", accepted.headers.get("location")!);
      expect(json.status).not.toMatch(/queued|running/);
      return json;
    },
    { timeout: 20_000 },
  );
}
const stored = async () => (await readdir(join(dataDir, "artifacts"), { recursive: true })).sort();
const events = "type,message_id,occurred_at\nmessage.sent,a,2026-03-01T09:00:00Z\nmessage.sent,b,soon\n";

describe("asking for an import", () => {
  it("is accepted once the file is stored, and ends in a report of what was refused", async () => {
    const accepted = await upload({ format: "events" }, events);
    expect(accepted.json).toMatchObject({
      kind: "import",
      account_id: "shop",
      params: { account_id: "shop", format: "events" },
      upload: { bytes: events.length, sha256: createHash("sha256").update(events).digest("hex") },
      progress: { total_bytes: events.length },
    });
    expect(JSON.stringify(accepted.json)).not.toContain('"key"');
    expect(accepted.headers.get("location")).toBe(`/analytics/imports/${accepted.json.id}`);
    const done = await finished(accepted);
    expect(done).toMatchObject({
      status: "succeeded",
      result: { rows: 2, accepted: 1, duplicates: 0, rejected: 1, skipped: 0 },
      progress: { rows: 2, fraction: 1, bytes: events.length },
    });
    const report = await send("GET", done.links.download);
    expect(report.text.split("\r\n")[1]).toMatch(/^3,occurred_at,invalid_time,/);
    const list = await send("GET", "/analytics/imports?account_id=shop&status=succeeded");
    expect(list.json.data.map((run: { id: string }) => run.id)).toContain(done.id);
    expect((await send("POST", `${done.links.self}/cancel`)).json.status).toBe("succeeded");
    const range = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z&interval=all";
    await vi.waitFor(
      async () => {
        const { json } = await send(
          "GET",
          `/analytics/metrics?account_id=shop&metrics=messages_sent&${range}`,
        );
        expect(json.totals).toEqual([{ messages_sent: 1 }]);
      },
      { timeout: 10_000 },
    );
  });

  it("takes gzip, mapped headers, and a chat in a zip", async () => {
    const mapped = {
      format: "messages",
      "map[message_id]": "id",
      "map[sent_at]": "when",
      time_zone: "Europe/Berlin",
    };
    const packed = gzipSync("id;when\nz1;2026-03-01 10:00\n");
    const done = await finished(await upload(mapped, packed, { headers: { "content-encoding": "gzip" } }));
    expect(done).toMatchObject({
      params: { map: { message_id: "id", sent_at: "when" } },
      result: { accepted: 1, rejected: 0 },
    });
    const chat = "[13.03.2025, 10:00:00] Shop: hi\n[14.03.2025, 10:00:00] Ann: hello\n";
    const zip = makeZip([{ name: "_chat.txt", data: Buffer.from(chat) }]);
    const query = { format: "chat", me: "Shop", time_zone: "Europe/Berlin", date_order: "dmy" };
    expect((await finished(await upload(query, zip))).result).toMatchObject({ accepted: 2, rejected: 0 });
    expect((await finished(await upload(query, chat))).result).toMatchObject({ accepted: 0, duplicates: 2 });
  });

  it("names every mistake in its parameters", async () => {
    const refused = async (query: Record<string, string>) => {
      const reply = await upload(query, events);
      expect(reply.status).toBe(400);
      return reply.json.errors.map((issue: { path: string; code: string }) => `${issue.path} ${issue.code}`);
    };
    expect(await refused({ format: "chat" })).toEqual(["time_zone required", "me required"]);
    expect(await refused({ format: "events", me: "x" })).toEqual(["me other_format"]);
    expect(await refused({ format: "events", colour: "red" })).toEqual(["colour unknown_parameter"]);
    expect(await refused({ format: "events", __proto__x: "1", ["__proto__"]: "1" })).toHaveLength(2);
    expect(await refused({ format: "messages", "map[type]": "x" })).toEqual(["map.type other_format"]);
    expect(await refused({ format: "events", time_zone: "Mars/Base" })).toEqual([
      "time_zone unknown_time_zone",
    ]);
    expect(await refused({ format: "events", formula_guard: "maybe" })).toEqual([
      "formula_guard invalid_type",
    ]);
    expect((await upload({ format: "events", account_id: "nobody" }, events)).status).toBe(404);
  });

  it("has one effect under one idempotency key, whose copies of the file are removed", async () => {
    const headers = { "idempotency-key": "import-1" };
    const first = await upload({ format: "events" }, events, { headers });
    await finished(first);
    // Its own copy goes when the import has ended.
    await expect.poll(stored).not.toContain(`${first.json.id}/0`);
    const before = await stored();
    const again = await upload({ format: "events" }, events, { headers });
    expect([again.status, again.json.id]).toEqual([202, first.json.id]);
    expect(again.headers.get("idempotent-replayed")).toBe("true");
    expect((await upload({ format: "events" }, `${events}\n`, { headers })).status).toBe(409);
    expect(await stored()).toEqual(before);
  });
});

describe("a file that is not taken", () => {
  it("leaves nothing behind: too large, empty, broken off, or no gzip", async () => {
    await using small = await startTestApp({
      databaseUrl: app.databaseUrl,
      env: { DATA_DIR: dataDir, API_KEY: app.adminKey, CONFIG_DIR: await configFolder() },
    });
    const before = await stored();
    const path = "/analytics/imports?account_id=shop&format=events";
    const post = (raw: Buffer, headers: Record<string, string> = {}) =>
      call(small.url, "POST", path, { key: app.adminKey, raw, headers });
    const bomb = gzipSync(Buffer.alloc(MAX_BYTES * 20));
    for (const reply of [
      await post(Buffer.alloc(MAX_BYTES + 1)),
      await post(bomb, { "content-encoding": "gzip" }),
    ]) {
      expect([reply.status, reply.json.code]).toEqual([413, "body_too_large"]);
      expect(reply.json.detail).toContain(`${MAX_BYTES} bytes (import_max_bytes)`);
    }
    expect((await post(Buffer.alloc(0))).json.code).toBe("empty_body");
    expect((await post(Buffer.from("x"), { "content-encoding": "gzip" })).json.code).toBe("invalid_encoding");
    const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${app.adminKey}\r\ncontent-length: 5000\r\n\r\n`;
    await sendRaw(small.url, [head, "type,"], true);
    await vi.waitFor(async () => expect(await stored()).toEqual(before));
  });
});

async function configFolder(): Promise<string> {
  const folder = join(dataDir, "config");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "performance.yaml"), `import_max_bytes: ${MAX_BYTES}\n`);
  return folder;
}

describe("imports", () => {
  it("are for keys that may write events; analysts look at them", async () => {
    const keyOf = async (role: string, account: string) =>
      (await send("POST", "/analytics/keys", { body: { name: role, role, account_ids: [account] } })).json
        .key;
    const ingest = await keyOf("ingest", "shop");
    const accepted = await upload({ format: "events" }, events, { key: ingest });
    const { id } = await finished(accepted);
    const look = async (key: string) => (await send("GET", `/analytics/imports/${id}`, { key })).status;
    const ask = async (key: string) => (await upload({ format: "events" }, events, { key })).status;
    const analyst = await keyOf("analyst", "shop");
    expect([await look(ingest), await look(analyst), await ask(analyst)]).toEqual([200, 200, 403]);
    const stranger = await keyOf("ingest", "other");
    expect([await look(stranger), await ask(stranger)]).toEqual([404, 404]);
    expect((await send("GET", `/analytics/imports/${id}/download`, { key: stranger })).status).toBe(404);
  });

  it("that failed are retried while their file is there", async () => {
    const failed = await finished(await upload({ format: "events" }, "a,b\n"));
    expect(failed).toMatchObject({ status: "failed", error: { code: "missing_columns" } });
    expect((await send("POST", failed.links.retry)).status).toBe(202);
    await vi.waitFor(async () => expect((await send("GET", failed.links.self)).json.status).toBe("failed"), {
      timeout: 10_000,
    });
    await app.context.pool.query(`update runs set upload = upload || '{"removed": true}' where run_id = $1`, [
      failed.id,
    ]);
    expect((await send("POST", failed.links.retry)).json.code).toBe("upload_gone");
    expect((await send("GET", failed.links.self)).json.links.retry).toBeUndefined();
  });
});
