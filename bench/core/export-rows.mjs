import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { get } from "node:http";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { selectRows } from "../../dist/db/datasets/dataset.js";
import { messages } from "../../dist/db/datasets/messages.js";

export const ACCOUNT = "export";
export const PERIOD = { from: "2026-01-01T00:00:00.000Z", to: "2027-01-01T00:00:00.000Z" };
const COLUMNS = [
  "account_id",
  "message_id",
  "channel_id",
  "chat_id",
  "contact_id",
  "direction",
  "content_kind",
  "template",
  "sent_at",
  "delivered_at",
  "read_at",
  "status",
  "updated_at",
];

/** Of the rows that are exported, in file order. */
export const columns = COLUMNS.map((name) => messages.columns.find((column) => column.name === name));
export const fromMessages = selectRows(messages, {
  ...{ accountId: ACCOUNT, from: new Date(PERIOD.from), to: new Date(PERIOD.to), filters: {} },
}).from({ ordered: true });

const selectOf = (sqlOf) =>
  `select ${columns.map((column) => `${sqlOf(column)} as ${column.name}`).join(", ")} ${fromMessages}`;
/** The same rows as PostgreSQL writes them by itself, … */
const plainSelect = selectOf(({ sql }) => sql);
/** … and with instants to the letter as our files have them. */
const sameTextSelect = selectOf(({ sql, type }) =>
  type === "timestamp" ? `to_char(${sql} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')` : sql,
);

/** Has psql write the rows to a file as CSV. */
export async function copyByPsql(databaseUrl, file, { sameText = false } = {}) {
  const select = (sameText ? sameTextSelect : plainSelect).replaceAll("\n", " ");
  const command = `\\copy (${select}) to '${file}' with (format csv, header)`;
  const options = [databaseUrl, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--command", command];
  await promisify(execFile)("psql", options);
}

/** So many messages of a year, one every `everyMs`. */
export async function seed(control, rows, everyMs = 10_000) {
  await control.query("insert into accounts (account_id) values ($1)", [ACCOUNT]);
  await control.query(
    `insert into messages (account_id, message_id, anchor_at, sent_at, delivered_at, read_at, updated_at, direction,
                           channel_id, chat_id, contact_id, content_kind, template)
     select $1, 'wamid.' || md5(n::text), at, at, at + interval '2 s', case when n % 3 > 0 then at + interval '1 min' end,
            at, 'outbound', 'shop-' || n % 3, '49151' || n % 50000, '49151' || n % 50000, 'template', 'offer_' || n % 20
     from (select n, $2::timestamptz + n * $4::float8 * interval '1 ms' as at from generate_series(1, $3::integer) n) times`,
    [ACCOUNT, PERIOD.from, rows, everyMs],
  );
  await control.query("vacuum analyze messages");
}

/** Writes the answer of `GET /analytics/export` to a file. */
export async function download({ url, apiKey }, format, file) {
  const query = new URLSearchParams({
    ...{ account_id: ACCOUNT, dataset: "messages", format, columns: COLUMNS.join() },
    ...PERIOD,
  });
  const headers = { authorization: `Bearer ${apiKey}`, "accept-encoding": "identity" };
  const response = await new Promise((resolve, reject) => {
    get(new URL(`/analytics/export?${query}`, url), { headers }, resolve).on("error", reject);
  });
  if (response.statusCode !== 200) throw new Error(`GET /analytics/export: ${response.statusCode}`);
  await pipeline(response, createWriteStream(file));
}
