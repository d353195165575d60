import { effectiveQuotas } from "../../analytics/quotas.js";
import type { Context } from "../../context.js";
import { type AccountRow, findAccount } from "../../db/queries/accounts.js";
import type { RunKind } from "../../db/schema.js";
import { TooLarge } from "../../errors.js";
import { type Estimate, estimateExport, estimateReport } from "../../jobs/estimate-run.js";
import { exportRequest, reportRequest } from "../../jobs/run-requests.js";
import { readJsonBody } from "../body.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { parseInput } from "../input.js";
import { type Route, route } from "../route.js";

/** Of a request for a run, and so of one for its estimate. */
export const MAX_RUN_BODY_BYTES = 256 * 1024;

/** How large a file will be about: the body is that of the request for it, and nothing is run. */
export function runEstimateRoutes(context: Context): Route[] {
  return (["report", "export"] as const).map((kind) =>
    route({
      method: "post",
      path: `/analytics/${kind}s/estimate`,
      access: ["analyst"],
      async handler(request, response) {
        const body = await readJsonBody(request, { maxBytes: MAX_RUN_BODY_BYTES });
        const asked = parseInput(kind === "report" ? reportRequest : exportRequest, body);
        requireAccount(request.identity, asked.account_id);
        if (!(await findAccount(context.db, asked.account_id))) throw accountNotFound();
        response.json(await estimate(context, kind, body, request.abandoned));
      },
    }),
  );
}

const estimate = (
  { db }: Context,
  kind: "report" | "export",
  body: unknown,
  signal: AbortSignal,
): Promise<Estimate> =>
  kind === "report"
    ? estimateReport(db, reportRequest.parse(body))
    : estimateExport(db, exportRequest.parse(body), signal);

/** Throws when a report or an export is estimated to have more rows than its account may ask for. */
export async function refuseTooLarge(
  context: Context,
  kind: RunKind,
  { quotas }: AccountRow,
  body: unknown,
  signal: AbortSignal,
): Promise<void> {
  if (kind !== "report" && kind !== "export") return;
  const { max_export_rows: most } = effectiveQuotas(quotas, context.config.quotas);
  if (most === 0) return;
  const { rows, bytes } = await estimate(context, kind, body, signal);
  if (rows > most)
    throw new TooLarge(
      "too_large",
      `About ${rows} rows (${bytes} bytes) are expected; this account may ask for ${most} (max_export_rows). Ask for a shorter range.`,
    );
}
