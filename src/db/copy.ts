import type { Readable } from "node:stream";
import type pg from "pg";
import copyStreams from "pg-copy-streams";

/** Streams `COPY (…) TO STDOUT`. Rows never become JavaScript objects. */
export interface CopySource {
  /**
   * Runs a COPY statement on a connection of its own. The statement is cancelled in the database and the connection
   * dropped when `signal` fires or the stream is destroyed early, so nothing keeps running for a reader that left.
   */
  stream(sql: string, signal: AbortSignal): Promise<Readable>;
}

export function createCopySource(pool: pg.Pool): CopySource {
  return {
    async stream(sql, signal) {
      signal.throwIfAborted();
      const client = await pool.connect();
      const { processID } = client as unknown as { processID: number };
      const stream = client.query(copyStreams.to(sql));
      let settled = false;
      const finish = (error?: Error) => {
        if (settled) return;
        settled = true;
        signal.removeEventListener("abort", onAbort);
        if (!error && stream.readableEnded) return client.release();
        // The connection is in the middle of a COPY: it can't be used again. Cancelling also stops a sort that has
        // not produced a row yet, which a closed socket alone would not.
        pool.query("select pg_cancel_backend($1)", [processID]).catch(() => {});
        client.release(error ?? true);
      };
      const onAbort = () => {
        const reason = signal.reason instanceof Error ? signal.reason : new Error("aborted");
        stream.destroy(reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      stream.once("end", () => finish());
      stream.once("error", (error) => finish(error));
      stream.once("close", () => finish());
      return stream;
    },
  };
}
