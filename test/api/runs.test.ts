import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { sweepFiles } from "../../src/jobs/sweep-files.js";
import { startWorkers, type Workers } from "../../src/workers/start-workers.js";
import { call, type Reply, startTestApp, type TestApp } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";

let app: TestApp;
let workers: Workers | undefined;
let dataDir: string;
let messages: number;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "runs-test-"));
  app = await startTestApp({ env: { DATA_DIR: dataDir } });
  messages = await seedMessages(app.context, "shop");
  await seedMessages(app.context, "other");
  await app.context.pool.query("update accounts set time_zone = 'Europe/Berlin' where account_id = 'shop'");
  workers = await startWorkers(app.context);
});
afterAll(async () => {
  await workers?.drain(2_000);
  await app.close();
  await rm(dataDir, { recursive: true, force: true });
});

type Body = Record<string, unknown>;
const send = (
  method: string,
  path: string,
  body?: unknown,
  more: { key?: string; headers?: Record<string, string> } = {},
) => call(app.url, method, path, { key: app.adminKey, body, ...more });
const get = (path: string, headers: Record<string, string> = {}) => send("GET", path, undefined, { headers });

const report: Body = { account_id: "shop", template: "message-log", format: "csv", ...seedRange };
const ask = (path: string, body: Body, headers: Record<string, string> = {}) =>
  send("POST", `/analytics/${path}`, body, { headers });

async function finished(accepted: Reply): Promise<Body & { links: Record<string, string> }> {
  expect(accepted.status).toBe(202);
  const location = accepted.headers.get("location")!;
  return vi.waitFor(
    async () => {
      const { json } = await get(location);
      expect(json.status).not.toMatch(/queued|running/);
      return json;
    },
    { timeout: 20_000 },
  );
}

async function keyOf(role: string, accounts: string[]): Promise<string> {
  const reply = await send("POST", "/analytics/keys", { name: role, role, account_ids: accounts });
  return reply.json.key;
}

/** A run that no worker takes: it has a row and no job. */
async function rowOnly(kind: string, status: string, more = "{}"): Promise<string> {
  const { rows } = await app.context.pool.query<{ run_id: string }>(
    `insert into runs (account_id, kind, status, params, requested_by)
     values ('shop', $1, $2, $3, 'test') returning run_id`,
    [kind, status, more],
  );
  return rows[0]!.run_id;
}

