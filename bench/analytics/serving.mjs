import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { Agent } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import autocannon from "autocannon";
import { ingest, streamsOf, traffic } from "../core/traffic.mjs";
import {
  callJson,
  median,
  percentile,
  post,
  printBar,
  printFigure,
  startRedis,
  startService,
} from "../support.mjs";
import { accounts, followed, questions, zipf } from "./questions.mjs";

const CLIENTS = 1_000;
const FOLLOWERS = 1_000;
const ROUNDS = 3;
const SECONDS = 10;
/** node:cluster hands over one connection at a time, and busy processes are slow to take them. */
const CONNECTED_WITHIN_SECONDS = 60;
/** An update that is later than this counts as never. */
const LAST_UPDATE_MS = 5_000;
const FOLLOWED_SECONDS = 15;
/** Of its own mix for each client. */
const QUESTIONS_OF_CLIENT = 40;

/** Metrics for many who ask much the same, beside a bare Express that has the bytes ready, and for many who follow. */
export async function run(dataDir) {
  const redis = await startRedis(dataDir);
  if (!redis) return console.log("SKIPPED analytics/serving: there is no redis-server here");
  const started = [redis];
  try {
    const service = await startService(dataDir, {
      CONFIG_DIR: await configOf(dataDir),
      REDIS_URL: redis.url,
      WORKER_COUNT: "2",
    });
    started.unshift(service);
    for (const account of accounts) await ingest(service, streamsOf(traffic(account, "ordered")));
    const nowMs = Date.now();
    await untilFolded(service, nowMs);
    const paths = questions(nowMs);
    const peer = await startPeer(dataDir, await answersOf(service, paths));
    started.unshift(peer);
    await compare(service, peer, paths);
    await peer.stop();
    await follow(dataDir, service, paths, nowMs);
    printFigure("serving_hit_ratio", await hitRatio(service), "of 1");
  } finally {
    for (const { stop } of started) await stop();
  }
}

/** The benches' own configuration, with two API processes. */
async function configOf(dataDir) {
  const folder = join(dataDir, "config");
  await mkdir(folder);
  await copyFile(new URL("../config/security.yaml", import.meta.url), join(folder, "security.yaml"));
  await writeFile(join(folder, "performance.yaml"), "worker_processes: 2\n");
  return folder;
}

async function untilFolded(service, sinceMs) {
  for (const account of accounts) {
    const path = questions(sinceMs).find((one) => one.includes(`account_id=${account}&`));
    while (Date.parse((await callJson(service, "GET", path)).as_of) < sinceMs) await delay(100);
  }
}

async function answersOf(service, paths) {
  const answers = [];
  for (const path of paths) answers.push([path, JSON.stringify(await callJson(service, "GET", path))]);
  const bytes = answers.map(([, text]) => text.length);
  printFigure("serving_answer_median", median(bytes), "bytes");
  return answers;
}

/** Forks a program of this folder and waits for its word. */
async function startProgram(name, env) {
  const child = fork(fileURLToPath(new URL(name, import.meta.url)), [], { env: { ...process.env, ...env } });
  const messages = [];
  let url;
  await new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error(`${name} ended`)));
    child.on("message", (message) => {
      messages.push(message);
      if (message.type === "failed") reject(new Error(`${name}: ${message.reason}`));
      if (message.type !== "ready") return;
      url = message.url;
      resolve();
    });
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  };
  return { url, messages, stop };
}

async function startPeer(dataDir, answers) {
  const file = join(dataDir, "answers.json");
  await writeFile(file, JSON.stringify(answers));
  return startProgram("bare-express.mjs", { ANSWERS: file });
}

/** Clients that ask again as soon as they have their answer. Counts from when all of them are connected and warm. */
async function load({ url, apiKey = "none" }, paths, seconds) {
  const pick = zipf(paths.length);
  const connected = new Set();
  const reasons = new Set();
  const times = [];
  let from;
  const running = autocannon({
    url,
    connections: CLIENTS,
    duration: CONNECTED_WITHIN_SECONDS + seconds,
    timeout: 30,
    headers: { authorization: `Bearer ${apiKey}` },
    setupClient: (client) => client.setRequests(mixOf(paths, pick)),
  });
  running.on("reqError", (error) => reasons.add(error.code ?? error.message));
  running.on("response", (client, _status, _bytes, ms) => {
    if (from !== undefined) times.push(ms);
    else if (connected.add(client).size === CLIENTS) {
      from = performance.now();
      setTimeout(() => running.stop(), seconds * 1000);
    }
  });
  const result = await running;
  if (reasons.size > 0) console.error(`serving: requests failed: ${[...reasons].join(", ")}`);
  if (from === undefined) throw new Error(`${connected.size} of ${CLIENTS} clients were answered in time`);
  return {
    perSecond: times.length / seconds,
    p99Ms: percentile(times, 0.99),
    errors: result.errors + result.non2xx,
  };
}

