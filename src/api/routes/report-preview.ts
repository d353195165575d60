import { z } from "zod";
import { templateDefinition } from "../../analytics/report-templates/definition.js";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { InvalidInput } from "../../errors.js";
import { findTemplate } from "../../jobs/report/find-template.js";
import { previewReport } from "../../jobs/report/preview-report.js";
import { endsAfterItStarts, namedTemplate, reportFields } from "../../jobs/run-requests.js";
import { readJsonBody } from "../body.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { parseInput } from "../input.js";
import { type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";
import { MAX_TEMPLATE_BYTES } from "./report-templates.js";

const body = z
  .strictObject({
    account_id: accountIdText,
    /** One that there is, or one that may be to come. */
    ...namedTemplate.partial().shape,
    definition: templateDefinition.optional(),
    ...reportFields,
  })
  .superRefine(endsAfterItStarts);

/** `POST /analytics/report-templates/preview`: the first rows of every section, at once. */
export function reportPreviewRoutes(context: Context): Route[] {
  const { db } = context;
  return [
    route({
      method: "post",
      path: "/analytics/report-templates/preview",
      access: ["analyst"],
      limit: "metrics",
      async handler(request, response) {
        const asked = parseInput(body, await readJsonBody(request, { maxBytes: MAX_TEMPLATE_BYTES }));
        requireAccount(request.identity, asked.account_id);
        const account = await findAccount(db, asked.account_id);
        if (!account) throw accountNotFound();
        const { definition, template: name } = asked;
        if ((definition === undefined) === (name === undefined))
          throw InvalidInput.of([
            {
              path: "definition",
              code: "template_or_definition",
              message: "give either template or definition",
            },
          ]);
        const template = definition
          ? { ...definition, name: "preview", version: undefined }
          : await findTemplate(db, { ...asked, template: name! });
        const options = { now: context.now(), signal: request.abandoned };
        response.json({
          account_id: asked.account_id,
          from: asked.from.toISOString(),
          to: asked.to.toISOString(),
          time_zone: asked.time_zone ?? account.time_zone,
          ...(await previewReport(db, template, asked, account, options)),
        });
      },
    }),
  ];
}