describe("asking for a report", () => {
  it("is refused while the account's files have used up its quota, and so is a retry", async () => {
    const { artifact } = (await finished(await ask("reports", report))) as { artifact?: { bytes: number } };
    const quota = (bytes: number | null) =>
      send("PATCH", "/analytics/accounts/shop", { files: { quota_bytes: bytes } });
    const { used_bytes } = (await quota(1)).json.files;
    expect(used_bytes).toBeGreaterThanOrEqual(artifact!.bytes);
    const over = { status: 409, json: { code: "quota_exceeded" } };
    const refused = await ask("reports", report, { "idempotency-key": "over-quota" });
    expect(refused).toMatchObject(over);
    expect(refused.json.detail).toContain(`take ${used_bytes} bytes, and may take 1;`);
    expect(
      await ask("exports", { ...seedRange, account_id: "shop", dataset: "messages", format: "csv" }),
    ).toMatchObject(over);
    const failed = await rowOnly("report", "failed");
    expect(await send("POST", `/analytics/reports/${failed}/retry`)).toMatchObject(over);
    await quota(null);
    const accepted = await ask("reports", report, { "idempotency-key": "over-quota" });
    await finished(accepted);
    await app.context.pool.query("delete from runs where run_id = $1", [failed]);
  });

  it("is accepted at once, shows how far it is, and ends in a file", async () => {
    const accepted = await ask("reports", report);
    expect(accepted.status).toBe(202);
    const { id } = accepted.json;
    expect(accepted.headers.get("location")).toBe(`/analytics/reports/${id}`);
    expect(accepted.json).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      kind: "report",
      account_id: "shop",
      schedule_id: null,
      status: "queued",
      priority: "interactive",
      params: { ...report, time_zone: "Europe/Berlin" },
      attempt: 0,
      max_attempts: 5,
      progress: { rows: 0, total_rows: null, bytes: 0, fraction: null, eta_seconds: null, queue_position: 1 },
      artifact: null,
      result: null,
      error: null,
      cancel_requested_at: null,
      created_at: expect.stringMatching(/Z$/),
      started_at: null,
      finished_at: null,
      links: { self: `/analytics/reports/${id}`, cancel: `/analytics/reports/${id}/cancel` },
    });
    const done = await finished(accepted);
    expect(done).toMatchObject({
      status: "succeeded",
      attempt: 1,
      progress: {
        rows: messages,
        total_rows: messages,
        fraction: 1,
        eta_seconds: null,
        queue_position: null,
      },
      artifact: { rows: messages, content_type: "text/csv; charset=utf-8" },
      links: { download: `/analytics/reports/${id}/download` },
    });
    expect(Object.keys(done.artifact as Body)).not.toContain("key");
  });

  it("names every mistake", async () => {
    const refused = async (path: string, body: Body) => {
      const reply = await ask(path, body);
      expect(reply.status).toBe(400);
      return reply.json.errors.map((issue: Body) => issue.path);
    };
    expect(await refused("reports", { ...report, formt: "csv" })).toEqual(["formt"]);
    expect(await refused("reports", { ...report, template: "No name", format: "pdf" })).toEqual([
      "template",
      "format",
    ]);
    expect(await refused("reports", { ...report, to: report.from })).toEqual(["to"]);
    for (const [format, options, path] of [
      ["csv", { csv: { delimiter: "x" } }, "csv.delimiter"],
      ["csv", { csv: { quote: "'" } }, "csv.quote"],
      ["csv", { csv: { null: "=1" } }, "csv.null"],
      ["csv", { json: { pretty: true } }, "json"],
      ["json", { csv: {} }, "csv"],
      ["json", { json: { indent: 2 } }, "json.indent"],
    ] as const)
      expect(await refused("reports", { ...report, format, ...options })).toEqual([path]);
    expect(
      await refused("exports", {
        ...{ account_id: "shop", dataset: "messages", format: "ndjson", from: report.from, to: report.to },
        csv: { bom: true },
      }),
    ).toEqual(["csv"]);
    // PostgreSQL can store neither.
    expect(await refused("reports", { ...report, account_id: "shop\0" })).toEqual(["account_id"]);
    for (const value of ["x\0", "x\ud800"])
      expect(await refused("reports", { ...report, filters: { template: [value] } })).toEqual([
        "filters.template[0]",
      ]);
    expect(
      await refused("exports", {
        account_id: "shop",
        dataset: "events",
        format: "pdf",
        compression: "zip",
        ...seedRange,
      }),
    ).toEqual(["format", "compression"]);
    // What else may be wrong depends on the dataset.
    expect(await refused("exports", { account_id: "shop", dataset: "calls", format: "pdf" })).toEqual([
      "dataset",
    ]);
    expect(
      await refused("exports", {
        account_id: "shop",
        dataset: "messages",
        format: "csv",
        columns: ["status", "sms"],
        ...seedRange,
      }),
    ).toEqual(["columns[1]"]);
    expect(await refused("aggregations", { account_id: "shop", action: "forget" })).toEqual(["action"]);
    expect((await ask("reports", { ...report, account_id: "nobody" })).status).toBe(404);
  });

  it("has one effect under one idempotency key", async () => {
    const headers = { "idempotency-key": "report-1" };
    const first = await ask("reports", report, headers);
    const second = await ask("reports", report, headers);
    expect([second.status, second.json.id]).toEqual([202, first.json.id]);
    expect(second.headers.get("location")).toBe(first.headers.get("location"));
    expect(second.headers.get("idempotent-replayed")).toBe("true");
    expect((await ask("reports", { ...report, format: "json" }, headers)).status).toBe(409);
    await finished(first);
  });
});

