import { demoPeriod, disturb, generateTraffic } from "../../dist/cli/demo/traffic.js";
import { post } from "../support.mjs";

const MESSAGES = 34_000;
const SEED = 7;
export const STREAMS = 4;

/**
 * A month of a shop's events for one account: `ordered` by time, `disturbed` as a real system meets them (late, and
 * every twentieth twice), or `late`, which is disturbed without the repetitions.
 */
export function traffic(accountId, order) {
  let events = generated.get(order);
  if (!events) {
    events = generate(order);
    generated.set(order, events);
  }
  return events.map((event) => ({ ...event, account_id: accountId }));
}

/** By order: making a month anew for every round would take longer than to measure it. */
const generated = new Map();

function generate(order) {
  const period = demoPeriod(Date.now());
  const { events } = generateTraffic({ seed: SEED, messages: MESSAGES, ...period, accountId: "" });
  if (order === "disturbed") return disturb(events, SEED);
  if (order === "late") return [...new Set(disturb(events, SEED))];
  return events.sort((a, b) => Date.parse(a.occurred_at) - Date.parse(b.occurred_at));
}

/** NDJSON bodies, one a stream. Neighbours go to different streams, so that all of them move through the same days. */
export function streamsOf(events) {
  const lines = Array.from({ length: STREAMS }, () => []);
  for (const [index, event] of events.entries()) lines[index % STREAMS].push(JSON.stringify(event));
  return lines.map((list) => Buffer.from(`${list.join("\n")}\n`));
}

/** Sends all streams at once; resolves when every event is committed. Throws when one was refused. */
export async function ingest(service, streams) {
  const answers = await Promise.all(streams.map((body) => post(service, body, "application/x-ndjson")));
  const refused = answers.reduce((sum, answer) => sum + answer.rejected_total, 0);
  if (refused > 0) throw new Error(`${refused} events refused: ${JSON.stringify(answers[0].rejected[0])}`);
  return answers.reduce((sum, answer) => sum + answer.accepted, 0);
}
