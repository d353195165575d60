import { afterAll, beforeAll, expect, test } from "vitest";
import { readJsonBody } from "../../src/api/body.js";
import { withIdempotency } from "../../src/api/idempotency.js";
import { route } from "../../src/api/route.js";
import { apiRoutes } from "../../src/api/routes/index.js";
import { deleteExpiredIdempotencyKeys } from "../../src/db/queries/idempotency.js";
import { Unavailable } from "../../src/errors.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
let aheadMs = 0;
let effects = 0;
let failures: (() => unknown)[] = [];
let gate: Promise<void> | undefined;

beforeAll(async () => {
  app = await startTestApp({
    now: () => new Date(Date.now() + aheadMs),
    routes: (context) => [
      ...apiRoutes(context),
      route({
        method: "post",
        path: "/effects",
        access: ["admin"],
        async handler(request, response) {
          await readJsonBody(request, { maxBytes: 1_000 });
          await withIdempotency(context, request, response, async () => {
            await gate;
            const failure = failures.shift();
            if (failure) throw failure();
            effects += 1;
            return { status: 202, headers: { location: `/effects/${effects}` }, body: { effect: effects } };
          });
        },
      }),
    ],
  });
});
afterAll(() => app.close());

const send = (key: string, body: unknown = {}, path = "/effects", credential = app.adminKey) =>
  call(app.url, "POST", path, { key: credential, body, headers: { "idempotency-key": key } });

test("a repeated request gets the first answer again and has no second effect", async () => {
  const before = effects;
  const first = await send("once", { a: 1 });
  const second = await send("once", { a: 1 });
  expect([first.status, first.headers.get("idempotent-replayed")]).toEqual([202, null]);
  expect([second.status, second.headers.get("idempotent-replayed")]).toEqual([202, "true"]);
  expect(second.json).toEqual(first.json);
  expect(second.headers.get("location")).toBe(first.headers.get("location"));
  expect(effects).toBe(before + 1);
});

test("another body, or another query, with the same key is refused", async () => {
  await send("reused", { a: 1 });
  for (const reply of [await send("reused", { a: 2 }), await send("reused", { a: 1 }, "/effects?b=1")])
    expect([reply.status, reply.json.code]).toEqual([409, "idempotency_key_reused"]);
});

test("20 identical requests at once have exactly one effect", async () => {
  const before = effects;
  const replies = await Promise.all(Array.from({ length: 20 }, () => send("parallel")));
  expect(effects).toBe(before + 1);
  for (const reply of replies) {
    if (reply.status === 409) {
      expect(reply.json.code).toBe("idempotency_in_progress");
      expect(reply.headers.get("retry-after")).toBe("1");
    } else expect([reply.status, reply.json]).toEqual([202, { effect: before + 1 }]);
  }
  expect(
    replies.filter((reply) => reply.status === 202 && !reply.headers.has("idempotent-replayed")),
  ).toHaveLength(1);
  expect((await send("parallel")).headers.get("idempotent-replayed")).toBe("true");
});

test("while the first request runs, a second one is told to wait", async () => {
  let open = () => {};
  gate = new Promise((resolve) => {
    open = resolve;
  });
  const both = [send("slow"), send("slow")];
  const refused = await Promise.race(both);
  expect([refused.status, refused.json.code]).toEqual([409, "idempotency_in_progress"]);
  open();
  gate = undefined;
  const statuses = (await Promise.all(both)).map((reply) => reply.status);
  expect(statuses.sort()).toEqual([202, 409]);
});

test("a failed attempt frees the key", async () => {
  const before = effects;
  failures = [() => new Error("a bug"), () => new Unavailable("queue_unavailable", "away")];
  expect((await send("retried")).status).toBe(500);
  expect((await send("retried")).status).toBe(503);
  expect((await send("retried")).json).toEqual({ effect: before + 1 });
});

test("keys end after 24 hours; an attempt whose process died is taken over sooner", async () => {
  const first = await send("daily");
  aheadMs += 24 * 3_600_000 - 60_000;
  expect((await send("daily")).json).toEqual(first.json);
  aheadMs += 61_000;
  expect((await send("daily")).json).not.toEqual(first.json);

  await app.context.pool.query(
    "insert into idempotency_keys (scope, key, body_hash, created_at) select scope, 'died', body_hash, $1 from idempotency_keys where key = 'once'",
    [app.context.now()],
  );
  expect((await send("died", { a: 1 })).json.code).toBe("idempotency_in_progress");
  aheadMs += app.context.config.http.timeoutMs + 61_000;
  expect((await send("died", { a: 1 })).status).toBe(202);
  const cutoff = new Date(app.context.now().getTime() - 3_600_000);
  expect(await deleteExpiredIdempotencyKeys(app.context.db, cutoff, 1)).toBe(1);
  expect((await send("daily")).headers.get("idempotent-replayed")).toBe("true");
});

test("keys belong to one API key and one path; strange ones are refused", async () => {
  const made = await send("k", { name: "other admin", role: "admin" }, "/analytics/keys");
  const before = effects;
  await send("k");
  await send("k", {}, "/effects", made.json.key);
  expect(effects).toBe(before + 2);
  expect((await send("x".repeat(255))).status).toBe(202);
  for (const key of ["x".repeat(256), "a b", "ü"]) {
    const reply = await send(key);
    expect([reply.status, reply.json.code]).toEqual([400, "invalid_idempotency_key"]);
  }
});

test("creating an account or a key twice creates one", async () => {
  const account = { account_id: "twice" };
  const one = await send("account", account, "/analytics/accounts");
  const two = await send("account", account, "/analytics/accounts");
  expect([one.status, two.status, two.json]).toEqual([201, 201, one.json]);

  const body = { name: "twice", role: "viewer" };
  const first = await send("api key", body, "/analytics/keys");
  expect(first.status).toBe(400);
  const [made, again] = [
    await send("api-key", body, "/analytics/keys"),
    await send("api-key", body, "/analytics/keys"),
  ];
  expect(again.json).toEqual(made.json);
  expect(again.json.key).toMatch(/^wak_/);
  const { rows } = await app.context.pool.query(
    "select (select count(*) from api_keys where name = 'twice') as keys, (select jsonb_agg(body)::text from idempotency_keys) as kept",
  );
  expect(rows[0].keys).toBe(1);
  expect(rows[0].kept).not.toContain("wak_");
});
