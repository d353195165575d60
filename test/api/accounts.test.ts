import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildWantedZone } from "../../src/db/rollups/zones.js";
import { type CallOptions, call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const admin = (method: string, path: string, options: CallOptions = {}) =>
  call(app.url, method, path, { key: app.adminKey, ...options });

const defaults = { session_gap_hours: 24, reply_window_hours: 24, sla_seconds: 3_600, calendar: null };

async function keyFor(role: string, accounts: string[]): Promise<string> {
  const body = { name: `${role} of ${accounts}`, role, account_ids: accounts };
  return (await admin("POST", "/analytics/keys", { body })).json.key;
}

test("an account is created with its watermark, read, changed and listed", async () => {
  const made = await admin("POST", "/analytics/accounts", {
    body: { account_id: "shop/1 ü", name: "Shop", time_zone: "Asia/Kolkata" },
  });
  const shop = {
    account_id: "shop/1 ü",
    name: "Shop",
    time_zone: "Asia/Kolkata",
    pending_time_zone: null,
    retention: { events_days: 400, messages_days: 430, quarters_days: 90, days_days: null },
    created_at: expect.stringMatching(/Z$/),
    settings: defaults,
    settings_version: 1,
    quotas: { weight: 1, max_running: 16, max_waiting: 10_000, max_export_rows: 0 },
    files: { retention_hours: 168, quota_bytes: 0, used_bytes: 0 },
  };
  expect([made.status, made.json]).toEqual([201, shop]);
  const { rows } = await app.context.pool.query(
    "select epoch, xid::text, seq from fold_watermarks where account_id = 'shop/1 ü'",
  );
  expect(rows).toEqual([{ epoch: app.context.installation.epoch, xid: "0", seq: 0 }]);
  const path = made.headers.get("location")!;
  expect((await admin("GET", path)).json).toEqual(shop);
  const again = await admin("POST", "/analytics/accounts", { body: { account_id: "shop/1 ü" } });
  expect([again.status, again.json.code]).toEqual([409, "account_exists"]);
  const changed = await admin("PATCH", path, { body: { name: null, time_zone: "Europe/Berlin" } });
  expect(changed.json).toEqual({ ...shop, name: null, pending_time_zone: "Europe/Berlin" });
  const listed = (await admin("GET", "/analytics/accounts")).json.data;
  const { settings: _, settings_version: __, quotas: ___, files: ____, ...brief } = changed.json;
  expect(listed).toContainEqual(brief);
  expect((await admin("PATCH", path, { body: {} })).json).toEqual(changed.json);
  expect((await admin("PATCH", "/analytics/accounts/none", { body: { name: "x" } })).status).toBe(404);
  expect((await admin("GET", "/analytics/accounts/none")).json.code).toBe("account_not_found");
  expect((await admin("GET", "/analytics/accounts/%00")).status).toBe(404);
});

describe("settings", () => {
  const path = "/analytics/accounts/hours";
  const weekly = { monday: [["09:00", "17:30"]] };
  const patch = async (body: unknown) => (await admin("PATCH", path, { body })).json;
  const set = (settings: unknown) => patch({ settings });

  test("are shown as they count, merged by key, and set back by null", async () => {
    const made = await admin("POST", "/analytics/accounts", {
      body: {
        account_id: "hours",
        time_zone: "Europe/Berlin",
        settings: { sla_seconds: 900, calendar: null },
      },
    });
    expect(made.json).toMatchObject({ settings: { ...defaults, sla_seconds: 900 }, settings_version: 1 });
    await set({ session_gap_hours: 0.25 * 7, calendar: { weekly } });
    const both = await set({ session_gap_hours: null, reply_window_hours: 72 });
    const calendar = { time_zone: "Europe/Berlin", weekly, holidays: [], open: [] };
    const settings = { ...defaults, sla_seconds: 900, reply_window_hours: 72, calendar };
    expect(both.settings).toEqual(settings);
    expect((await admin("GET", path)).json).toEqual(both);
    expect((await set({ calendar: null, sla_seconds: null, reply_window_hours: null })).settings).toEqual(
      defaults,
    );
    const list = await admin("GET", "/analytics/accounts?limit=1000");
    for (const one of list.json.data) expect(one).not.toHaveProperty("settings");
  });

  test("have a version that rises when what counts becomes another", async () => {
    const start = (await patch({})).settings_version;
    const risen = async (body: unknown) => (await patch(body)).settings_version - start;
    expect(await risen({ settings: {} })).toBe(0);
    expect(await risen({ settings: { sla_seconds: 3_600, calendar: null } })).toBe(0);
    expect(await risen({ name: "x", time_zone: "Asia/Kolkata" })).toBe(0);
    await buildWantedZone(app.context.db, "hours", new AbortController().signal);
    expect(await risen({ settings: { sla_seconds: 60 } })).toBe(1);
    expect(await risen({ settings: { sla_seconds: 60 } })).toBe(1);
    expect(await risen({ settings: { calendar: { weekly, holidays: ["2026-12-26", "2026-12-25"] } } })).toBe(
      2,
    );
    expect(await risen({ settings: { calendar: { weekly, holidays: ["2026-12-25", "2026-12-26"] } } })).toBe(
      2,
    );
    // The hours follow the zone of the account until they have one of their own.
    expect(await risen({ time_zone: "Europe/Berlin" })).toBe(2);
    await buildWantedZone(app.context.db, "hours", new AbortController().signal);
    expect(await risen({})).toBe(3);
    const pinned = { weekly, holidays: ["2026-12-25", "2026-12-26"], time_zone: "Europe/Berlin" };
    expect(await risen({ settings: { calendar: pinned } })).toBe(3);
    expect(await risen({ time_zone: "UTC" })).toBe(3);
    await buildWantedZone(app.context.db, "hours", new AbortController().signal);
    expect(await risen({})).toBe(3);
    expect(await risen({ settings: { calendar: null } })).toBe(4);
  });

  test("of two changes at once both count", async () => {
    const changes = [{ sla_seconds: 61 }, { session_gap_hours: 2 }, { reply_window_hours: 3 }];
    await Promise.all(changes.map(set));
    expect((await admin("GET", path)).json.settings).toEqual(Object.assign({ calendar: null }, ...changes));
  });

  test("name what is wrong and its limit", async () => {
    const refused: [settings: unknown, path: string, code: string, message: RegExp][] = [
      [{ session_gap: 3 }, "settings.session_gap", "unknown_field", /unknown field/],
      [{ session_gap_hours: 168.25 }, "settings.session_gap_hours", "out_of_range", /1 to 168/],
      [{ session_gap_hours: 1.1 }, "settings.session_gap_hours", "out_of_range", /whole quarters/],
      [{ reply_window_hours: 0.75 }, "settings.reply_window_hours", "out_of_range", /1 to 720/],
      [{ sla_seconds: 2_592_001 }, "settings.sla_seconds", "out_of_range", /1 to 2,592,000/],
      [{ sla_seconds: "60" }, "settings.sla_seconds", "invalid_type", /number/],
      [{ calendar: {} }, "settings.calendar.weekly", "required", /required/],
      [{ calendar: { weekly: { mon: [] } } }, "settings.calendar.weekly.mon", "unknown_field", /unknown/],
      [
        { calendar: { weekly: { monday: [["09:00", "8:00"]] } } },
        "settings.calendar.weekly.monday[0][1]",
        "invalid_format",
        /00:01 to 24:00/,
      ],
      [null, "settings", "invalid_type", /object/],
    ];
    for (const [settings, at, code, message] of refused)
      for (const [method, where, body] of [
        ["PATCH", path, { settings }],
        ["POST", "/analytics/accounts", { account_id: "refused", settings }],
      ] as const) {
        const reply = await admin(method, where, { body });
        expect([reply.status, reply.json.errors]).toEqual([
          400,
          [{ path: at, code, message: expect.stringMatching(message) }],
        ]);
      }
  });

  test("take a calendar with all the days that it may have", async () => {
    const slots = Array.from({ length: 10 }, (_, hour) => [`1${hour}:00`, `1${hour}:30`]);
    const day = (index: number) => new Date(Date.UTC(2026, 0, 1 + index)).toISOString().slice(0, 10);
    const many = Array.from({ length: 500 }, (_, index) => day(index));
    const calendar = {
      weekly: {},
      holidays: many,
      open: many.map((_, index) => ({ date: day(500 + index), slots })),
    };
    expect((await set({ calendar })).settings.calendar).toEqual({ time_zone: "UTC", ...calendar });
  });
});

test("time zones must be IANA zones, ids storable text", async () => {
  for (const zone of ["Mars/Olympus", "+05:30", "", "UTC+1", "Europe/Berlin'; --"]) {
    const reply = await admin("POST", "/analytics/accounts", { body: { account_id: "z", time_zone: zone } });
    expect([zone, reply.status, reply.json.errors[0].path]).toEqual([zone, 400, "time_zone"]);
  }
  for (const id of ["", "x".repeat(129), "a\0", "\ud800", 7, null]) {
    const reply = await admin("POST", "/analytics/accounts", { body: { account_id: id } });
    expect([id, reply.status, reply.json.errors[0].path]).toEqual([id, 400, "account_id"]);
  }
});

test("accounts cannot see each other", async () => {
  for (const id of ["one", "two"]) await admin("POST", "/analytics/accounts", { body: { account_id: id } });
  const viewer = await keyFor("viewer", ["one"]);
  const scoped = await keyFor("admin", ["one"]);
  for (const key of [viewer, scoped]) {
    const list = await call(app.url, "GET", "/analytics/accounts", { key });
    expect(list.json).toMatchObject({ data: [{ account_id: "one" }], next_cursor: null });
    expect((await call(app.url, "GET", "/analytics/accounts/one", { key })).status).toBe(200);
    const foreign = await call(app.url, "GET", "/analytics/accounts/two", { key });
    const missing = await call(app.url, "GET", "/analytics/accounts/nobody", { key });
    expect(foreign.status).toBe(404);
    expect({ ...foreign.json, instance: "" }).toEqual({ ...missing.json, instance: "" });
  }
  const patch = await call(app.url, "PATCH", "/analytics/accounts/two", { key: scoped, body: { name: "x" } });
  expect(patch.status).toBe(404);
  const create = await call(app.url, "POST", "/analytics/accounts", {
    key: scoped,
    body: { account_id: "three" },
  });
  expect([create.status, create.json.code]).toEqual([403, "scope_not_allowed"]);
});

test("channels belong to one account and are seen and changed within the scope only", async () => {
  for (const id of ["left", "right"])
    await admin("POST", "/analytics/accounts", { body: { account_id: id } });
  const path = "/analytics/channels/4915%2F1";
  const made = await admin("PUT", path, { body: { account_id: "left", name: "Phone" } });
  expect([made.status, made.json]).toEqual([
    201,
    { channel_id: "4915/1", account_id: "left", name: "Phone", created_at: expect.any(String) },
  ]);
  expect((await admin("PUT", path, { body: { account_id: "nobody" } })).json.code).toBe("account_not_found");
  expect((await admin("PUT", path, { body: {} })).json.errors[0]).toMatchObject({ code: "required" });

  const left = await keyFor("admin", ["left"]);
  const right = await keyFor("admin", ["right"]);
  const taken = await call(app.url, "PUT", path, { key: right, body: { account_id: "right" } });
  expect([taken.status, taken.json.code]).toEqual([409, "channel_taken"]);
  expect((await call(app.url, "PUT", path, { key: right, body: { account_id: "left" } })).status).toBe(404);
  expect((await call(app.url, "DELETE", path, { key: right })).status).toBe(404);
  expect((await call(app.url, "GET", "/analytics/channels", { key: right })).json.data).toEqual([]);
  expect((await call(app.url, "GET", "/analytics/channels", { key: left })).json.data).toEqual([made.json]);
  const foreign = await call(app.url, "GET", "/analytics/channels?account_id=left", { key: right });
  expect(foreign.status).toBe(404);

  const moved = await admin("PUT", path, { body: { account_id: "right" } });
  expect([moved.status, moved.json]).toEqual([200, { ...made.json, account_id: "right" }]);
  expect((await admin("GET", "/analytics/channels?account_id=left")).json.data).toEqual([]);
  expect((await call(app.url, "DELETE", path, { key: right })).status).toBe(204);
  expect((await admin("DELETE", path)).json.code).toBe("channel_not_found");
});

test("lists of accounts and channels come in pages", async () => {
  const ids = Array.from({ length: 5 }, (_, i) => `page-${i}`);
  for (const id of ids) {
    await admin("POST", "/analytics/accounts", { body: { account_id: id } });
    await admin("PUT", `/analytics/channels/${id}`, { body: { account_id: id } });
  }
  for (const [path, field] of [
    ["/analytics/accounts", "account_id"],
    ["/analytics/channels", "channel_id"],
  ] as const) {
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page = await admin("GET", `${path}?limit=2${cursor && `&cursor=${cursor}`}`);
      seen.push(...page.json.data.map((row: Record<string, string>) => row[field]));
      cursor = page.json.next_cursor;
    }
    expect(seen.filter((id) => id.startsWith("page-"))).toEqual(ids);
    expect(new Set(seen).size).toBe(seen.length);
  }
});

test("an account's files have a time and a quota of their own, until that is taken back", async () => {
  const path = "/analytics/accounts/files";
  await admin("POST", "/analytics/accounts", { body: { account_id: "files" } });
  const patch = async (files: unknown) => (await admin("PATCH", path, { body: { files } })).json;
  expect((await patch({ quota_bytes: 1_000, retention_hours: 48 })).files).toEqual({
    retention_hours: 48,
    quota_bytes: 1_000,
    used_bytes: 0,
  });
  expect((await patch({ quota_bytes: null })).files).toMatchObject({ retention_hours: 48, quota_bytes: 0 });
  expect((await patch({ retention_hours: null })).files).toMatchObject({ retention_hours: 168 });
  expect((await patch({ retention_hours: 0 })).errors[0].path).toBe("files.retention_hours");
  expect((await patch({ quota_bytes: -1 })).errors[0].path).toBe("files.quota_bytes");
  expect((await patch({ quota: 1 })).errors[0].path).toBe("files.quota");
});
