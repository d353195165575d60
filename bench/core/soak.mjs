import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { callJson, post, printBar, printFigure, startService } from "../support.mjs";
import { traffic } from "./traffic.mjs";

const ACCOUNT = "soak";
const MINUTES = Number(process.env.SOAK_MINUTES ?? 10);
/** Caches and heaps fill up at first. */
const WARM_UP_MINUTES = 0.3 * MINUTES;
const EVENTS_PER_REQUEST = 20;
const EVENTS_PER_SECOND = 2_000;
const QUERY_EVERY_MS = 500;
const SAMPLE_EVERY_MS = 5_000;
/** What counts as flat: a day of this growth would be 1.4 GB, so a leak shows and the noise of a heap does not. */
const FLAT_MB_PER_MINUTE = 1;

/** Memory of every process of the service under steady traffic, with queries and a follower beside it. */
export async function run(dataDir) {
  const service = await startService(dataDir, { WORKER_COUNT: "2" });
  const agent = new Agent({ keepAlive: true });
  const ending = new AbortController();
  const events = traffic(ACCOUNT, "disturbed");
  try {
    // The account is made by its first events.
    await post(service, bodyOf(events, 0), "application/json", agent);
    const processes = await programsOf(service.pid);
    const samples = new Map(processes.map(({ name }) => [name, []]));
    const start = performance.now();
    const minutes = () => (performance.now() - start) / 60_000;
    let sent = 0;
    await Promise.all([
      every(1000 / (EVENTS_PER_SECOND / EVENTS_PER_REQUEST), async (index) => {
        await post(service, bodyOf(events, index + 1), "application/json", agent);
        sent += EVENTS_PER_REQUEST;
      }),
      every(QUERY_EVERY_MS, (index) => callJson(service, "GET", questions(index), undefined, agent)),
      follow(),
      every(SAMPLE_EVERY_MS, async () => {
        for (const { name, pid } of processes)
          samples.get(name).push({ minutes: minutes(), megabytes: await residentMegabytes(pid) });
      }),
      progress(minutes, () => sent),
    ]);
    printFigure("soak_events_per_second", sent / (minutes() * 60), "events/s");
    for (const [name, list] of samples) {
      const late = list.filter((sample) => sample.minutes >= WARM_UP_MINUTES);
      printFigure(`soak_rss_${name}_max`, Math.max(...late.map(({ megabytes }) => megabytes)), "MB");
      printBar(`soak_rss_${name}_slope`, slope(late), {
        unit: "MB/min",
        bar: FLAT_MB_PER_MINUTE,
        atMost: true,
      });
    }
  } finally {
    ending.abort();
    agent.destroy();
    await service.stop();
  }

  /** Starts `work` at a steady rate until the time is over, however long each takes. */
  async function every(periodMs, work) {
    const start = performance.now();
    const pending = new Set();
    for (let index = 0; index * periodMs < MINUTES * 60_000; index++) {
      await delay(Math.max(0, start + index * periodMs - performance.now()), undefined, {
        signal: ending.signal,
      });
      const one = work(index).finally(() => pending.delete(one));
      pending.add(one);
      one.catch(() => {});
      if (pending.size > 500) await one;
    }
    await Promise.all(pending);
  }

  /** One who follows the numbers all the time. */
  async function follow() {
    let updates = 0;
    const headers = { authorization: `Bearer ${service.apiKey}` };
    // A signal made of others may be collected before it fires (Node 20).
    const following = new AbortController();
    const { signal } = following;
    ending.signal.addEventListener("abort", () => following.abort());
    const timer = setTimeout(() => following.abort(), MINUTES * 60_000);
    const path = questions(0).replace("/metrics?", "/metrics/stream?");
    try {
      const response = await fetch(service.url + path, { headers, signal });
      for await (const chunk of response.body)
        if (Buffer.from(chunk).includes("event: metrics")) updates += 1;
      throw new Error("the stream of metrics ended");
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
    printFigure("soak_updates_followed", updates, "updates");
  }

  async function progress(minutes, sent) {
    for (let minute = 1; minute < MINUTES; minute++) {
      await delay(60_000, undefined, { signal: ending.signal });
      console.error(`soak: minute ${Math.round(minutes())} of ${MINUTES}, ${sent()} events`);
    }
  }
}

/** A month of traffic again and again, each time as other messages. */
function bodyOf(events, index) {
  const at = index * EVENTS_PER_REQUEST;
  const lap = Math.floor(at / events.length);
  const slice = events.slice(at % events.length, (at % events.length) + EVENTS_PER_REQUEST);
  return Buffer.from(
    JSON.stringify({
      events: slice.map((event) => ({ ...event, message_id: `${event.message_id}-${lap}` })),
    }),
  );
}

const asked = [
  { path: "metrics", metrics: "messages_sent,delivery_rate,time_to_deliver_p95", group_by: "template" },
  { path: "metrics", metrics: "conversations,response_rate,reply_time_p90", group_by: "channel_id" },
  { path: "metrics", metrics: "messages_replied,engagement_rate,queue_depth", interval: "hour" },
  { path: "heatmap", metric: "messages_received" },
];

/** A question of the last month, none the same twice within a minute: what a cache knows costs no memory. */
function questions(index) {
  const { path, ...parameters } = asked[index % asked.length];
  const day = 86_400_000;
  const today = Math.floor(Date.now() / day) * day;
  const query = new URLSearchParams({
    account_id: ACCOUNT,
    from: new Date(today - 30 * day + (index % 96) * 900_000).toISOString(),
    to: new Date(today + day).toISOString(),
    ...parameters,
  });
  return `/analytics/${path}?${query}`;
}

/** The API and the workers below the supervisor. */
async function programsOf(parent) {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,args="]);
  let workers = 0;
  return stdout.split("\n").flatMap((line) => {
    const [, pid, ppid, command] = line.match(/^\s*(\d+)\s+(\d+)\s+(.*)$/) ?? [];
    if (Number(ppid) !== parent) return [];
    if (command.includes("api/main.js")) return [{ name: "api", pid }];
    if (command.includes("workers/main.js")) return [{ name: `worker_${++workers}`, pid }];
    return [];
  });
}

async function residentMegabytes(pid) {
  const [, kilobytes] = (await readFile(`/proc/${pid}/status`, "utf8")).match(/^VmRSS:\s+(\d+) kB$/m);
  return Number(kilobytes) / 1024;
}

/** Of the least-squares line through the samples. */
function slope(samples) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const x = mean(samples.map(({ minutes }) => minutes));
  const y = mean(samples.map(({ megabytes }) => megabytes));
  const covariance = samples.reduce(
    (sum, { minutes, megabytes }) => sum + (minutes - x) * (megabytes - y),
    0,
  );
  return covariance / samples.reduce((sum, { minutes }) => sum + (minutes - x) ** 2, 0);
}
