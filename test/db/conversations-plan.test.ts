import { CompiledQuery, sql, type Transaction } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attributionSql } from "../../src/db/conversations/attribution-statement.js";
import { byMessagesSql } from "../../src/db/conversations/chat-months.js";
import { rebuildSql } from "../../src/db/conversations/conversation-statement.js";
import { takeMarks } from "../../src/db/conversations/rebuild.js";
import { preferHashes, preferIndexes } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import type { Database } from "../../src/db/schema.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

const MESSAGES = 100_000;
const CHATS = 500;

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
  await ensureAccounts(test.db, ["large", "other"]);
  await test.pool.query(
    `insert into messages (account_id, message_id, direction, chat_id, channel_id, anchor_at, received_at, updated_at)
     select account, 'm' || n, 'inbound', 'chat' || n % ${CHATS}, 'c1', at, at, at
     from unnest('{large,other}'::text[]) account, generate_series(1, ${MESSAGES}) n,
          lateral (select '2025-01-01T00:00:00Z'::timestamptz + n * interval '25 seconds' as at) times`,
  );
  await test.pool.query("analyze messages");
}, 120_000);
afterAll(() => test.close());

interface Node {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  Plans?: Node[];
}

const nodes = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodes)];

type Explained = Promise<{ rows: { "QUERY PLAN": [{ Plan: Node }] }[] }>;

/** What the statement does to a table and its partitions, and how many rows it touches. */
async function readsOf(table: string, explain: (trx: Transaction<Database>) => Explained) {
  return test.db.transaction().execute(async (trx) => {
    await preferIndexes(trx);
    const { rows } = await explain(trx);
    return nodes(rows[0]!["QUERY PLAN"][0].Plan)
      .filter((node) => node["Relation Name"]?.startsWith(table) && node["Node Type"].includes("Scan"))
      .map((node) => ({
        type: node["Node Type"],
        index: node["Index Name"],
        rows: node["Actual Rows"] * node["Actual Loops"],
      }));
  });
}

const readsOfMessages = (text: string, parameters: unknown[]) =>
  readsOf("messages", async (trx) => {
    if (text === rebuildSql) await preferHashes(trx);
    return trx.executeQuery(CompiledQuery.raw(`explain (analyze, format json) ${text}`, parameters));
  });

const chats = Array.from({ length: 20 }, (_, index) => `chat${index}`);
const from = chats.map(() => new Date("2025-01-10T00:00:00Z"));
const to = chats.map(() => new Date("2025-01-11T00:00:00Z"));
const channels = chats.map(() => "c1");
const DAY_MS = 86_400_000;
/** A day of twenty of them. */
const IN_STRETCHES = (DAY_MS / 25_000 / CHATS) * chats.length;

describe("the plans of a rebuild", () => {
  it("read the messages of the stretches by the index of chats, and no others", async () => {
    const keys = chats.map((_, index) => `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`);
    const parameters = ["large", keys, from, to, DAY_MS, DAY_MS, 1, null, null, null, chats, channels];
    const reads = await readsOfMessages(rebuildSql, parameters);
    expect(reads).toHaveLength(1);
    expect(reads[0]).toMatchObject({ type: "Index Scan", index: expect.stringContaining("coalesce") });
    expect(reads[0]!.rows).toBeLessThan(IN_STRETCHES * 1.2);
  });

  it("take the oldest marks and no others, also before anything is known of how many there are", async () => {
    const marks = 20_000;
    await test.pool.query(
      `insert into conversation_marks (account_id, chat_key, month, chat_id, from_at, to_at, counted_to)
       select 'large', md5(n::text)::uuid, '2025-01-01', 'chat' || n, '2025-01-02', '2025-01-03', now() from generate_series(1, ${marks}) n`,
    );
    const reads = await readsOf(
      "conversation_marks",
      (trx) =>
        sql`explain (analyze, format json) ${takeMarks("large", DAY_MS, 500)}`.execute(trx) as Explained,
    );
    expect(reads).toEqual([
      { type: "Index Scan", index: "conversation_marks_by_age", rows: 500 },
      { type: "Tid Scan", index: undefined, rows: 500 },
    ]);
  });

  it("look for answers a window around the stretches, and touch only messages that change", async () => {
    const reads = await readsOfMessages(attributionSql, ["large", from, to, chats, channels, DAY_MS]);
    expect(reads.every(({ type }) => /^Index (Only )?Scan$/.test(type))).toBe(true);
    expect(reads.reduce((sum, read) => sum + read.rows, 0)).toBeLessThan(IN_STRETCHES * 3.6);
  });
});

describe("the plan of a comparison", () => {
  it("reads the next messages by the index of chats, and none of the account's others", async () => {
    const parameters = ["large", "-infinity", "infinity", "chat20", "2025-01-15T00:00:00Z", 1_000];
    const reads = await readsOfMessages(byMessagesSql, parameters);
    expect(reads).toHaveLength(1);
    expect(reads[0]).toMatchObject({
      type: expect.stringMatching(/^Index (Only )?Scan$/),
      index: expect.stringContaining("coalesce"),
    });
    expect(reads[0]!.rows).toBeLessThanOrEqual(1_001);
  });
});
