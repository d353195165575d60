import { setTimeout as delay } from "node:timers/promises";
import type { EventJson } from "../../sources/canonical-event.js";
import type { Client, Ingested, MetricsRow, WebhookTaken } from "./client.js";
import type { TrafficTotals } from "./lifecycle.js";
import { createProgress, formatCount, printTable } from "./terminal.js";
import { sign, signedWebhooks } from "./webhooks.js";

const STREAMS = 4;
const LINES_PER_CHUNK = 500;
const FOLD_POLL_MS = 500;
/** The service folds within seconds; a minute without any movement means that something is wrong. */
const FOLD_STALL_MS = 60_000;

/** Account, range and zone, as every metrics and report request names them. */
export interface Range {
  account_id: string;
  from: string;
  to: string;
  time_zone: string;
}

/** Sends every sample as Meta would, and one with a forged signature. */
export async function sendWebhooks(client: Client, directory: string, appSecret: string): Promise<void> {
  const taken = { webhooks: 0, accepted: 0, duplicates: 0, quarantined: 0 };
  for await (const { name, body, signature } of signedWebhooks(directory, appSecret)) {
    const response = await client.postWebhook(body, signature);
    if (response.status !== 200)
      throw new Error(`webhook ${name}: ${response.status} ${await response.text()}`);
    const { accepted, duplicates, quarantined } = (await response.json()) as WebhookTaken;
    taken.webhooks++;
    taken.accepted += accepted;
    taken.duplicates += duplicates;
    taken.quarantined += quarantined;
  }
  if (taken.webhooks === 0) {
    console.log(`  skipped: no samples in ${directory}`);
    return;
  }
  console.log(
    `  ${taken.webhooks} webhooks: ${taken.accepted} events counted, ${taken.duplicates} seen before,`,
  );
  console.log(`  ${taken.quarantined} parts quarantined with their reason (nothing to count in them)`);

  const forged = await client.postWebhook(Buffer.from("{}"), sign(Buffer.from("{}"), "not the app's secret"));
  await forged.arrayBuffer();
  if (forged.status !== 401) throw new Error(`a forged webhook was answered with ${forged.status}, not 401`);
  console.log("  a forged one: refused with 401");
}

/** Sends the events in the given order over a few streams at once, and insists on an exact receipt. */
export async function sendTraffic(
  client: Client,
  events: readonly EventJson[],
  distinct: number,
): Promise<void> {
  const progress = createProgress("sending");
  const startedAt = performance.now();
  // The first event alone: it makes the account.
  const [first, ...others] = events;
  const receipts: Ingested[] = [await client.postEvents([first])];
  let sent = 1;

  async function* chunksOf(stream: number): AsyncGenerator<Uint8Array> {
    const own = others.filter((_event, index) => index % STREAMS === stream);
    for (let start = 0; start < own.length; start += LINES_PER_CHUNK) {
      const chunk = own.slice(start, start + LINES_PER_CHUNK);
      yield Buffer.from(chunk.map((event) => `${JSON.stringify(event)}\n`).join(""));
      sent += chunk.length;
      progress.update(sent / events.length, `${formatCount(sent)} events`);
    }
  }
  const streams = Array.from({ length: STREAMS }, (_, stream) => client.streamEvents(chunksOf(stream)));
  receipts.push(...(await Promise.all(streams)));

  const sum = (pick: (receipt: Ingested) => number) =>
    receipts.reduce((total, each) => total + pick(each), 0);
  const accepted = sum((receipt) => receipt.accepted);
  const duplicates = sum((receipt) => receipt.duplicates);
  const rejected = receipts.flatMap((receipt) => receipt.rejected);
  if (rejected[0])
    throw new Error(`${sum((r) => r.rejected_total)} events rejected, one with: ${rejected[0].message}`);
  if (accepted !== distinct || accepted + duplicates !== events.length)
    throw new Error(
      `sent ${distinct} events and ${events.length - distinct} copies, but the receipt says ${accepted} and ${duplicates}`,
    );

  const seconds = (performance.now() - startedAt) / 1000;
  progress.done(
    `${formatCount(accepted)} events and ${formatCount(duplicates)} duplicates in ${seconds.toFixed(1)} s (${formatCount(events.length / seconds)}/s)`,
  );
}

/** Waits until the service counts what the generator knows, to the last message. */
export async function foldProgress(
  client: Client,
  range: Range,
  expected: TrafficTotals,
  signal: AbortSignal,
): Promise<void> {
  const progress = createProgress("folding");
  const names = Object.keys(expected) as (keyof TrafficTotals)[];
  const goal = expected.attempted + expected.received;
  const startedAt = performance.now();
  let movedAt = startedAt;
  let before = "";
  for (;;) {
    const metrics = names.map((name) => `messages_${name}`).join(",");
    const { totals } = await client.metrics({ ...range, metrics, interval: "all" });
    const counted = (name: keyof TrafficTotals) => Number(totals[0]?.[`messages_${name}`]);
    if (names.every((name) => counted(name) === expected[name])) break;

    const state = names.map((name) => `${name} ${counted(name)} of ${expected[name]}`).join(", ");
    if (state !== before) movedAt = performance.now();
    before = state;
    if (performance.now() - movedAt > FOLD_STALL_MS) throw new Error(`the counts stand still: ${state}`);
    const known = counted("attempted") + counted("received");
    progress.update(known / goal, `${formatCount(known)} messages`);
    await delay(FOLD_POLL_MS, undefined, { signal });
  }
  const seconds = (performance.now() - startedAt) / 1000;
  progress.done(`all ${names.length} counts exact ${seconds.toFixed(1)} s after the last event`);
}

/** Prints what became of each template's messages. */
export async function deliveryTable(client: Client, range: Range): Promise<void> {
  const counts = ["attempted", "sent", "delivered", "read", "failed"] as const;
  const metrics = [
    ...counts.map((name) => `messages_${name}`),
    "delivery_rate",
    "time_to_deliver_p50",
    "time_to_deliver_p95",
  ];
  const { totals } = await client.metrics({
    ...range,
    interval: "all",
    group_by: "template",
    metrics: metrics.join(","),
  });
  const number = (row: MetricsRow, name: string, write: (value: number) => string) =>
    row[name] === null || row[name] === undefined ? "–" : write(Number(row[name]));
  const seconds = (value: number) =>
    value < 100 ? `${value.toFixed(1)} s` : `${(value / 60).toFixed(0)} min`;
  printTable(
    ["template", ...counts, "delivery", "p50", "p95"],
    totals
      .toSorted((a, b) => Number(b.messages_attempted) - Number(a.messages_attempted))
      .map((row) => [
        row.template === null ? "(free text)" : String(row.template),
        ...counts.map((name) => number(row, `messages_${name}`, formatCount)),
        number(row, "delivery_rate", (value) => `${(value * 100).toFixed(1)} %`),
        number(row, "time_to_deliver_p50", seconds),
        number(row, "time_to_deliver_p95", seconds),
      ]),
  );
}
