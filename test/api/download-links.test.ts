import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import winston from "winston";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { createDownloadLink, deleteEndedLinks } from "../../src/db/queries/download-links.js";
import { insertRun } from "../../src/db/queries/runs.js";
import { downloadUrl } from "../../src/exports/artifacts/download-url.js";
import { startWorkers } from "../../src/workers/start-workers.js";
import { call, type Reply, startTestApp, type TestApp } from "../support/app.js";
import { hasSwift, startS3, type TestS3 } from "../support/s3.js";
import { seedMessages, seedRange } from "../support/work.js";

const HOUR = 3_600_000;
const CONTENT = "0123456789";

let app: TestApp;
let dataDir: string;
let now = new Date();
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "links-test-"));
  app = await startTestApp({ env: { DATA_DIR: dataDir }, now: () => now });
  await ensureAccounts(app.context.db, ["shop", "other"]);
});
afterAll(async () => {
  await app.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function queuedRun({ context }: TestApp = app): Promise<string> {
  const run = await insertRun(context.db, {
    accountId: "shop",
    kind: "report",
    priority: "interactive",
    params: {},
    requestedBy: "test",
    maxWaiting: 1_000,
  });
  return run!.run_id;
}

/** A report that is done, with its file. */
async function finishedRun(of: TestApp = app, content: string = CONTENT): Promise<string> {
  const { context } = of;
  const runId = await queuedRun(of);
  const key = context.artifacts.newKey(`${runId}/1`);
  const measure = await context.artifacts.write(key, Readable.from([Buffer.from(content)]));
  const artifact = {
    segments: [{ key, bytes: measure.bytes }],
    file_name: "a.csv",
    content_type: "text/csv; charset=utf-8",
    rows: 1,
    ...measure,
    expires_at: new Date(Date.now() + 48 * HOUR).toISOString(),
  };
  await context.pool.query(`update runs set status = 'succeeded', artifact = $1 where run_id = $2`, [
    artifact,
    runId,
  ]);
  return runId;
}

const pathOf = (runId: string) => `/analytics/reports/${runId}/links`;
const ask = (runId: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Reply> =>
  call(app.url, "POST", pathOf(runId), { key: app.adminKey, body, headers });
const linksOf = async (runId: string) =>
  (await call(app.url, "GET", pathOf(runId), { key: app.adminKey })).json.data;
/** Once there are so many: a use is written down when its answer has ended. */
const usesOf = (runId: string, linkId: string, count: number) =>
  vi.waitFor(async () => {
    const path = `${pathOf(runId)}/${linkId}/uses`;
    const { data } = (await call(app.url, "GET", path, { key: app.adminKey })).json;
    expect(data).toHaveLength(count);
    return data;
  });
const outcomesOf = async (...of: Parameters<typeof usesOf>): Promise<string[]> =>
  (await usesOf(...of)).map((use: { outcome: string }) => use.outcome).sort();
/** Follows a link without a key. */
const follow = (url: string, method = "GET", headers: Record<string, string> = {}): Promise<Reply> =>
  call(new URL(url).origin, method, new URL(url).pathname, { headers });
const keyOf = async (role: string, account: string): Promise<string> =>
  (
    await call(app.url, "POST", "/analytics/keys", {
      key: app.adminKey,
      body: { name: role, role, account_ids: [account] },
    })
  ).json.key;

describe("a download link", () => {
  it("gives the file to whoever has it, and says who used it", async () => {
    const runId = await finishedRun();
    const made = await ask(runId, { expires_in_seconds: 3_600, max_downloads: 5 });
    expect(made.status).toBe(201);
    const { id, url } = made.json;
    expect(made.json).toEqual({
      id,
      url: expect.stringMatching(new RegExp(`^${app.url}/analytics/downloads/${id}\\.[A-Za-z0-9_-]{43}$`)),
      created_at: expect.any(String),
      expires_at: new Date(now.getTime() + HOUR).toISOString(),
      revoked_at: null,
      max_downloads: 5,
      downloads: 0,
      last_download_at: null,
      requested_by: "bootstrap",
    });
    const file = await follow(url, "GET", { "user-agent": "mail reader" });
    expect([file.status, file.text]).toEqual([200, CONTENT]);
    expect(file.headers.get("content-disposition")).toBe('attachment; filename="a.csv"');
    expect(file.headers.get("cache-control")).toBe("no-store");
    await usesOf(runId, id, 1);
    const part = await follow(url, "GET", { range: "bytes=4-6" });
    expect([part.status, part.text]).toEqual([206, "456"]);
    expect(await usesOf(runId, id, 2)).toEqual([
      {
        used_at: now.toISOString(),
        client_address: "127.0.0.1",
        user_agent: "mail reader",
        method: "GET",
        range: null,
        outcome: "delivered",
      },
      expect.objectContaining({ range: [4, 6], outcome: "delivered" }),
    ]);
    expect(await linksOf(runId)).toEqual([
      expect.objectContaining({ id, downloads: 1, last_download_at: now.toISOString() }),
    ]);
  });

  it("is not used up by those who look, go on in the middle or break off", async () => {
    const runId = await finishedRun(app, "x".repeat(16 * 1024 * 1024));
    const { id, url } = (await ask(runId, { max_downloads: 1 })).json;
    const head = await follow(url, "HEAD");
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "16777216"]);
    expect((await follow(url, "GET", { "if-none-match": head.headers.get("etag")! })).status).toBe(304);
    expect((await follow(url, "GET", { range: "bytes=5-9" })).status).toBe(206);
    expect((await follow(url, "GET", { range: "bytes=99999999-" })).status).toBe(416);
    await breakOff(url);
    const outcomes = ["cut", "delivered", "looked", "looked", "range_not_satisfiable"];
    expect(await outcomesOf(runId, id, 5)).toEqual(outcomes);
    expect((await linksOf(runId))[0].downloads).toBe(0);
    expect((await follow(url)).status).toBe(200);
    expect(await follow(url)).toMatchObject({ status: 410, json: { code: "link_used_up" } });
    // Whoever has got the last download may go on with it for a while.
    expect((await follow(url, "GET", { range: "bytes=5-9" })).status).toBe(206);
    const before = now;
    now = new Date(now.getTime() + 2 * HOUR);
    expect(await follow(url, "GET", { range: "bytes=5-9" })).toMatchObject({ status: 410 });
    expect(await follow(url, "HEAD")).toMatchObject({ status: 410 });
    now = before;
    expect((await linksOf(runId))[0].downloads).toBe(1);
  });

  it("gives its last download to one of many who ask at once", async () => {
    const runId = await finishedRun();
    const { url } = (await ask(runId, { max_downloads: 3 })).json;
    const replies = await Promise.all(Array.from({ length: 10 }, () => follow(url)));
    expect(replies.map(({ status }) => status).sort()).toEqual([
      ...Array(3).fill(200),
      ...Array(7).fill(410),
    ]);
  });

  it("ends when it is revoked, when its time is over, and with its file", async () => {
    const runId = await finishedRun();
    const [revoked, short, long] = await Promise.all([
      ask(runId),
      ask(runId, { expires_in_seconds: 60 }),
      ask(runId, { expires_in_seconds: 7 * 24 * 3_600 }),
    ]);
    const path = `${pathOf(runId)}/${revoked!.json.id}`;
    for (const attempt of ["first", "again"])
      expect((await call(app.url, "DELETE", path, { key: app.adminKey })).status, attempt).toBe(204);
    expect(await follow(revoked!.json.url)).toMatchObject({ status: 410, json: { code: "link_revoked" } });
    const { expires_at } = (
      await app.context.db
        .selectFrom("runs")
        .select("artifact")
        .where("run_id", "=", runId)
        .executeTakeFirstOrThrow()
    ).artifact!;
    expect(long!.json.expires_at).toBe(expires_at);
    const before = now;
    now = new Date(now.getTime() + 61_000);
    expect(await follow(short!.json.url)).toMatchObject({ status: 410, json: { code: "link_expired" } });
    expect((await follow(long!.json.url)).status).toBe(200);
    now = before;
    await app.context.pool.query(
      `update runs set artifact = artifact || '{"removed": true}' where run_id = $1`,
      [runId],
    );
    expect(await follow(long!.json.url)).toMatchObject({ status: 410, json: { code: "artifact_expired" } });
    expect(await ask(runId)).toMatchObject({ status: 410, json: { code: "artifact_expired" } });
    expect(await outcomesOf(runId, revoked!.json.id, 1)).toEqual(["link_revoked"]);
  });

  it("cannot be guessed, and no wrong one is told from another", async () => {
    const runId = await finishedRun();
    const { id, url } = (await ask(runId)).json;
    const secret = url.slice(-43);
    const other = (await ask(runId)).json;
    const wrong = [
      `${randomUUID()}.${secret}`,
      `${id}.${other.url.slice(-43)}`,
      `${id}.${secret.slice(1)}`,
      `${id}.${secret}x`,
      id,
      `${id}.`,
      "x",
      `${id}.${secret}%00`,
      `%ff`,
    ];
    for (const token of wrong) {
      const reply = await call(app.url, "GET", `/analytics/downloads/${token}`);
      expect(reply.status, token).toBe(404);
    }
    expect(await usesOf(runId, id, 0)).toEqual([]);
    const { rows } = await app.context.pool.query(
      "select count(*)::int as found from download_links l where l::text like '%' || $1 || '%'",
      [secret],
    );
    expect(rows).toEqual([{ found: 0 }]);
  });

  it("keeps its secret out of the log", async () => {
    const { url, id } = (await ask(await finishedRun())).json;
    let written = "";
    const stream = new Writable({
      write(chunk, _encoding, done) {
        written += String(chunk);
        done();
      },
    });
    const { log } = app.context;
    log.configure({
      level: "debug",
      format: log.format,
      transports: [new winston.transports.Stream({ stream })],
    });
    try {
      for (const tail of ["", "?a=b", "/more", "%2e"]) await follow(url + tail);
      await vi.waitFor(() => expect(written.match(/"request"/g)).toHaveLength(4));
    } finally {
      log.configure({ silent: true });
    }
    expect(written).toContain(`/analytics/downloads/${id}.…`);
    expect(written).not.toContain(url.slice(-43));
  });

  it("is the business of analysts of the account alone", async () => {
    const runId = await finishedRun();
    const { id } = (await ask(runId)).json;
    const one = `${pathOf(runId)}/${id}`;
    const routes = [
      ["POST", pathOf(runId)],
      ["GET", pathOf(runId)],
      ["GET", `${one}/uses`],
      ["DELETE", one],
    ] as const;
    const [viewer, foreign] = await Promise.all([keyOf("viewer", "shop"), keyOf("analyst", "other")]);
    for (const [method, path] of routes) {
      const body = method === "POST" ? {} : undefined;
      expect((await call(app.url, method, path, { key: viewer, body })).status, path).toBe(403);
      expect((await call(app.url, method, path, { key: foreign, body })).status, path).toBe(404);
      const wrongKind = path.replace("/reports/", "/exports/");
      expect((await call(app.url, method, wrongKind, { key: app.adminKey, body })).status, path).toBe(404);
    }
    const otherRun = await finishedRun();
    const elsewhere = `${pathOf(otherRun)}/${id}`;
    expect((await call(app.url, "DELETE", elsewhere, { key: app.adminKey })).status).toBe(404);
    expect((await call(app.url, "GET", `${elsewhere}/uses`, { key: app.adminKey })).status).toBe(404);
    const analyst = await keyOf("analyst", "shop");
    expect((await call(app.url, "DELETE", one, { key: analyst })).status).toBe(204);
  });

  it("is refused for what is out of range, and for a run without a file", async () => {
    const runId = await finishedRun();
    for (const [body, path] of [
      [{ expires_in_seconds: 7 * 24 * 3_600 + 1 }, "expires_in_seconds"],
      [{ expires_in_seconds: 0 }, "expires_in_seconds"],
      [{ max_downloads: 0 }, "max_downloads"],
      [{ extra: 1 }, "extra"],
    ] as const)
      expect((await ask(runId, body)).json.errors).toEqual([expect.objectContaining({ path })]);
    const queued = await queuedRun();
    expect(await ask(queued)).toMatchObject({ status: 409, json: { code: "not_ready" } });
    expect(
      await createDownloadLink(app.context.db, {
        accountId: "shop",
        runId: queued,
        requestedBy: "test",
        expiresAt: new Date(Date.now() + HOUR),
      }),
    ).toBeUndefined();
  });

  it("is made once for one Idempotency-Key, which shows its secret again", async () => {
    const runId = await finishedRun();
    const key = { "idempotency-key": "one-link" };
    const [first, again] = [await ask(runId, {}, key), await ask(runId, {}, key)];
    expect(again.json).toEqual(first.json);
    expect(await linksOf(runId)).toHaveLength(1);
    const { rows } = await app.context.pool.query("select body::text from idempotency_keys");
    expect(JSON.stringify(rows)).not.toContain(first.json.url.slice(-43));
  });

  it("is listed by pages, and forgotten long after its end", async () => {
    const runId = await finishedRun();
    for (let i = 0; i < 3; i++) await ask(runId);
    const get = (query: string) => call(app.url, "GET", `${pathOf(runId)}?${query}`, { key: app.adminKey });
    const first = (await get("limit=2")).json;
    const second = (await get(`limit=2&cursor=${first.next_cursor}`)).json;
    expect([first.data.length, second.data.length, second.next_cursor]).toEqual([2, 1, null]);
    const { id, url } = (await ask(runId)).json;
    await follow(url);
    await usesOf(runId, id, 1);
    await app.context.pool.query(
      `update download_links set expires_at = now() - interval '91 days' where run_id = $1`,
      [runId],
    );
    const before = new Date(Date.now() - 90 * 24 * HOUR);
    expect(await deleteEndedLinks(app.context.db, before, 1_000)).toBe(4);
    expect(await linksOf(runId)).toEqual([]);
    const { rows } = await app.context.pool.query(
      "select count(*)::int as left from download_uses u where not exists (select from download_links l where l.link_id = u.link_id)",
    );
    expect(rows).toEqual([{ left: 0 }]);
  });

  it("begins with where users reach the service", () => {
    const link = { linkId: "i", secret: "s" };
    expect(downloadUrl("https://a.example/", link)).toBe("https://a.example/analytics/downloads/i.s");
    expect(downloadUrl("https://a.example/base", link)).toBe(
      "https://a.example/base/analytics/downloads/i.s",
    );
  });
});

/** Reads the beginning of a file and leaves. */
async function breakOff(url: string): Promise<void> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${pathname} HTTP/1.1\r\nhost: x\r\n\r\n`);
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();
}

describe.skipIf(!hasSwift)("with files in S3", () => {
  let s3: TestS3;
  beforeAll(async () => {
    s3 = await startS3();
  });
  afterAll(() => s3.stop());

  const appWith = async (env: Record<string, string>) => {
    const other = await startTestApp({
      databaseUrl: app.databaseUrl,
      env: { ...s3.env(env), API_KEY: app.adminKey },
    });
    const runId = await finishedRun(other);
    const { json } = await call(other.url, "POST", pathOf(runId), { key: app.adminKey, body: {} });
    return { other, url: json.url as string, runId, linkId: json.id as string };
  };

  it("a link leads on to the store for five minutes, by a URL that is signed at the click", async () => {
    const { other, url, runId, linkId } = await appWith({ PUBLIC_URL: "https://reports.example" });
    await using _ = other;
    expect(url).toMatch(/^https:\/\/reports\.example\/analytics\/downloads\//);
    const local = other.url + new URL(url).pathname;
    const moved = await follow(local);
    expect(moved.status).toBe(302);
    const location = new URL(moved.headers.get("location")!);
    expect(location.origin).toBe(s3.url);
    expect(Number(location.searchParams.get("X-Amz-Expires"))).toBeLessThanOrEqual(300);
    const file = await fetch(location);
    expect([file.status, await file.text()]).toEqual([200, CONTENT]);
    expect(file.headers.get("content-disposition")).toBe('attachment; filename="a.csv"');
    const head = await follow(local, "HEAD");
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "10"]);
    expect(await outcomesOf(runId, linkId, 2)).toEqual(["looked", "redirected"]);
    await other.context.artifacts.remove(other.context.artifacts.newKey(`${runId}/1`));
    expect(await follow(local)).toMatchObject({ status: 410, json: { code: "artifact_missing" } });
  });

  it("a report is made by a worker, encrypted on its way there, and downloaded by ranges", async () => {
    const env = s3.env({
      API_KEY: app.adminKey,
      ARTIFACT_KEYS: `k1:${Buffer.alloc(32, 7).toString("base64")}`,
    });
    await using other = await startTestApp({ env });
    const messages = await seedMessages(other.context, "shop");
    const workers = await startWorkers(other.context);
    try {
      const send = (method: string, path: string, more: object = {}) =>
        call(other.url, method, path, { key: app.adminKey, ...more });
      const asked = await send("POST", "/analytics/reports", {
        body: { account_id: "shop", template: "message-log", format: "csv", ...seedRange },
      });
      const done = await vi.waitFor(
        async () => {
          const { json } = await send("GET", asked.headers.get("location")!);
          expect(json.status).toBe("succeeded");
          return json;
        },
        { timeout: 20_000 },
      );
      const file = await send("GET", done.links.download);
      expect(file.text.split("\r\n").filter(Boolean)).toHaveLength(messages + 1);
      expect(createHash("sha256").update(file.text).digest("hex")).toBe(done.artifact.sha256);
      const part = await send("GET", done.links.download, { headers: { range: "bytes=3-40" } });
      expect([part.status, part.text]).toEqual([206, file.text.slice(3, 41)]);
      expect(await s3.objects()).toContain(`files/${done.id}/1.sealed`);
    } finally {
      await workers.drain(2_000);
    }
  });

  it.each([
    ["where browsers cannot reach the store", { S3_REDIRECTS: "false" }],
    ["where files are encrypted", { ARTIFACT_KEYS: `k1:${Buffer.alloc(32, 7).toString("base64")}` }],
  ])("a link gives the file itself %s", async (_title, env) => {
    const { other, url } = await appWith(env);
    await using _ = other;
    const file = await follow(url);
    expect([file.status, file.text]).toEqual([200, CONTENT]);
    const part = await follow(url, "GET", { range: "bytes=-3" });
    expect([part.status, part.text]).toEqual([206, "789"]);
  });
});
