import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import pg from "pg";
import { messageColumns, messagesFrom } from "../../dist/db/queries/message-rows.js";
import { csvCopySql } from "../../dist/exports/csv.js";
import { isInstalled, median, printBar, printFigure, ROUNDS, startApiOnly, timed } from "../support.mjs";

const ROWS = 1_000_000;
const ACCOUNT = "export";
const PERIOD = { from: "2026-01-01T00:00:00.000Z", to: "2027-01-01T00:00:00.000Z" };
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

/** How fast rows leave over HTTP, compared with psql writing the result of the same SELECT to a file. */
export async function run(dataDir) {
  if (!isInstalled("psql")) return console.log("SKIPPED export_vs_psql: psql is not installed");
  const service = await startApiOnly(dataDir);
  const control = new pg.Client({ connectionString: service.databaseUrl });
  try {
    await control.connect();
    await seed(control);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const sides = { http: () => download(service, dataDir), psql: () => copy(service, dataDir) };
      const rates = {};
      for (const side of round % 2 === 0 ? ["http", "psql"] : ["psql", "http"])
        rates[side] = ROWS / (await timed(sides[side]));
      await compareFiles(dataDir);
      rounds.push(rates);
    }
    printFigure("export_http_csv", median(rounds.map(({ http }) => http)), "rows/s");
    printFigure("export_psql_copy", median(rounds.map(({ psql }) => psql)), "rows/s");
    printBar("export_http_vs_psql", median(rounds.map(({ http, psql }) => http / psql)), { bar: 0.7 });
  } finally {
    await control.end();
    await service.stop();
  }
}

async function seed(control) {
  await control.query("insert into accounts (account_id) values ($1)", [ACCOUNT]);
  await control.query(
    `insert into messages (account_id, message_id, anchor_at, sent_at, delivered_at, read_at, updated_at, direction,
                           channel_id, chat_id, contact_id, content_kind, template)
     select $1, 'wamid.' || md5(n::text), at, at, at + interval '2 s', case when n % 3 > 0 then at + interval '1 min' end,
            at, 'outbound', 'shop-' || n % 3, '49151' || n % 50000, '49151' || n % 50000, 'template', 'offer_' || n % 20
     from (select n, $2::timestamptz + n * interval '10 s' as at from generate_series(1, $3::integer) n) times`,
    [ACCOUNT, PERIOD.from, ROWS],
  );
  await control.query("vacuum analyze messages");
}

const httpFile = (dataDir) => join(dataDir, "http.csv");
const psqlFile = (dataDir) => join(dataDir, "psql.csv");

async function download({ url, apiKey }, dataDir) {
  const query = new URLSearchParams({
    account_id: ACCOUNT,
    dataset: "messages",
    columns: COLUMNS.join(),
    ...PERIOD,
  });
  const headers = { authorization: `Bearer ${apiKey}`, "accept-encoding": "identity" };
  const response = await new Promise((resolve, reject) => {
    get(new URL(`/analytics/export?${query}`, url), { headers }, resolve).on("error", reject);
  });
  if (response.statusCode !== 200) throw new Error(`GET /analytics/export: ${response.statusCode}`);
  await pipeline(response, createWriteStream(httpFile(dataDir)));
}

async function copy({ databaseUrl }, dataDir) {
  const columns = COLUMNS.map((name) => messageColumns.find((column) => column.name === name));
  const period = { from: new Date(PERIOD.from), to: new Date(PERIOD.to) };
  const selection = { accountId: ACCOUNT, ...period, filters: {} };
  const [, select] = csvCopySql(columns, messagesFrom(selection, { ordered: true })).match(
    /^COPY (\(.*\)) TO STDOUT/s,
  );
  const command = `\\copy ${select} to '${psqlFile(dataDir)}' with (format csv, header)`;
  await promisify(execFile)("psql", [
    databaseUrl,
    "--no-psqlrc",
    "--set=ON_ERROR_STOP=1",
    "--command",
    command,
  ]);
}

/** Both wrote the same rows: ours ends each with CR LF, psql with LF. */
async function compareFiles(dataDir) {
  const [http, psql] = await Promise.all([stat(httpFile(dataDir)), stat(psqlFile(dataDir))]);
  if (http.size !== psql.size + ROWS + 1)
    throw new Error(`files differ: ${http.size} and ${psql.size} bytes`);
}
