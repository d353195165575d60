import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { event } from "../api/ingest-events.js";
import { fixtureNames, readFixture } from "../sources/whatsapp-cloud-webhook.js";
import { call, type Reply, startTestApp, type TestApp } from "../support/app.js";
import { deliverSigned, WEBHOOK_SECRET } from "../support/signed-webhook.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ env: { WHATSAPP_APP_SECRET: WEBHOOK_SECRET } });
  await call(app.url, "POST", "/analytics/accounts", { key: app.adminKey, body: { account_id: "acme" } });
});
afterAll(() => app.close());

const range = { from: "2026-01-01T00:00:00Z", to: "2026-02-01T00:00:00Z" };
const fullEvent = event(1, {
  template: { name: "offer" },
  reaction: { target: "m" },
  interactive: { kind: "button" },
  change: { kind: "status", value: "x" },
  error: { code: "1" },
  pricing: { billable: true },
  tags: ["a"],
});
const report = { account_id: "acme", template: "message-log", format: "csv", ...range, filters: {} };
const exported = { account_id: "acme", dataset: "messages", format: "csv", ...range, csv: {}, filters: {} };

const poisons: unknown[] = [
  { polluted: true },
  { prototype: { polluted: true } },
  { constructor: { prototype: { polluted: true } } },
  "polluted",
  null,
];
const names = ["__proto__", "constructor", "prototype"];

/** A copy with a key more in one of its objects, own keys all of them. */
function poisoned(document: unknown, name: string, poison: unknown, place: number): unknown {
  const copy = structuredClone(document);
  const objects: object[] = [];
  const collect = (value: unknown) => {
    if (typeof value !== "object" || value === null) return;
    if (!Array.isArray(value)) objects.push(value);
    for (const part of Object.values(value)) collect(part);
  };
  collect(copy);
  // An assignment would change the prototype instead.
  Object.defineProperty(objects[place % objects.length], name, { value: poison, enumerable: true });
  return copy;
}

const queries = (name: string, poison: string) => [
  `${name}=${poison}`,
  `${name}[polluted]=${poison}`,
  `${name}.polluted=${poison}`,
  `filter[${name}]=${poison}`,
  `filter[${name}][polluted]=${poison}`,
  `csv[${name}]=${poison}`,
  `filter[template]=${name}&group_by=${name}&metrics=${name}`,
];
const good = `account_id=acme&from=${range.from}&to=${range.to}`;

const post = (path: string, body: unknown): Promise<Reply> =>
  call(app.url, "POST", path, { key: app.adminKey, body });
const get = (path: string): Promise<Reply> => call(app.url, "GET", path, { key: app.adminKey });

it("F30: keys of prototypes, wherever they are, are refused or inert", { timeout: 90_000 }, async () => {
  const namesBefore = Object.getOwnPropertyNames(Object.prototype);
  const deliveries = fixtureNames.map(readFixture);
  const attempts = fc.record({
    name: fc.constantFrom(...names),
    poison: fc.constantFrom(...poisons),
    place: fc.nat(1_000),
    query: fc.nat(6),
    delivery: fc.constantFrom(...deliveries),
  });
  await fc.assert(
    fc.asyncProperty(attempts, async ({ name, poison, place, query, delivery }) => {
      const inQuery = queries(name, String(poison))[query]!;
      const spoil = (document: unknown) => poisoned(document, name, poison, place);
      const refused = await Promise.all([
        post("/analytics/reports", spoil(report)),
        post("/analytics/exports", spoil(exported)),
        post("/analytics/keys", spoil({ name: "k", role: "viewer" })),
        get(`/analytics/metrics?${good}&${inQuery}`),
        get(`/analytics/export?${good}&dataset=messages&${inQuery}`),
      ]);
      expect(refused.map(({ status }) => status)).toEqual([400, 400, 400, 400, 400]);
      const taken = await post("/analytics/events", { events: [spoil(fullEvent), event(2)] });
      expect(taken.json).toMatchObject({
        rejected_total: 1,
        rejected: [{ index: 0, code: "unknown_field" }],
      });
      expect((await deliverSigned(app.url, spoil(delivery))).status).toBe(200);
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    }),
    { numRuns: 100 },
  );
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(namesBefore);
});