describe("a download", () => {
  let link: string;
  let file: Buffer;
  let sha256: string;
  const download = async (headers: Record<string, string> = {}, method = "GET") => {
    const response = await fetch(app.url + link, {
      method,
      headers: { authorization: `Bearer ${app.adminKey}`, ...headers },
    });
    return {
      status: response.status,
      headers: response.headers,
      bytes: Buffer.from(await response.arrayBuffer()),
    };
  };
  beforeAll(async () => {
    const done = await finished(await ask("reports", report));
    link = done.links.download!;
    sha256 = (done.artifact as { sha256: string }).sha256;
    file = (await download()).bytes;
  });

  it("is the whole file with its name, type and digest", async () => {
    const { status, headers, bytes } = await download();
    expect(status).toBe(200);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(sha256);
    expect(Object.fromEntries(headers)).toMatchObject({
      "content-type": "text/csv; charset=utf-8",
      "content-length": String(file.length),
      "content-disposition": 'attachment; filename="message-log-2025-03-01-2025-03-04.csv"',
      "repr-digest": `sha-256=:${createHash("sha256").update(bytes).digest("base64")}:`,
      etag: `"${sha256}"`,
      "accept-ranges": "bytes",
    });
  });

  it("can be of one range", async () => {
    const part = await download({ range: "bytes=10-19" });
    expect([part.status, part.bytes]).toEqual([206, file.subarray(10, 20)]);
    expect(part.headers.get("content-range")).toBe(`bytes 10-19/${file.length}`);
    expect(part.headers.get("content-length")).toBe("10");
    expect((await download({ range: "bytes=-5" })).bytes).toEqual(file.subarray(-5));
    expect((await download({ range: "bytes=100-" })).bytes).toEqual(file.subarray(100));
    expect((await download({ range: `bytes=0-${file.length * 2}` })).bytes).toEqual(file);
    for (const range of ["bytes=0-1,5-6", "rows=1-2", "bytes=9-3", "bytes=-"])
      expect([range, (await download({ range })).status]).toEqual([range, 200]);
    const outside = await download({ range: `bytes=${file.length}-` });
    expect([outside.status, outside.headers.get("content-range")]).toEqual([416, `bytes */${file.length}`]);
    expect(outside.headers.get("content-type")).toContain("application/problem+json");
    expect((await download({ range: "bytes=-0" })).status).toBe(416);
  });

  it("goes on only with the file it began with", async () => {
    const range = "bytes=10-19";
    expect((await download({ range, "if-range": `"${sha256}"` })).status).toBe(206);
    expect((await download({ range, "if-range": '"other"' })).status).toBe(200);
  });

  it("is not sent to who has it, nor to HEAD", async () => {
    const known = await download({ "if-none-match": `"x", W/"${sha256}"` });
    expect([known.status, known.bytes.length, known.headers.get("etag")]).toEqual([304, 0, `"${sha256}"`]);
    expect((await download({ "if-none-match": '"x"' })).status).toBe(200);
    const head = await download({}, "HEAD");
    expect([head.status, head.bytes.length]).toEqual([200, 0]);
    expect(head.headers.get("content-length")).toBe(String(file.length));
  });

  it("is refused before there is a file, and after it is gone", async () => {
    const queued = await rowOnly("report", "queued");
    const early = await get(`/analytics/reports/${queued}/download`);
    expect([early.status, early.json.code]).toEqual([409, "not_ready"]);
    const done = await finished(await ask("reports", report));
    const expire = `update runs set artifact = artifact || '{"expires_at": "2025-01-01T00:00:00.000Z"}' where run_id = $1`;
    await app.context.pool.query(expire, [done.id]);
    const expired = await get(done.links.download!);
    expect([expired.status, expired.json.code]).toEqual([410, "artifact_expired"]);
    await app.context.queues.enqueue(sweepFiles, {});
    await expect.poll(async () => (await get(done.links.self!)).json.links.download).toBeUndefined();
    expect((await get(done.links.download!)).status).toBe(410);
  });
});

