import { pipeline } from "node:stream/promises";
import type { Context } from "../../context.js";
import { createPool } from "../../db/client.js";
import { createCopySource } from "../../db/copy.js";
import { findAccount } from "../../db/queries/accounts.js";
import { Unavailable } from "../../errors.js";
import { exportFile, exportName, openDataset } from "../../jobs/open-dataset.js";
import { servedAs } from "../../jobs/publish-file.js";
import type { ExportRequest } from "../../jobs/run-requests.js";
import { copySql, streamRows } from "../../jobs/write-rows.js";
import { seldomWarnings } from "../../log.js";
import { readExportQuery } from "../export-query.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { type Route, route } from "../route.js";

/** Streams of one process at a time; each holds a database connection for as long as its reader takes. */
export const MAX_STREAMS = 8;
/** Nobody may keep all of them from others by reading slowly. */
export const MAX_STREAMS_PER_KEY = 4;
/** A stream that stands still for so long, because of its reader or of the database, gives its connection back. */
const SILENCE_TIMEOUT_MS = 15 * 60_000;

/** `GET /analytics/export`: the rows themselves, straight from COPY, without a run or a file in between. */
export function streamExportRoutes(context: Context): Route[] {
  const { db, log } = context;
  const warn = seldomWarnings();
  const pool = createPool(
    {
      url: context.databaseUrl,
      name: "api export",
      size: MAX_STREAMS + 1,
      acquireTimeoutMs: 2_000,
      statementTimeoutMs: 0,
      silenceTimeoutMs: SILENCE_TIMEOUT_MS,
    },
    (error) => warn(log, "export connection lost", { error }),
  );
  let ended: Promise<void> | undefined;
  context.beforeClose.push(() => (ended ??= pool.end()));
  const copy = createCopySource(pool);
  let open = 0;
  const ofKey = new Map<string, number>();
  const openStream = async (asked: ExportRequest, signal: AbortSignal) => {
    const snapshot = await copy.holdSnapshot();
    try {
      const opened = await openDataset(db, snapshot, asked, signal);
      const { nextCursor } = opened;
      const trailer = nextCursor === undefined ? undefined : { next_cursor: nextCursor };
      const file = { ...exportFile(asked, opened, context.now()), trailer };
      const { source } = await copy.streamAt(snapshot, copySql(file), signal);
      const { bytes } = streamRows(source, file);
      return { bytes, nextCursor };
    } finally {
      // Whoever has entered it keeps it.
      snapshot.release();
    }
  };
  return [
    route({
      method: "get",
      path: "/analytics/export",
      access: ["analyst"],
      limit: "export",
      stream: true,
      async handler(request, response) {
        const asked = readExportQuery(request);
        requireAccount(request.identity, asked.account_id);
        if (!(await findAccount(db, asked.account_id))) throw accountNotFound();
        const { keyId } = request.identity;
        if (open >= MAX_STREAMS) throw tooManyStreams(`At most ${MAX_STREAMS} exports stream at a time.`);
        if ((ofKey.get(keyId) ?? 0) >= MAX_STREAMS_PER_KEY)
          throw tooManyStreams(`At most ${MAX_STREAMS_PER_KEY} exports stream at a time with one key.`);
        const { format, compression } = asked;
        const { file_name, content_type } = servedAs({ name: exportName(asked), format, compression });
        response.set({
          "content-type": content_type,
          "content-disposition": `attachment; filename="${file_name}"`,
        });
        if (request.method === "HEAD") {
          response.end();
          return;
        }
        open++;
        ofKey.set(keyId, (ofKey.get(keyId) ?? 0) + 1);
        // The first row may take long. Node sets the server's bound again for the next request of the connection.
        request.socket.setTimeout(SILENCE_TIMEOUT_MS);
        try {
          const { bytes, nextCursor } = await openStream(asked, request.abandoned);
          // Known before anything is read; good only for who has read all of it.
          if (nextCursor) response.set("x-next-cursor", nextCursor);
          await pipeline(bytes, response);
        } catch (error) {
          if (!response.headersSent) throw error;
          // The status is out already: a broken transfer is the only way to say that rows are missing.
          if (!request.abandoned.aborted) request.log.error("export broken off", { error });
          response.destroy();
        } finally {
          open--;
          const left = ofKey.get(keyId)! - 1;
          if (left > 0) ofKey.set(keyId, left);
          else ofKey.delete(keyId);
        }
      },
    }),
  ];
}

const tooManyStreams = (message: string) =>
  new Unavailable("too_many_streams", message, { headers: { "retry-after": "5" } });
