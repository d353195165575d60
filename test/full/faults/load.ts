import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";

/** Every answer to one event that was sent once. `status` 0: no answer. */
export interface Sent {
  id: string;
  status: number;
  ms: number;
  at: number;
  retryAfter: string | null;
}

export interface Load {
  sent: Sent[];
  /** Ends the clients and waits for their last answers. */
  stop(): Promise<void>;
}

/** Clients that send one event after the other until they are stopped, whatever the answer. */
export function startLoad(target: { url: string; apiKey: string }, clients: number): Load {
  const sent: Sent[] = [];
  let stopping = false;
  let made = 0;
  const client = async () => {
    while (!stopping) {
      const id = `load-${++made}`;
      const at = performance.now();
      const answer = await sendEvent(target, id);
      sent.push({ id, at, ms: performance.now() - at, ...answer });
      // Real senders have a pause as well; without one a refusing API would be asked thousands of times a second.
      await delay(answer.status === 200 ? 2 : 50);
    }
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  return {
    sent,
    async stop() {
      stopping = true;
      await all;
    },
  };
}

async function sendEvent({ url, apiKey }: { url: string; apiKey: string }, id: string) {
  const event = {
    account_id: "acme",
    type: "message.sent",
    message_id: id,
    occurred_at: "2026-01-20T00:00:00Z",
  };
  try {
    const response = await fetch(`${url}/analytics/events`, {
      method: "POST",
      headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
      body: JSON.stringify({ events: [event] }),
    });
    await response.arrayBuffer();
    return { status: response.status, retryAfter: response.headers.get("retry-after") };
  } catch {
    return { status: 0, retryAfter: null };
  }
}

/** Oracle O1: what was acknowledged is stored, nothing twice, and nothing that nobody sent. Empty lists: it holds. */
export async function ingestFaults(pool: pg.Pool, sent: readonly Sent[]) {
  const { rows } = await pool.query<{ message_id: string; times: number }>(
    "select message_id, count(*)::integer as times from message_events group by message_id",
  );
  const stored = new Map(rows.map(({ message_id, times }) => [message_id, times]));
  const asked = new Set(sent.map(({ id }) => id));
  return {
    lost: sent.filter(({ id, status }) => status === 200 && !stored.has(id)).map(({ id }) => id),
    twice: rows.filter(({ times }) => times !== 1).map(({ message_id }) => message_id),
    unasked: [...stored.keys()].filter((id) => !asked.has(id)),
  };
}

export const longest = (sent: readonly Sent[]): number => Math.max(0, ...sent.map(({ ms }) => ms));
