const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const accounts = ["shop-1", "shop-2", "shop-3", "live"];
const metrics = [
  "messages_sent,messages_delivered,messages_read",
  "delivery_rate,read_rate,failure_rate",
  "messages_sent,time_to_deliver_p50,time_to_deliver_p95",
  "messages_sent",
];
const shapes = [
  { interval: "day" },
  { interval: "all", group_by: "template" },
  { interval: "day", group_by: "content_kind" },
  { interval: "week", basis: "event" },
  { interval: "hour", days: 3 },
];
const zones = ["UTC", "Europe/Berlin", "America/New_York"];
const QUESTIONS = 200;

/** The most asked first; some 1 to 20 kB each. */
export function questions(nowMs) {
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS;
  return Array.from({ length: QUESTIONS }, (_, index) => {
    const { days = 31, ...shape } = shapes[Math.floor(index / 4) % shapes.length];
    const turn = Math.floor(index / 20);
    return pathOf("/analytics/metrics", {
      account_id: accounts[index % accounts.length],
      metrics: metrics[turn % metrics.length],
      time_zone: zones[turn % zones.length],
      from: new Date(today - days * DAY_MS).toISOString(),
      to: new Date(today + DAY_MS).toISOString(),
      ...shape,
    });
  });
}

/** What the followers of the live account follow, ten different questions. */
export const followed = (nowMs, count) =>
  Array.from({ length: count }, (_, index) =>
    pathOf("/analytics/metrics/stream", {
      account_id: "live",
      metrics: "messages_sent",
      interval: "all",
      from: new Date((Math.floor(nowMs / DAY_MS) - 31 - (index % 10)) * DAY_MS).toISOString(),
      to: new Date((Math.floor(nowMs / DAY_MS) + 2) * DAY_MS).toISOString(),
    }),
  );

const pathOf = (path, parameters) => `${path}?${new URLSearchParams(parameters)}`;

/** One of many by Zipf's law: the n-th is asked 1/n as often as the first. `random` is 0 to 1. */
export function zipf(count) {
  let sum = 0;
  const upTo = Array.from({ length: count }, (_, index) => {
    sum += 1 / (index + 1);
    return sum;
  });
  return (random) => upTo.findIndex((limit) => limit >= random * sum);
}
