import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Client, createClient } from "./client.js";
import { orderReports } from "./reports.js";
import { lastLines, type Service, startService } from "./service.js";
import { deliveryTable, foldProgress, type Range, sendTraffic, sendWebhooks } from "./steps.js";
import { formatCount } from "./terminal.js";
import { demoPeriod, disturb, generateTraffic } from "./traffic.js";

const ACCOUNT = "demo-shop";
const OUTPUT = resolve("demo-output");
const LOG_FILE = join(OUTPUT, "service.log");
const SAMPLE_WEBHOOKS = resolve("test/fixtures/whatsapp-cloud");

/** From nothing to checked report files: start the service, send it a month, read it back, compare. */
async function demo(messages: number, keep: boolean, interrupted: AbortSignal): Promise<void> {
  const appSecret = randomBytes(16).toString("hex");
  const dataDir = await mkdtemp(join(tmpdir(), "whatsapp-analytics-demo-"));
  let service: Service | undefined;
  try {
    console.log("Starting the service: embedded PostgreSQL, API, workers, scheduler …");
    service = await startService({
      dataDir,
      logFile: LOG_FILE,
      appSecret,
      verifyToken: randomBytes(16).toString("hex"),
      signal: interrupted,
    });
    const signal = AbortSignal.any([interrupted, service.died]);
    const client = createClient({ ...service, signal });
    console.log(`  up at ${service.url} after ${process.uptime().toFixed(1)} s\n`);

    console.log("Webhooks as Meta sends them, signed:");
    await sendWebhooks(client, SAMPLE_WEBHOOKS, appSecret);

    const period = demoPeriod(Date.now());
    const range = {
      account_id: ACCOUNT,
      from: new Date(period.from).toISOString(),
      to: new Date(period.to).toISOString(),
      time_zone: "UTC",
    };
    await monthOfTraffic(client, range, messages, signal);

    console.log("\nReports as CSV, JSON, NDJSON and XLSX, and one as a page to look at:");
    const summary = { ...range, interval: "day", group_by: ["template"] };
    await orderReports(
      client,
      [
        { template: "delivery-summary", request: summary, expectedRows: undefined },
        { template: "message-log", request: range, expectedRows: messages },
        { template: "executive-overview", request: summary, formats: ["html"], expectedRows: undefined },
      ],
      OUTPUT,
      signal,
    );

    console.log(
      `\nDone in ${process.uptime().toFixed(1)} s: every number and every file agreed. Open, for example,`,
    );
    for (const file of ["executive-overview.html", "delivery-summary.xlsx", "message-log.csv"])
      console.log(`  ${relative(process.cwd(), join(OUTPUT, file))}`);
    if (keep) await stayUp(service, interrupted);
  } finally {
    await service?.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function monthOfTraffic(
  client: Client,
  range: Range,
  messages: number,
  signal: AbortSignal,
): Promise<void> {
  const { events, totals } = generateTraffic({
    seed: 1,
    messages,
    from: Date.parse(range.from),
    to: Date.parse(range.to),
    accountId: range.account_id,
  });
  const arriving = disturb(events, 2);
  const copies = formatCount(arriving.length - events.length);
  console.log(
    `\nA month of "${ACCOUNT}": ${formatCount(messages)} messages, ${formatCount(arriving.length)} events,`,
  );
  console.log(`out of order, some days late, ${copies} of them sent twice:`);
  await sendTraffic(client, arriving, events.length);
  await foldProgress(client, range, totals, signal);
  console.log("\nDelivery by template, as GET /analytics/metrics answers:\n");
  await deliveryTable(client, range);
}

async function stayUp({ url, apiKey, died }: Service, interrupted: AbortSignal): Promise<void> {
  console.log("\nThe service stays up until Ctrl-C, then its data is gone:");
  console.log(`  API         ${url}    Authorization: Bearer ${apiKey}`);
  console.log(`  Bull Board  ${url}/admin/queues`);
  const ended = AbortSignal.any([interrupted, died]);
  await new Promise((resolve) => ended.addEventListener("abort", resolve, { once: true }));
  if (!interrupted.aborted) throw died.reason;
}

/** An aborted wait fails with "The operation was aborted"; why is in its cause. */
function reasonOf(error: unknown): Error {
  const { name, cause } = error as Error;
  return name === "AbortError" && cause instanceof Error ? cause : (error as Error);
}

const { values: options } = parseArgs({
  options: { keep: { type: "boolean", default: false }, messages: { type: "string", default: "50000" } },
});
const messages = Number(options.messages);
if (!Number.isInteger(messages) || messages < 1) {
  console.error("--messages must be a whole number above 0");
  process.exit(2);
}
const interruption = new AbortController();
// Once: a second Ctrl-C ends the demo at once, as anybody would expect.
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interruption.abort());

await mkdir(OUTPUT, { recursive: true });
try {
  await demo(messages, options.keep, interruption.signal);
} catch (error) {
  if (interruption.signal.aborted) {
    console.log("\nStopped; nothing is left running.");
    process.exitCode = 130;
  } else {
    console.error(`\nThe demo failed: ${reasonOf(error).message}`);
    const tail = await lastLines(LOG_FILE, 15);
    if (tail) console.error(`\nThe service's last words (${relative(process.cwd(), LOG_FILE)}):\n${tail}`);
    process.exitCode = 1;
  }
}
