import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { webhook } from "../sources/whatsapp-cloud-webhook.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { rollupRows } from "../support/rollup-rows.js";
import { deliverSigned, WEBHOOK_SECRET } from "../support/signed-webhook.js";
import { foldAll } from "../support/work.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ env: { WHATSAPP_APP_SECRET: WEBHOOK_SECRET } });
});
afterAll(() => app.close());

const START = 1_749_416_383;
const USER = "16505551234";
const second = (after: number) => String(START + after);

const status = (id: string, value: string, after: number, rest: object = {}) => ({
  statuses: [{ id, status: value, timestamp: second(after), recipient_id: USER, ...rest }],
});
const message = (id: string, after: number) => ({
  id,
  type: "text",
  timestamp: second(after),
  text: { body: "hello" },
});
/** What the business wrote in its phone app: the message to which the statuses belong. */
const sentByPhone = (id: string, after: number) => ({
  message_echoes: [{ ...message(id, after), from: "15550783881", to: USER }],
});
const unreachable = { errors: [{ code: 131026, title: "Message undeliverable" }] };

/** One delivery each, in the order in which it happened. */
const deliveries: readonly object[] = [
  sentByPhone("whole", 0),
  status("whole", "sent", 1),
  status("whole", "delivered", 3),
  status("whole", "read", 9),
  sentByPhone("orphan", 12),
  status("orphan", "read", 20),
  status("failed", "sent", 29),
  status("failed", "failed", 30, unreachable),
  status("arrived", "failed", 40, unreachable),
  status("arrived", "delivered", 41),
  { messages: [{ ...message("received", 50), from: USER }] },
  // The next quarter of an hour.
  status("whole", "played", 1_000),
];
const ORPHAN = [4, 5] as const;

const deliver = async (account: string, at: number) => {
  const reply = await deliverSigned(
    app.url,
    webhook(
      "messages",
      { metadata: { display_phone_number: "15550783881", phone_number_id: "phone-1" }, ...deliveries[at] },
      { id: account },
    ),
  );
  expect([reply.status, reply.json]).toEqual([200, { accepted: 1, duplicates: 0, quarantined: 0 }]);
};
const fold = (account: string) => foldAll(app.context, account);

/** All that is known of the account's messages and their sums, but not whose they are and when they were written. */
async function stateOf(account: string): Promise<{ messages: object[]; rollups: object[] }> {
  const { rows } = await app.context.pool.query<{ row: object }>(
    `select to_jsonb(m) - 'account_id' - 'updated_at' as row from messages m where account_id = $1 order by message_id`,
    [account],
  );
  return {
    messages: rows.map(({ row }) => row),
    rollups: await rollupRows(app.context.pool, account),
  };
}

let accounts = 0;
const newAccount = () => `order-${++accounts}`;
const inOrder = deliveries.map((_, at) => at);

it("F25: any order of statuses, before their message too, comes to the same messages and sums", async () => {
  const reference = newAccount();
  for (const at of inOrder) await deliver(reference, at);
  await fold(reference);
  const expected = await stateOf(reference);
  expect(expected.messages).toHaveLength(5);
  expect(expected.rollups.length).toBeGreaterThan(1);
  const orders = fc.record({
    order: fc.shuffledSubarray(inOrder, { minLength: inOrder.length }),
    foldsAfter: fc.subarray(inOrder),
  });
  await fc.assert(
    fc.asyncProperty(orders, async ({ order, foldsAfter }) => {
      const account = newAccount();
      for (const [place, at] of order.entries()) {
        await deliver(account, at);
        if (foldsAfter.includes(place)) await fold(account);
      }
      await fold(account);
      expect(await stateOf(account)).toEqual(expected);
    }),
    { numRuns: 25, endOnFailure: true },
  );
});

it("F25: a status without its message counts, and is joined when the message comes", async () => {
  const account = newAccount();
  const [echo, read] = ORPHAN;
  const readTime = new Date((START + 20) * 1000).toISOString();
  await deliver(account, read);
  await fold(account);
  const alone = (await stateOf(account)).messages;
  expect(alone).toMatchObject([{ message_id: "orphan", sent_at: null, content_kind: null }]);
  await deliver(account, echo);
  await fold(account);
  const joined = (await stateOf(account)).messages as Record<string, string>[];
  expect(joined).toMatchObject([{ message_id: "orphan", content_kind: "text", text_length: 5 }]);
  expect(new Date(joined[0]!.read_at!).toISOString()).toBe(readTime);
  expect(new Date(joined[0]!.sent_at!).toISOString()).toBe(new Date((START + 12) * 1000).toISOString());
});
