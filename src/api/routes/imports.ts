import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { insertRun } from "../../db/queries/runs.js";
import { uploadName } from "../../jobs/read-import.js";
import { importRequest } from "../../jobs/run-requests.js";
import { withIdempotency } from "../idempotency.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { boundTime } from "../middleware/request-scope.js";
import { receiveUpload } from "../receive-upload.js";
import { type Route, route } from "../route.js";
import { acceptRun, tooManyWaiting } from "./runs.js";

const PATH = "/analytics/imports";

/** Takes files of historical data. What becomes of them is a run like others: see `runs.ts`. */
export function importRoutes(context: Context): Route[] {
  const { db, config, artifacts } = context;
  return [
    route({
      method: "post",
      path: PATH,
      access: ["ingest"],
      limit: "reports",
      stream: true,
      async handler(request, response) {
        const params = readQuery(request, importParameters);
        requireAccount(request.identity, params.account_id);
        const account = await findAccount(db, params.account_id);
        if (!account) throw accountNotFound();
        const runId = randomUUID();
        const key = artifacts.newKey(uploadName(runId));
        const file = await receiveUpload(request, artifacts, key, config.imports);
        boundTime(request, response, config.http.timeoutMs);
        let taken = false;
        try {
          await withIdempotency(context, request, response, async () => {
            const run = await insertRun(db, {
              accountId: params.account_id,
              kind: "import",
              priority: "bulk",
              params,
              requestedBy: request.identity.keyId,
              runId,
              upload: { key, ...file },
              maxWaiting: config.quotas.max_waiting,
            });
            if (!run) throw tooManyWaiting(context, account, "import");
            taken = true;
            return acceptRun(context, run, run.position);
          });
        } finally {
          // A repeated request, or one that failed: its copy of the file belongs to nobody.
          if (!taken) await artifacts.remove(key);
        }
      },
    }),
  ];
}

const MAPPED = /^map\[([^\]]*)\]$/;
const flags: Readonly<Record<string, boolean>> = { true: true, false: false };

/** The body is the file, so everything else stands in the query: `map[sent_at]=Sent at` is a key of `map`. */
const importParameters = z
  // Not a record, which would leave out the key `__proto__` instead of refusing it.
  .custom<Readonly<Record<string, string>>>()
  .transform((query) => {
    const columns: [string, string][] = [];
    const others: [string, unknown][] = [];
    for (const [name, value] of Object.entries(query)) {
      const column = MAPPED.exec(name)?.[1];
      if (column !== undefined) columns.push([column, value]);
      else others.push([name, name === "formula_guard" ? (flags[value] ?? value) : value]);
    }
    if (columns.length > 0) others.push(["map", Object.fromEntries(columns)]);
    return Object.fromEntries(others);
  })
  .pipe(importRequest);
