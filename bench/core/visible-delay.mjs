import { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { percentile, post, printBar, printFigure, startService } from "../support.mjs";
import { traffic } from "./traffic.mjs";

const ACCOUNT = "live";
const EVENTS_PER_REQUEST = 10;
const REQUESTS_PER_SECOND = 50;
const SECONDS = 25;
const PROBES_PER_SECOND = 5;
const HOUR_MS = 3_600_000;
const POLL_MS = 20;
const GIVE_UP_MS = 30_000;

/** How long after the answer to its request an event shows in the metrics, under steady load on the same account. */
export async function run(dataDir) {
  const service = await startService(dataDir);
  const agent = new Agent({ keepAlive: true });
  const send = (events) => post(service, Buffer.from(JSON.stringify({ events })), "application/json", agent);
  try {
    const events = traffic(ACCOUNT, "disturbed");
    await send(events.splice(0, EVENTS_PER_REQUEST));
    const [delays] = await Promise.all([
      atRate(PROBES_PER_SECOND, (index) => probe(service, send, index)),
      atRate(REQUESTS_PER_SECOND, (index) =>
        send(events.slice(index * EVENTS_PER_REQUEST, (index + 1) * EVENTS_PER_REQUEST)),
      ),
    ]);
    printFigure("visible_delay_p50", percentile(delays, 0.5), "seconds");
    printFigure("visible_delay_max", Math.max(...delays), "seconds");
    printBar("visible_delay_p95", percentile(delays, 0.95), { unit: "seconds", bar: 2, atMost: true });
  } finally {
    agent.destroy();
    await service.stop();
  }
}

/** Starts `work` so many times a second, however long each takes, and resolves with all results. */
async function atRate(perSecond, work) {
  const start = performance.now();
  return Promise.all(
    Array.from({ length: SECONDS * perSecond }, async (_, index) => {
      await delay(start + (index * 1000) / perSecond - performance.now());
      return work(index);
    }),
  );
}

/** One message under a campaign of its own. Seconds from the answer until the metrics count it. */
async function probe(service, send, index) {
  const campaign_id = `probe-${index}`;
  const now = Date.now();
  const hour = Math.floor(now / HOUR_MS) * HOUR_MS;
  await send([
    {
      account_id: ACCOUNT,
      type: "message.sent",
      message_id: campaign_id,
      channel_id: "shop-eu",
      campaign_id,
      occurred_at: new Date(now).toISOString(),
    },
  ]);
  const answeredAt = performance.now();
  const query = new URLSearchParams({
    account_id: ACCOUNT,
    from: new Date(hour - HOUR_MS).toISOString(),
    to: new Date(hour + 2 * HOUR_MS).toISOString(),
    metrics: "messages_sent",
    "filter[campaign_id]": campaign_id,
  });
  while (performance.now() - answeredAt < GIVE_UP_MS) {
    const response = await fetch(new URL(`/analytics/metrics?${query}`, service.url), {
      headers: { authorization: `Bearer ${service.apiKey}` },
    });
    if (!response.ok) throw new Error(`GET /analytics/metrics: ${response.status} ${await response.text()}`);
    const { totals } = await response.json();
    if (totals.some(({ messages_sent }) => messages_sent > 0)) return (performance.now() - answeredAt) / 1000;
    await delay(POLL_MS);
  }
  throw new Error(`event ${campaign_id} did not show within ${GIVE_UP_MS / 1000} s`);
}