describe("a run", () => {
  it("of another account, another kind or no id at all is not there", async () => {
    const id = await rowOnly("report", "queued");
    const stranger = await keyOf("analyst", ["other"]);
    for (const path of ["", "/cancel", "/retry", "/download"]) {
      const method = path === "/cancel" || path === "/retry" ? "POST" : "GET";
      const foreign = await send(method, `/analytics/reports/${id}${path}`, undefined, { key: stranger });
      expect([path, foreign.status, foreign.json.code]).toEqual([path, 404, "not_found"]);
    }
    expect((await get(`/analytics/exports/${id}`)).status).toBe(404);
    for (const malformed of ["1", "%00", `${id}x`, "null"])
      expect([malformed, (await get(`/analytics/reports/${malformed}`)).status]).toEqual([malformed, 404]);
    expect(
      (await send("GET", "/analytics/reports?account_id=shop", undefined, { key: stranger })).status,
    ).toBe(404);
    expect((await send("POST", "/analytics/reports", report, { key: stranger })).status).toBe(404);
    expect(
      (await send("POST", "/analytics/reports", report, { key: await keyOf("viewer", ["shop"]) })).status,
    ).toBe(403);
    expect((await get(`/analytics/reports/${id}`)).json.status).toBe("queued");
  });

  it("is cancelled while it waits, and again without effect", async () => {
    const id = await rowOnly("report", "queued");
    const cancelled = await send("POST", `/analytics/reports/${id}/cancel`);
    expect(cancelled).toMatchObject({ status: 200, json: { status: "cancelled" } });
    expect(cancelled.json.finished_at).toBe(cancelled.json.cancel_requested_at);
    expect((await send("POST", `/analytics/reports/${id}/cancel`)).json).toEqual(cancelled.json);
  });

  it("that ended badly can be retried, and then does its work", async () => {
    const id = await rowOnly("report", "cancelled", JSON.stringify(report));
    const again = await send("POST", `/analytics/reports/${id}/retry`);
    expect(again).toMatchObject({ status: 202, json: { id, status: "queued", attempt: 0, error: null } });
    await expect
      .poll(async () => (await get(`/analytics/reports/${id}`)).json.status, { timeout: 20_000 })
      .toBe("succeeded");
    const refused = await send("POST", `/analytics/reports/${id}/retry`);
    expect([refused.status, refused.json.code]).toEqual([409, "run_not_ended_badly"]);
  });

  it("with parameters that its job refuses fails and says so", async () => {
    const id = await rowOnly("export", "failed", "{}");
    await send("POST", `/analytics/exports/${id}/retry`);
    await expect
      .poll(async () => (await get(`/analytics/exports/${id}`)).json, { timeout: 20_000 })
      .toMatchObject({
        status: "failed",
        attempt: 1,
        error: { code: "invalid_request", message: expect.stringMatching(/^dataset: /) },
      });
  });

  it("is listed, newest first, page by page, by status", async () => {
    await app.context.pool.query("insert into accounts (account_id) values ('list')");
    const ids: string[] = [];
    // All within a few milliseconds: the cursor must tell them apart.
    await Promise.all(
      Array.from({ length: 9 }, async () => {
        const reply = await ask("aggregations", { account_id: "list", action: "verify" });
        ids.push(reply.json.id);
      }),
    );
    // Nor may a time be finer than the cursor, or runs of the cursor's millisecond are never listed.
    const { rows } = await app.context.pool.query(
      "select from runs where account_id = 'list' and date_trunc('milliseconds', created_at) <> created_at",
    );
    expect(rows).toEqual([]);
    const page = (query: string) => get(`/analytics/aggregations?account_id=list&${query}`);
    const listed: Body[] = [];
    let cursor = "";
    do {
      const { json } = await page(`limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      expect(json.data.length).toBeLessThanOrEqual(2);
      listed.push(...json.data);
      cursor = json.next_cursor ?? "";
    } while (cursor);
    expect(listed.map((run) => run.id).sort()).toEqual(ids.sort());
    const times = listed.map((run) => run.created_at as string);
    expect(times).toEqual([...times].sort().reverse());
    await expect
      .poll(async () => (await page("status=succeeded&limit=100")).json.data.length, { timeout: 20_000 })
      .toBe(9);
    expect((await page("status=failed")).json.data).toEqual([]);
    expect((await page("status=lost")).status).toBe(400);
    expect((await page("cursor=x")).status).toBe(400);
  });
});

describe("exports and aggregations", () => {
  it("are runs too", async () => {
    const columns = ["message_id", "status"];
    const body = { account_id: "shop", dataset: "messages", format: "ndjson", columns, ...seedRange };
    const done = await finished(await ask("exports", body));
    expect(done).toMatchObject({
      kind: "export",
      status: "succeeded",
      params: body,
      artifact: { rows: messages },
    });
    const file = await get(done.links.download!);
    expect(file.headers.get("content-type")).toBe("application/x-ndjson");
    expect(file.text.trimEnd().split("\n")).toContain('{"message_id":"m0","status":"read"}');

    const verified = await finished(await ask("aggregations", { account_id: "shop", action: "verify" }));
    expect(verified).toMatchObject({
      kind: "aggregation",
      status: "succeeded",
      artifact: null,
      result: { messages, drifted_rows: 0, drifted_conversations: 0, repaired_rows: 0 },
    });
    expect((await get(`${verified.links.self}/download`)).status).toBe(404);
  });
});
