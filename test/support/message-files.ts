import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { buildExport } from "../../src/jobs/build-export.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { dangerous, harmless } from "../exports/injection-corpus.js";
import { call, startTestApp } from "./app.js";
import { foldAll, openWork } from "./work.js";

/** Begins and ends the days that the messages are of. */
export const range = { from: "2026-03-28T00:00:00Z", to: "2026-03-31T00:00:00Z" } as const;

/** Every text that an importer may trip over; the API takes no empty ones. */
export const corpus = [...dangerous, ...harmless].filter((text) => text !== "");

/** The columns of the files in their order, with their types in plain SQL. */
export const fileColumns: Record<string, "text" | "timestamptz"> = {
  ...{ account_id: "text", message_id: "text", channel_id: "text", chat_id: "text", contact_id: "text" },
  ...{ direction: "text", content_kind: "text", template: "text", campaign_id: "text" },
  ...{
    queued_at: "timestamptz",
    sent_at: "timestamptz",
    delivered_at: "timestamptz",
    read_at: "timestamptz",
  },
  ...{ played_at: "timestamptz", failed_at: "timestamptz", received_at: "timestamptz" },
  ...{ error_code: "text", error_class: "text", status: "text", updated_at: "timestamptz" },
};

/** What the files must say, by SQL that shares nothing with the product's; files tell milliseconds. */
const truth = `
  select ${Object.entries(fileColumns)
    .map(([name, type]) => {
      if (type === "timestamptz") return `date_trunc('milliseconds', ${name}) as ${name}`;
      if (name !== "status") return `${name}::text as ${name}`;
      const stages = ["played", "read", "delivered", "failed", "sent", "accepted", "queued", "received"];
      return `case ${stages.map((stage) => `when ${stage}_at is not null then '${stage}'`).join(" ")} end as status`;
    })
    .join(", ")}
  from messages where account_id = 'shop'`;

export interface MessageFiles extends AsyncDisposable {
  pool: pg.Pool;
  /** `truth` as a query: one row a message. */
  truth: string;
  get(path: string, parameters: Record<string, string>): Promise<Buffer>;
  /** Orders a file by HTTP, does the work, and downloads it. */
  report(body: Record<string, unknown>): Promise<Buffer>;
  export(body: Record<string, unknown>): Promise<Buffer>;
}

/** An installation whose one account got every text of the corpus by HTTP, in every field that has room for it. */
export async function openMessageFiles(): Promise<MessageFiles> {
  const dataDir = await mkdtemp(join(tmpdir(), "files-test-"));
  const app = await startTestApp({ env: { DATA_DIR: dataDir } });
  const { pool, db } = app.context;
  const work = await openWork({
    test: { url: app.databaseUrl, pool, db, close: async () => {} },
    artifactRoot: join(dataDir, "artifacts"),
  });
  const posted = await call(app.url, "POST", "/analytics/events", {
    key: app.adminKey,
    body: { events: corpus.flatMap(eventsOf) },
  });
  if (posted.status >= 300) throw new Error(posted.text);
  await foldAll(app.context, "shop");

  async function fetchBytes(path: string): Promise<Buffer> {
    const response = await fetch(app.url + path, { headers: { authorization: `Bearer ${app.adminKey}` } });
    const bytes = Buffer.from(await response.arrayBuffer());
    if (response.status !== 200) throw new Error(`${response.status} ${bytes}`);
    return bytes;
  }
  async function order(kind: "report" | "export", body: Record<string, unknown>): Promise<Buffer> {
    const path = `/analytics/${kind}s`;
    const { status, text, json } = await call(app.url, "POST", path, {
      key: app.adminKey,
      body: { account_id: "shop", ...range, ...body },
    });
    if (status !== 202) throw new Error(`${status} ${text}`);
    const run = await work.run({ accountId: "shop", runId: json.id, generation: 1 });
    const key = { accountId: "shop", runId: run.run_id, generation: run.generation };
    await work.work(kind === "report" ? buildReport : buildExport, key);
    return fetchBytes(`${path}/${run.run_id}/download`);
  }
  return {
    pool,
    truth,
    get: (path, parameters) => fetchBytes(`${path}?${new URLSearchParams(parameters)}`),
    report: (body) => order("report", { template: "message-log", ...body }),
    export: (body) => order("export", { dataset: "messages", ...body }),
    async [Symbol.asyncDispose]() {
      await work.close();
      await app.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** One message: its stages cross the change to summer time in Europe, and some of its facts are missing. */
function eventsOf(text: string, index: number): unknown[] {
  const at = (second: number) => new Date(Date.UTC(2026, 2, 29, 0, index, second, 120 + index)).toISOString();
  const say = (type: string, second: number, more: object = {}) => ({
    account_id: "shop",
    type: `message.${type}`,
    message_id: index % 3 === 0 ? text : `m${index}`,
    occurred_at: at(second),
    channel_id: index % 2 === 0 ? "00491701" : text.slice(0, 200),
    contact_id: text,
    chat_id: `+4917012345${index}`,
    template: { name: text },
    tags: [text.slice(0, 128)],
    ...(index % 4 === 0 ? {} : { campaign_id: text }),
    ...more,
  });
  return [
    say("queued", 0),
    say("sent", 1),
    ...(index % 5 === 0
      ? [say("failed", 5, { error: { code: text.slice(0, 64), class: text.slice(0, 64) } })]
      : [say("delivered", 3600 + index), ...(index % 2 ? [say("read", 7200)] : [])]),
  ];
}
