import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { messageDimensions } from "../../analytics/catalog.js";
import { metricsScalars } from "../../analytics/metrics-query.js";
import type { Context } from "../../context.js";
import { createPool } from "../../db/client.js";
import { createCopySource } from "../../db/copy.js";
import { findAccount } from "../../db/queries/accounts.js";
import { InvalidInput, Unavailable } from "../../errors.js";
import { fileName, servedAs } from "../../jobs/publish-file.js";
import {
  type CsvRequest,
  columnName,
  csvFields,
  csvRequest,
  exportFormats,
} from "../../jobs/run-requests.js";
import { pickColumns, streamMessages } from "../../jobs/write-messages.js";
import { seldomWarnings } from "../../log.js";
import { filterParameters, filtersOf } from "../filters.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

/** Streams of one process at a time; each holds a database connection for as long as its reader takes. */
export const MAX_STREAMS = 8;
/** A stream that stands still for so long, because of its reader or of the database, gives its connection back. */
const SILENCE_TIMEOUT_MS = 15 * 60_000;

const csvNames = ["delimiter", "bom", "null", "header", "formula_guard"] as const;
const flag = z
  .enum(["true", "false"])
  .transform((text) => text === "true")
  .optional();
/** `csv[delimiter]=;` and so on: the fields of `csv` in an export's body. */
const csvParameters = {
  "csv[delimiter]": csvFields.delimiter.unwrap().optional(),
  "csv[bom]": flag,
  "csv[null]": csvFields.null.unwrap().optional(),
  "csv[header]": flag,
  "csv[formula_guard]": flag,
};

const parameters = z.strictObject({
  account_id: accountIdText,
  dataset: z.literal("messages"),
  format: z.enum(exportFormats).default("csv"),
  columns: z
    .string()
    .transform((text) => text.split(","))
    .pipe(z.array(columnName).min(1))
    .optional(),
  from: metricsScalars.from,
  to: metricsScalars.to,
  ...csvParameters,
  ...filterParameters(messageDimensions),
});

type Query = z.output<typeof parameters>;

/** The options that the query names, as the body of an export would have them in `csv`. */
function csvOf(query: Query): CsvRequest | undefined {
  const given = csvNames.filter((name) => query[`csv[${name}]`] !== undefined);
  if (given.length === 0) return undefined;
  if (query.format !== "csv")
    throw InvalidInput.of(
      given.map((name) => ({
        path: `csv[${name}]`,
        code: "other_format",
        message: "is only for the format csv",
      })),
    );
  return csvRequest.parse(Object.fromEntries(given.map((name) => [name, query[`csv[${name}]`]])));
}

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
  return [
    route({
      method: "get",
      path: "/analytics/export",
      access: ["analyst"],
      limit: "export",
      stream: true,
      async handler(request, response) {
        const query = readQuery(request, parameters);
        requireAccount(request.identity, query.account_id);
        if (query.from >= query.to)
          throw InvalidInput.of([{ path: "to", code: "empty_range", message: "must be later than from" }]);
        const csv = csvOf(query);
        if (!(await findAccount(db, query.account_id))) throw accountNotFound();
        if (open >= MAX_STREAMS)
          throw new Unavailable("too_many_streams", `At most ${MAX_STREAMS} exports stream at a time.`, {
            headers: { "retry-after": "5" },
          });
        const { file_name, content_type } = servedAs({
          name: fileName(query.dataset, query),
          format: query.format,
        });
        response.set({
          "content-type": content_type,
          "content-disposition": `attachment; filename="${file_name}"`,
        });
        if (request.method === "HEAD") {
          response.end();
          return;
        }
        open++;
        // The first row may take long. Node sets the server's bound again for the next request of the connection.
        request.socket.setTimeout(SILENCE_TIMEOUT_MS);
        try {
          const stream = await streamMessages(
            copy,
            {
              selection: {
                accountId: query.account_id,
                from: query.from,
                to: query.to,
                filters: filtersOf(query),
              },
              columns: pickColumns(query.columns),
              format: query.format,
              csv,
              createdAt: context.now(),
            },
            request.abandoned,
          );
          await pipeline(stream.bytes, response);
        } catch (error) {
          if (!response.headersSent) throw error;
          // The status is out already: a broken transfer is the only way to say that rows are missing.
          if (!request.abandoned.aborted) request.log.error("export broken off", { error });
          response.destroy();
        } finally {
          open--;
        }
      },
    }),
  ];
}
