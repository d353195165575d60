import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";

/** The answer to a batch of events. */
export interface Ingested {
  accepted: number;
  duplicates: number;
  rejected: { index: number; code: string; message: string }[];
  rejected_total: number;
}

/** The answer to a webhook. */
export interface WebhookTaken {
  accepted: number;
  duplicates: number;
  quarantined: number;
}

export type MetricsRow = Record<string, string | number | null>;

export interface Metrics {
  rows: MetricsRow[];
  totals: MetricsRow[];
}

/** A report on its way. */
export interface Run {
  id: string;
  status: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  progress: { rows: number; fraction: number | null } | null;
  artifact: { file_name: string; bytes: number; rows: number; sha256: string } | null;
  error: { code: string; message: string } | null;
  links: { self: string; download?: string };
}

export type Client = ReturnType<typeof createClient>;

/** The few calls of the HTTP API that the demo needs. Every one fails with the service's own words. */
export function createClient(options: { url: string; apiKey: string; signal: AbortSignal }) {
  const call = async (method: string, path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = {
      authorization: `Bearer ${options.apiKey}`,
      ...(init.headers as Record<string, string>),
    };
    const response = await fetch(new URL(path, options.url), {
      ...init,
      method,
      headers,
      signal: options.signal,
    });
    if (response.status === 429) {
      await response.arrayBuffer();
      await delay(Number(response.headers.get("retry-after") ?? 1) * 1000, undefined, {
        signal: options.signal,
      });
      return call(method, path, init);
    }
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  const json = async <T>(response: Promise<Response>): Promise<T> => (await (await response).json()) as T;
  const postJson = <T>(path: string, body: unknown): Promise<T> =>
    json(call("POST", path, { body: JSON.stringify(body), headers: { "content-type": "application/json" } }));

  return {
    postEvents: (events: unknown[]) => postJson<Ingested>("/analytics/events", { events }),

    /** One request for as many lines as `chunks` yields: the service commits them batch by batch as they come in. */
    streamEvents: (chunks: AsyncIterable<Uint8Array>) =>
      json<Ingested>(
        call("POST", "/analytics/events", {
          body: chunks,
          duplex: "half",
          headers: { "content-type": "application/x-ndjson" },
        }),
      ),

    /** Meta has no key of ours: the signature is all that a webhook shows. */
    postWebhook: (body: Buffer, signature: string): Promise<Response> =>
      fetch(new URL("/analytics/sources/whatsapp-cloud", options.url), {
        method: "POST",
        body: new Uint8Array(body),
        headers: { "content-type": "application/json", "x-hub-signature-256": signature },
        signal: options.signal,
      }),

    metrics: (parameters: Record<string, string>) =>
      json<Metrics>(call("GET", `/analytics/metrics?${new URLSearchParams(parameters)}`)),

    requestReport: (report: Record<string, unknown>) => postJson<Run>("/analytics/reports", report),

    run: (self: string) => json<Run>(call("GET", self)),

    /** Writes the file and measures it on the way. */
    async download(link: string, file: string): Promise<{ bytes: number; sha256: string }> {
      const response = await call("GET", link, { headers: { "accept-encoding": "identity" } });
      const hash = createHash("sha256");
      let bytes = 0;
      const measure = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          hash.update(chunk);
          bytes += chunk.length;
          done(null, chunk);
        },
      });
      await pipeline(response.body!, measure, createWriteStream(file));
      return { bytes, sha256: hash.digest("hex") };
    },
  };
}
