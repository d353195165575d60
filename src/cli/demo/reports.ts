import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Client, Run } from "./client.js";
import { countRecords, type Format, formats } from "./records.js";
import { createProgress, formatCount } from "./terminal.js";

const POLL_MS = 500;
const DEADLINE_MS = 180_000;

export interface Report {
  template: string;
  request: Record<string, unknown>;
  /** Instead of all that are for programs. */
  formats?: readonly Format[];
  /** If known beforehand. */
  expectedRows: number | undefined;
}

interface Order {
  name: string;
  format: Format;
  expectedRows: number | undefined;
  run: Run;
}

/**
 * Orders each report in its formats, all at once, watches them on their way and stores what comes out in `directory`.
 * A report that fails, or a file that is not what the service said of it, is an error.
 */
export async function orderReports(
  client: Client,
  reports: readonly Report[],
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const orders: Order[] = [];
  for (const { template, request, expectedRows, formats: wanted = formats } of reports)
    for (const format of wanted) {
      const run = await client.requestReport({ ...request, template, format });
      orders.push({ name: `${template}.${format}`, format, expectedRows, run });
    }

  const progress = createProgress("reports");
  const waiting = new Set(orders);
  const deadline = Date.now() + DEADLINE_MS;
  while (waiting.size > 0) {
    for (const order of waiting) {
      order.run = await client.run(order.run.links.self);
      if (order.run.status === "queued" || order.run.status === "running") continue;
      waiting.delete(order);
      await fetchAndCheck(client, order, directory);
      progress.say(`  ✓ ${order.name.padEnd(24)} ${describe(order.run)}`);
    }
    progress.update(overall(orders), stillRunning(waiting));
    if (Date.now() > deadline)
      throw new Error(`not finished after ${DEADLINE_MS / 1000} s: ${stillRunning(waiting)}`);
    if (waiting.size > 0) await delay(POLL_MS, undefined, { signal });
  }
  progress.done(`${orders.length} files checked: rows, bytes and SHA-256`);
}

async function fetchAndCheck(client: Client, order: Order, directory: string): Promise<void> {
  const { name, format, run, expectedRows } = order;
  if (run.status !== "succeeded" || !run.artifact) {
    const why = run.error ? `${run.error.code}, ${run.error.message}` : "no artifact";
    throw new Error(`${name} ${run.status}: ${why}`);
  }
  const promised = run.artifact;
  const file = join(directory, name);
  const { bytes, sha256 } = await client.download(run.links.download ?? `${run.links.self}/download`, file);
  const found = { bytes, sha256, rows: await countRecords(file, format) };
  for (const key of ["bytes", "sha256", "rows"] as const)
    if (found[key] !== promised[key])
      throw new Error(`${name}: the service promised ${key} ${promised[key]}, the file has ${found[key]}`);
  if (expectedRows !== undefined && found.rows !== expectedRows)
    throw new Error(`${name} has ${found.rows} rows, not ${expectedRows}`);
}

function describe({ artifact }: Run): string {
  if (!artifact) return "";
  return `${formatCount(artifact.rows).padStart(7)} rows  ${formatCount(artifact.bytes / 1024).padStart(7)} KiB  ${artifact.sha256.slice(0, 12)}…`;
}

function fractionOf({ status, progress }: Run): number {
  return status === "succeeded" ? 1 : (progress?.fraction ?? 0);
}

function overall(orders: readonly Order[]): number {
  return orders.reduce((sum, { run }) => sum + fractionOf(run), 0) / orders.length;
}

function stillRunning(orders: Iterable<Order>): string {
  return [...orders].map(({ name, run }) => `${name} ${Math.floor(fractionOf(run) * 100)} %`).join(", ");
}