const mixOf = (paths, pick) =>
  Array.from({ length: QUESTIONS_OF_CLIENT }, () => ({ method: "GET", path: paths[pick(Math.random())] }));

async function compare(service, peer, paths) {
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const sides = { ours: service, bare: peer };
    const order = round % 2 === 0 ? ["ours", "bare"] : ["bare", "ours"];
    const results = {};
    for (const side of order) results[side] = await load(sides[side], paths, SECONDS);
    rounds.push(results);
  }
  const of = (side, name) => rounds.map((results) => results[side][name]);
  printFigure("serving_requests", median(of("ours", "perSecond")), "requests/s");
  printFigure("serving_bare_express", median(of("bare", "perSecond")), "requests/s");
  printFigure("serving_bare_express_p99", Math.max(...of("bare", "p99Ms")) / 1000, "seconds");
  printBar("serving_errors", Math.max(...of("ours", "errors"), ...of("bare", "errors")), {
    unit: "errors",
    bar: 0,
    atMost: true,
  });
  printBar("serving_p99", Math.max(...of("ours", "p99Ms")) / 1000, { unit: "seconds", bar: 2, atMost: true });
  const ratios = rounds.map(({ ours, bare }) => ours.perSecond / bare.perSecond);
  printBar("serving_vs_bare_express", median(ratios), { bar: 0.5 });
}

/** The same clients go on asking, others follow the live account, into which an event comes every second. */
async function follow(dataDir, service, paths, nowMs) {
  const file = join(dataDir, "followed.json");
  await writeFile(file, JSON.stringify([service.url, service.apiKey, ...followed(nowMs, FOLLOWERS)]));
  const followers = await startProgram("followers.mjs", { FOLLOW: file });
  const agent = new Agent({ keepAlive: true });
  try {
    const base = followers.messages.find(({ type }) => type === "seen").total;
    const loaded = load(service, paths, FOLLOWED_SECONDS);
    const acknowledged = [];
    for (let index = 0; index < FOLLOWED_SECONDS; index++) {
      const pause = delay(1_000);
      await post(service, oneEvent(index), "application/json", agent);
      acknowledged.push(Date.now());
      await pause;
    }
    const { errors, p99Ms } = await loaded;
    await delay(LAST_UPDATE_MS);
    const delays = delaysOf(followers.messages, acknowledged, base);
    const failed = followers.messages.filter(({ type }) => type === "failed");
    for (const { index, reason } of failed) console.error(`serving: follower ${index}: ${reason}`);
    printBar("following_errors", errors + failed.length, { unit: "errors", bar: 0, atMost: true });
    printFigure("following_requests_p99", p99Ms / 1000, "seconds");
    printFigure("following_delay_median", median(delays) / 1000, "seconds");
    printBar("following_delay_max", Math.max(...delays) / 1000, { unit: "seconds", bar: 2, atMost: true });
  } finally {
    agent.destroy();
    await followers.stop();
  }
}

const oneEvent = (index) =>
  Buffer.from(
    JSON.stringify({
      events: [
        {
          account_id: "live",
          type: "message.sent",
          message_id: `followed-${index}`,
          occurred_at: new Date().toISOString(),
        },
      ],
    }),
  );

/** For every follower and event, the milliseconds until the follower's total had it; infinite if it never had. */
function delaysOf(messages, acknowledged, base) {
  const firstAt = Array.from({ length: FOLLOWERS }, () => acknowledged.map(() => Number.POSITIVE_INFINITY));
  for (const { type, index, total, at } of messages) {
    if (type !== "seen") continue;
    for (let event = 0; event < Math.min(total - base, acknowledged.length); event++)
      firstAt[index][event] = Math.min(firstAt[index][event], at);
  }
  return firstAt.flatMap((times) => times.map((at, event) => Math.max(0, at - acknowledged[event])));
}

/** Of all API processes: a connection of its own comes to any of them. */
async function hitRatio(service) {
  const agent = new Agent({ keepAlive: false });
  const processes = new Map();
  for (let index = 0; index < 10; index++) {
    const { pid, metrics_cache: cache } = await callJson(
      service,
      "GET",
      "/analytics/diagnostics",
      undefined,
      agent,
    );
    processes.set(pid, cache);
  }
  const sum = (name) => [...processes.values()].reduce((total, cache) => total + cache[name], 0);
  const hits = sum("memory_hits") + sum("shared_hits") + sum("collapsed");
  return hits / (hits + sum("computed"));
}
